"""The catalogue of log events: static names, and which fields each may carry (``fields.py``).

An event is a name for something that happens, not a sentence about it: names are searched, counted and alerted on.
"""

from dataclasses import dataclass
from enum import StrEnum

from bedside.observability.fields import STAGES


class Event(StrEnum):
    """Every event there is."""

    SERVER_STARTED = "server_started"
    SERVER_READY = "server_ready"
    SERVER_STOPPING = "server_stopping"
    SERVER_STOPPED = "server_stopped"
    BUNDLE_ADMITTED = "bundle_admitted"
    BUNDLE_REFUSED = "bundle_refused"
    MODEL_LOADING = "model_loading"
    MODEL_READY = "model_ready"
    MODEL_LOAD_FAILED = "model_load_failed"
    MODEL_UNLOADED = "model_unloaded"
    GOLDEN_CASES_PASSED = "golden_cases_passed"
    GOLDEN_CASES_FAILED = "golden_cases_failed"
    SOURCE_UNAVAILABLE = "source_unavailable"
    RESCAN_FAILED = "rescan_failed"
    MODEL_PROCESS_STARTED = "model_process_started"
    MODEL_PROCESS_CRASHED = "model_process_crashed"
    INFERENCE_COMPLETED = "inference_completed"
    REQUEST_ERROR_UNEXPECTED = "request_error_unexpected"
    JOB_ATTEMPT_ENDED = "job_attempt_ended"
    JOB_STORE_FAILED = "job_store_failed"
    RESULT_DELIVERED = "result_delivered"
    RESULT_NOT_DELIVERED = "result_not_delivered"
    STUDY_TAKEN = "study_taken"
    STUDY_HELD = "study_held"
    INSTANCE_REFUSED = "instance_refused"
    INBOX_FAILED = "inbox_failed"
    TOKEN_KEYS_REFRESHED = "token_keys_refreshed"  # noqa: S105 - an event's name
    TOKEN_KEYS_STALE = "token_keys_stale"  # noqa: S105 - an event's name
    TOKEN_KEYS_UNAVAILABLE = "token_keys_unavailable"  # noqa: S105 - an event's name
    LIBRARY_MESSAGE = "library_message"
    UNCAUGHT_EXCEPTION = "uncaught_exception"
    EVENT_UNLISTED = "event_unlisted"


@dataclass(frozen=True, slots=True)
class EventRule:
    """What an event may carry.

    Attributes:
        description: what has happened.
        category: ``event.category`` of ECS.
        fields: names of ``fields.FIELDS``.
    """

    description: str
    category: tuple[str, ...]
    fields: frozenset[str]


_ERROR = ("error_type", "error_code", "error_cause", "frames")
_MODEL = ("model", "version", "digest", "device")
_ADMISSION = ("trust", "findings", "mode")
_GOLDEN = ("passed", "failed", "skipped", "seconds")
_CALL = ("request_id", "trace_id", "transport", "operation", "outcome", "duration_ns", "user_hash")


def _rule(description: str, category: str, *fields: str) -> EventRule:
    # Who speaks is allowed everywhere.
    return EventRule(description, (category,), frozenset({"logger_name", *fields}))


