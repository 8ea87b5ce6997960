"""Alerts over log events, with what to do about each; those over metrics are in deploy/prometheus/rules.yaml."""

from bedside.dashboards.boards import (
    ANSWERED,
    AUDIT,
    CALL,
    COMPARED,
    DELIVERED,
    DELIVERY,
    DRIFT,
    DURATION,
    ERROR,
    ERRORS_COMPARED,
    EXCESS,
    FAILED,
    HEALTH,
    MAY_NOT,
    MODEL,
    MODELS,
    OURS,
    SHORTFALL,
    UNKNOWN_CALLER,
    USER,
)
from bedside.dashboards.model import Alert, Where, event
from bedside.observability.events import Event

SLOW_NANOSECONDS = 30e9
FALLEN = 0.0001
"""Any shortfall or excess counts: chance is taken off already (``monitoring/decline.py``)."""
MUCH_DRIFT = 0.25
"""Population stability index from which on much has changed (``monitoring/drift.py``)."""

ALERTS = (
    Alert(
        "Bedside: calls fail by our fault",
        HEALTH,
        (CALL, *OURS),
        least=5,
        minutes=5,
        per=MODEL,
        action="Look at 'Why calls were not answered'. run_failed and worker_crashed: roll the version back (revert "
        "the pin), then read error.stack_trace. load_failed: see the repository's index.",
    ),
    Alert(
        "Bedside: calls are turned away because it is busy",
        HEALTH,
        (CALL, Where(ERROR, ("queue_full", "deadline_exceeded", "staging_full", "spool_full"))),
        least=20,
        minutes=10,
        action="Look at the waiting times by model. Add replicas or runtime.workers; queue_full on one model with "
        "short waits means bursts: raise limits.queue_length.",
    ),
    Alert(
        "Bedside: calls take longer than 30 seconds",
        HEALTH,
        (CALL, Where(DURATION, least=SLOW_NANOSECONDS)),
        least=10,
        minutes=15,
        per=MODEL,
        action="'Where the time goes' tells the stage. queue: capacity. decode or encode: large inputs. inference: the "
        "device; compare versions.",
    ),
    Alert(
        "Bedside: a defect of the server",
        HEALTH,
        (event(Event.REQUEST_ERROR_UNEXPECTED, Event.UNCAUGHT_EXCEPTION),),
        least=1,
        minutes=10,
        action="Report it with error.type, error.stack_trace and service.version: neither holds a patient's data.",
    ),
    Alert(
        "Bedside: a model's process crashes",
        MODELS,
        (event(Event.MODEL_PROCESS_CRASHED),),
        least=2,
        minutes=15,
        per=MODEL,
        action="process.exit_code -9 is the kernel's out-of-memory killer: raise the memory limit. Others: roll the "
        "version back and try the input's kind with `bedside bundle test`.",
    ),
    Alert(
        "Bedside: a model runs out of memory",
        MODELS,
        (CALL, Where(ERROR, ("model_out_of_memory", "memory_limit_exceeded"))),
        least=3,
        minutes=15,
        per=MODEL,
        action="Inputs are larger than forecast: raise the memory, or lower limits.decompressed_bytes so that they are "
        "refused by name.",
    ),
    Alert(
        "Bedside: answers have drifted",
        MODELS,
        (ANSWERED, Where(DRIFT, least=MUCH_DRIFT)),
        least=1,
        minutes=60,
        per=MODEL,
        action="Not wrong by itself: look at what has shifted (class, confidence, volume), then for another scanner, "
        "protocol, department or season. Have answers reviewed, and tell the truth of them.",
    ),
    Alert(
        "Bedside: a model is less right than it was",
        MODELS,
        (COMPARED, Where(SHORTFALL, least=FALLEN)),
        least=1,
        minutes=60,
        per=MODEL,
        action="The last truths say so beyond chance: inference.truth.name is the class, expected what the bundle "
        "declares or its first truths were. Look at which cases the truth comes of, then at drift. Have answers "
        "reviewed; if it holds, roll the version back or take it out of service.",
    ),
    Alert(
        "Bedside: a model's volumes or values are further from the truth than they were",
        MODELS,
        (ERRORS_COMPARED, Where(EXCESS, least=FALLEN)),
        least=1,
        minutes=60,
        per=MODEL,
        action="The last truths say so beyond chance: inference.prediction.name is the label or output, expected_error "
        "what the bundle declares or its first truths gave. Larger findings have larger errors: look at which cases "
        "the truth comes of, then at drift. Have answers reviewed; if it holds, roll the version back.",
    ),
    Alert(
        "Bedside: a version did not come into service",
        DELIVERY,
        (event(Event.MODEL_LOAD_FAILED),),
        least=1,
        minutes=10,
        per=MODEL,
        action="The version before it goes on answering. `POST /v2/repository/index` says why; revert the pin.",
    ),
    Alert(
        "Bedside: a version does not answer its golden cases",
        DELIVERY,
        (event(Event.GOLDEN_CASES_FAILED),),
        least=1,
        minutes=10,
        per=MODEL,
        action="It is not the model that was released, or not the library that it was released with. Do not serve it: "
        "run `bedside bundle test` where it was made, and here.",
    ),
    Alert(
        "Bedside: a delivery failed",
        DELIVERY,
        (DELIVERED, FAILED),
        least=1,
        minutes=10,
        per=MODEL,
        action="What ran before goes on. error.type says what kind of failure it was; what it printed in the "
        "pipeline's run says the rest.",
    ),
    Alert(
        "Bedside: a source of bundles does not answer",
        DELIVERY,
        (event(Event.SOURCE_UNAVAILABLE),),
        least=3,
        minutes=30,
        action="What was loaded is served on; nothing new comes. Look at the bucket or registry, and its credentials.",
    ),
    Alert(
        "Bedside: a bundle was refused for its signature",
        AUDIT,
        (event(Event.BUNDLE_REFUSED), Where("inference.admission.rules", ("*signature*",))),
        least=1,
        minutes=10,
        action="Somebody changed a signed bundle, or signed it with a key that the site does not know. Keep it, and "
        "ask who published it; `bedside bundle verify` tells the difference.",
    ),
    Alert(
        "Bedside: many calls with tokens that are no good",
        AUDIT,
        (CALL, UNKNOWN_CALLER),
        least=50,
        minutes=5,
        action="expired_token: a client does not renew. invalid_token: a wrong issuer or audience, or somebody tries. "
        "The gateway's log has the address.",
    ),
    Alert(
        "Bedside: a caller tries what it may not",
        AUDIT,
        (CALL, MAY_NOT),
        least=10,
        minutes=10,
        per=USER,
        action="Give the client its scope at the issuer, or find out whose pseudonym it is and ask.",
    ),
    Alert(
        "Bedside: the issuer's keys cannot be had",
        AUDIT,
        (event(Event.TOKEN_KEYS_UNAVAILABLE),),
        least=1,
        minutes=5,
        action="Every call gets 503. Look at the issuer and the way to it (DNS, proxy, certificate).",
    ),
    Alert(
        "Bedside: the audit trail cannot be written",
        AUDIT,
        (event(Event.AUDIT_WRITE_FAILED),),
        least=1,
        minutes=10,
        action="error.type names the cause: look at the disk of audit.folder. Records wait in memory, up to "
        "audit.backlog_records; with audit.durability strict, calls get 503.",
    ),
    Alert(
        "Bedside: audit records were removed before Elasticsearch had them",
        AUDIT,
        (event(Event.AUDIT_RECORDS_MISSED),),
        least=1,
        minutes=60,
        action="Elasticsearch was away for longer than audit.chain_bytes holds: raise the bound. Or somebody removed "
        "files: run `bedside audit verify` on the machine.",
    ),
    Alert(
        "Bedside: log lines are lost",
        HEALTH,
        (event(Event.LOG_SPOOL_FULL, Event.LOG_LINES_LOST),),
        least=1,
        minutes=10,
        action="log_spool_full: Elasticsearch takes too little, or the disk of elastic.spool_dir is full. "
        "log_lines_lost: the reader of standard output was too slow.",
    ),
)
"""Every alert there is."""