CATALOGUE: dict[Event, EventRule] = {
    Event.SERVER_STARTED: _rule(
        "The server listens; models may still be loading.", "process", "transport", "host", "port", "models"
    ),
    Event.SERVER_READY: _rule("Every model has made a forward pass, or has failed to.", "process", "models", "seconds"),
    Event.SERVER_STOPPING: _rule("A signal has come; readiness fails from here on.", "process", "reason"),
    Event.SERVER_STOPPED: _rule("Accepted work has ended, or the time for it.", "process", "seconds"),
    Event.BUNDLE_ADMITTED: _rule(
        "A bundle was judged before loading, and may be loaded.", "configuration", *_MODEL, *_ADMISSION
    ),
    Event.BUNDLE_REFUSED: _rule(
        "A bundle was judged before loading, and is refused; in mode warn it is loaded all the same.",
        "configuration",
        *_MODEL,
        *_ADMISSION,
        "rules",
    ),
    Event.MODEL_LOADING: _rule("A bundle is being built.", "configuration", *_MODEL),
    Event.MODEL_READY: _rule(
        "A bundle has made a forward pass and answers.", "configuration", *_MODEL, "load_ms", "shims"
    ),
    Event.MODEL_LOAD_FAILED: _rule(
        "A bundle could not be built; the repository's index says why.", "configuration", *_MODEL, *_ERROR, "load_ms"
    ),
    Event.MODEL_UNLOADED: _rule("A model was unloaded on request.", "configuration", *_MODEL),
    Event.GOLDEN_CASES_PASSED: _rule(
        "A bundle answered its golden cases as expected.", "configuration", *_MODEL, *_GOLDEN
    ),
    Event.GOLDEN_CASES_FAILED: _rule(
        "A bundle's answers are not those of its golden cases; the repository's index names the difference.",
        "configuration",
        *_MODEL,
        *_GOLDEN,
    ),
    Event.SOURCE_UNAVAILABLE: _rule(
        "A source of bundles did not answer; what it offered last is kept.", "network", "source", "error_type"
    ),
    Event.RESCAN_FAILED: _rule("A look at the sources failed by a defect.", "process", *_ERROR),
    Event.MODEL_PROCESS_STARTED: _rule(
        "A process holds a loaded model; the field tells what confines it.", "process", *_MODEL, "sandbox"
    ),
    Event.MODEL_PROCESS_CRASHED: _rule(
        "A model's process ended by itself and is started again.", "process", *_MODEL, "exit_code", "seconds"
    ),
    Event.INFERENCE_COMPLETED: _rule(
        "One call has ended, well or not: exactly one event per call.",
        "api",
        *_CALL,
        *_MODEL,
        *_ERROR,
        "rows",
        "input_bytes",
        "output_bytes",
        *(f"{stage}_ms" for stage in STAGES),
    ),
    Event.REQUEST_ERROR_UNEXPECTED: _rule(
        "A defect, ours or a library's; the caller got 500 and the request id.", "api", *_CALL, *_ERROR
    ),
    Event.JOB_ATTEMPT_ENDED: _rule(
        "One attempt of a job has ended; `inference_completed` with the same id tells how long it took.",
        "process",
        "job",
        "job_state",
        "attempt",
        "model",
        "error_code",
    ),
    Event.JOB_STORE_FAILED: _rule("The jobs' database does not answer; it is tried again.", "database", "error_type"),
    Event.RESULT_DELIVERED: _rule("A destination has confirmed a result.", "process", "job", "attempt"),
    Event.RESULT_NOT_DELIVERED: _rule(
        "A result could not be delivered; it is kept and tried again.", "process", "job", "attempt", "error_code"
    ),
    Event.STUDY_TAKEN: _rule("A study received by C-STORE has become a job.", "process", "job", "model"),
    Event.STUDY_HELD: _rule(
        "A study received by C-STORE could not become a job; it stays in the inbox (`bedside dicom inbox`).",
        "process",
        "error_code",
    ),
    Event.INSTANCE_REFUSED: _rule("C-STORE was answered with a failure status.", "network", "error_code"),
    Event.INBOX_FAILED: _rule("The inbox could not be read; it is tried again.", "process", *_ERROR),
    Event.TOKEN_KEYS_REFRESHED: _rule(
        "The issuer's keys have changed, or it answers again.", "authentication", "keys", "generation"
    ),
    Event.TOKEN_KEYS_STALE: _rule(
        "The issuer's keys could not be fetched; those known are used.", "authentication", "reason", "seconds", "keys"
    ),
    Event.TOKEN_KEYS_UNAVAILABLE: _rule(
        "The issuer's keys could not be fetched, and none may be used: calls get 503.", "authentication", "reason"
    ),
    Event.LIBRARY_MESSAGE: _rule(
        "A library logged something; its text stays inside.",
        "process",
        "text",
        "origin_file",
        "origin_line",
        "error_type",
        "frames",
    ),
    Event.UNCAUGHT_EXCEPTION: _rule(
        "An exception that nobody caught, without its text.", "process", "error_type", "frames"
    ),
    Event.EVENT_UNLISTED: _rule("An event that is not in this list; its name stays inside.", "process"),
}
"""The allow-list of every event."""
