"""The four dashboards: is it well, what do the models do, what changed, who did what.

Each question has a number or a line of its own, from the general to the particular; every field is one that the
product writes (a test compares with the catalogue of events).
"""

from bedside.dashboards.model import Control, Dashboard, DataView, Measure, Panel, Row, Where, event, percentile
from bedside.observability.events import Event

LOGS = DataView("bedside-logs", "Bedside logs", "logs-bedside*")
"""Data streams whose names begin like this: all of Bedside's."""

HEALTH, MODELS, DELIVERY, AUDIT = (
    f"bedside-{name}" for name in ("service-health", "model-performance", "delivery", "audit")
)

MODEL, VERSION, DIGEST = "inference.bundle.name", "inference.bundle.version", "inference.bundle.digest"
DURATION, ERROR, OUTCOME = "event.duration", "error.code", "event.outcome"
ACTION, LEVEL, USER = "event.action", "log.level", "user.hash"
OUTCOME_OK = "inference.outcome_ok"
ENVIRONMENT, COMMIT = "inference.delivery.environment", "inference.delivery.commit"
LEAD, RESTORED = "inference.delivery.lead_seconds", "inference.delivery.restored_seconds"
CHANGE_FAILED, DISAGREED = "inference.delivery.change_failed", "inference.gate.disagreed"

CALL = event(Event.INFERENCE_COMPLETED)
FAILED = Where(OUTCOME, ("failure",))
OURS = (FAILED, Where(LEVEL, ("error",)))
"""Failures of the server or of a model: a caller's mistakes have level info, what passes by itself has warning."""
BUSY = (FAILED, Where(LEVEL, ("warning",)))
REFUSED = (FAILED, Where(LEVEL, ("info",)))
UNKNOWN_CALLER = Where(ERROR, ("missing_token", "invalid_token", "expired_token"))
MAY_NOT = Where(ERROR, ("insufficient_scope",))

_CALLS = Measure("calls")
_ANSWERED = Measure("answered", "average", OUTCOME_OK)
_OUTCOMES = (
    Measure("answered", where=(Where(OUTCOME, ("success",)),)),
    Measure("failed", where=OURS),
    Measure("busy", where=BUSY),
    Measure("refused", where=REFUSED),
)
_LATENCY = tuple(percentile(rank, DURATION) for rank in (50, 95, 99))
_PHASES = ("receive", "decode", "queue", "preprocess", "inference", "postprocess", "encode")
_CONTROLS = (Control("Environment", "service.environment"), Control("Model", MODEL))


def _stage(name: str) -> str:
    return f"inference.stage.{name}_ms"


def _figure(title: str, measure: Measure, *where: Where) -> Panel:
    return Panel(title, "metric", (measure,), where)


def _figures(*panels: Panel) -> Row:
    return Row(5, panels)


def _table(title: str, by: tuple[str, ...], measures: tuple[Measure, ...], *where: Where) -> Panel:
    return Panel(title, "data_table", measures, where, by)


def _counted(title: str, by: str, *where: Where) -> Panel:
    return Panel(title, "bar_stacked", (Measure("events"),), where, (by,))


def _links(about: str) -> Row:
    titles = {HEALTH: "Service health", MODELS: "Model performance", DELIVERY: "Delivery", AUDIT: "Audit"}
    links = " · ".join(f"[{title}](#/view/{board})" for board, title in titles.items())
    return Row(3, (Panel("", "markdown", text=f"{about}\n\n{links}"),))


SERVICE_HEALTH = Dashboard(
    HEALTH,
    "Bedside: service health",
    "Calls, failures, latency and waiting. Begin here.",
    (
        _links("Failed: ours to mend. Busy: passes by itself. Refused: the caller's to mend."),
        _figures(
            _figure("Calls", _CALLS, CALL),
            _figure("Failed", Measure("failed", where=OURS), CALL),
            _figure("Busy", Measure("busy", where=BUSY), CALL),
            _figure("Refused", Measure("refused", where=REFUSED), CALL),
            _figure("Latency, 95th percentile", percentile(95, DURATION, "p95"), CALL),
            _figure("Model processes that crashed", Measure("crashes"), event(Event.MODEL_PROCESS_CRASHED)),
        ),
        Row(
            11,
            (
                Panel("Calls: answered, failed, busy, refused", "bar_stacked", _OUTCOMES, (CALL,)),
                Panel(
                    "Calls answered by model, of all (refused ones, too)",
                    "line",
                    (_ANSWERED,),
                    (CALL, Where(MODEL)),
                    (MODEL,),
                ),
                Panel("Latency", "line", _LATENCY, (CALL,)),
            ),
        ),
        Row(
            11,
            (
                Panel("Latency by model, 95th percentile", "line", (_LATENCY[1],), (CALL, Where(MODEL)), (MODEL,)),
                Panel(
                    "Waiting in the queue by model, 95th percentile, ms",
                    "line",
                    (percentile(95, _stage("queue")),),
                    (CALL, Where(MODEL)),
                    (MODEL,),
                ),
                Panel(
                    "Where the time goes: mean of each stage, ms",
                    "bar_stacked",
                    tuple(Measure(name, "average", _stage(name)) for name in _PHASES),
                    (CALL, Where(OUTCOME, ("success",))),
                ),
            ),
        ),
        Row(
            11,
            (
                _table("Why calls were not answered", (ERROR, LEVEL), (_CALLS,), CALL, FAILED),
                _table(
                    "Loads: how many, and the slowest, ms",
                    (MODEL, VERSION),
                    (Measure("loads"), Measure("slowest", "max", "inference.load_ms")),
                    event(Event.MODEL_READY),
                ),
                _counted("Events that somebody should look at", ACTION, Where(LEVEL, ("warning", "error"))),
            ),
        ),
    ),
    _CONTROLS,
)

ANSWERED, TRUTH = event(Event.PREDICTIONS_SUMMARISED), event(Event.TRUTH_RECEIVED)
KIND, NAME, MEAN, DRIFT = (
    f"inference.{name}" for name in ("prediction.kind", "prediction.name", "prediction.mean", "drift.score")
)
CORRECT, TRUE, TRUTH_ERROR = (f"inference.truth.{name}" for name in ("correct", "name", "absolute_error"))
COMPARED, ERRORS_COMPARED = event(Event.TRUTHS_SUMMARISED), event(Event.TRUTH_ERRORS_SUMMARISED)
EXCESS = "inference.truth.excess"
MEASURE, SHARE, EXPECTED, SHORTFALL = (
    f"inference.truth.{name}" for name in ("measure", "share", "expected", "shortfall")
)
_OF_CLASSES, _OF_NUMBERS = Where(KIND, ("class",)), Where(KIND, ("volume", "value"))
_ACCURACY = Measure("accuracy", "average", CORRECT)

MODEL_PERFORMANCE = Dashboard(
    MODELS,
    "Bedside: model performance",
    "What each version of each model answers, whether that drifts, and how right it was where the truth has come.",
    (
        _links(
            "Choose a model above: classes of one name are added up over models. Answers are sums of many "
            "(docs/observability.md), the truth is what was told of them later."
        ),
        _figures(
            _figure("Calls that reached a model", _CALLS, CALL, Where(MODEL)),
            _figure("Drift score, highest", Measure("highest", "max", DRIFT), ANSWERED, Where(DRIFT)),
            _figure("Truths that have come", Measure("truths"), TRUTH),
            _figure("Accuracy, of all models chosen", _ACCURACY, TRUTH, Where(CORRECT)),
        ),
        Row(
            11,
            (
                Panel(
                    "Answers by class",
                    "bar_stacked",
                    (Measure("answers", "sum", "inference.prediction.count"),),
                    (ANSWERED, _OF_CLASSES),
                    (NAME,),
                ),
                Panel(
                    "Confidence: mean probability of the class named",
                    "line",
                    (Measure("probability", "average", MEAN),),
                    (ANSWERED, _OF_CLASSES),
                    (NAME,),
                ),
                Panel(
                    "Volumes, mL, and values: mean",
                    "line",
                    (Measure("mean", "average", MEAN),),
                    (ANSWERED, _OF_NUMBERS),
                    (NAME,),
                ),
            ),
        ),
        Row(
            11,
            (
                Panel(
                    "Drift score: 0.1 is little, 0.25 is much",
                    "line",
                    (Measure("drift", "max", DRIFT),),
                    (ANSWERED, Where(DRIFT)),
                    (MODEL,),
                ),
                Panel("Accuracy by model", "line", (_ACCURACY,), (TRUTH, Where(CORRECT)), (MODEL,)),
                _table(
                    "Last truths: accuracy, sensitivity, what was expected",
                    (MODEL, VERSION, MEASURE, TRUE),
                    (
                        Measure("mean", "average", SHARE),
                        Measure("expected", "max", EXPECTED),
                        Measure("fallen", "max", SHORTFALL),
                    ),
                    COMPARED,
                ),
            ),
        ),
        Row(
            11,
            (
                _table("Truth, and what was answered", (MODEL, TRUE, NAME), (Measure("truths"),), TRUTH, Where(TRUE)),
                _table(
                    "Volumes, mL, and values: absolute error",
                    (MODEL, VERSION, NAME),
                    (Measure("truths"), Measure("mean", "average", TRUTH_ERROR), percentile(95, TRUTH_ERROR)),
                    TRUTH,
                    Where(TRUTH_ERROR),
                ),
                _table(
                    "What models failed of, by our fault",
                    (MODEL, ERROR, "inference.error.cause"),
                    (_CALLS,),
                    CALL,
                    *OURS,
                ),
            ),
        ),
        Row(
            11,
            (
                _table(
                    "Versions side by side",
                    (MODEL, VERSION),
                    (_CALLS, _ANSWERED, *_LATENCY, Measure("failed", where=OURS)),
                    CALL,
                    Where(MODEL),
                ),
                _table(
                    "Golden cases: answers as expected at load",
                    (MODEL, VERSION),
                    tuple(Measure(name, "max", f"inference.golden.{name}") for name in ("passed", "failed", "skipped")),
                    event(Event.GOLDEN_CASES_PASSED, Event.GOLDEN_CASES_FAILED),
                ),
            ),
        ),
    ),
    _CONTROLS,
    days=7,
)

CHANGES_FAILED = event(Event.BUNDLE_REFUSED, Event.MODEL_LOAD_FAILED, Event.GOLDEN_CASES_FAILED)
DELIVERED = event(Event.DELIVERY_ENDED)
TO_PRODUCTION = (DELIVERED, Where(ENVIRONMENT, ("production",)))
BROUGHT = (*TO_PRODUCTION, Where("inference.operation", ("deploy", "promote")), Where(OUTCOME, ("success",)))

DELIVERY_BOARD = Dashboard(
    DELIVERY,
    "Bedside: delivery",
    "How often and how fast versions reach production, how many fail, and what servers made of them.",
    (
        _links(
            "A delivery is one version of one bundle that `bedside ship` brought to an environment, for all replicas."
        ),
        _figures(
            _figure("Deliveries to production", Measure("deliveries"), *BROUGHT),
            _figure("Lead time, median", percentile(50, LEAD, "lead time"), *TO_PRODUCTION),
            _figure("Change failure rate", Measure("failed", "average", CHANGE_FAILED), *TO_PRODUCTION),
            _figure("Time to restore, longest", Measure("longest", "max", RESTORED), *TO_PRODUCTION),
            _figure("Refused before loading", Measure("refused"), event(Event.BUNDLE_REFUSED)),
            _figure("Golden cases not met", Measure("not met"), event(Event.GOLDEN_CASES_FAILED)),
        ),
        Row(
            11,
            (
                _counted("Deliveries to production", MODEL, *BROUGHT),
                Panel(
                    "Lead time to production, from commit",
                    "line",
                    (percentile(50, LEAD), percentile(95, LEAD)),
                    TO_PRODUCTION,
                ),
                _counted("Changes that servers refused or failed to load", ACTION, CHANGES_FAILED),
            ),
        ),
        Row(
            11,
            (
                Panel(
                    "Answers of a candidate that were not production's",
                    "line",
                    (Measure("disagreed", "average", DISAGREED),),
                    (event(Event.CANDIDATE_JUDGED), Where(DISAGREED)),
                    (MODEL,),
                ),
                _counted("What the gate decided", "inference.gate.decision", event(Event.CANDIDATE_JUDGED)),
                _counted("Sources of bundles that do not answer", ACTION, event(Event.SOURCE_UNAVAILABLE)),
            ),
        ),
        Row(
            11,
            (
                _table(
                    "Deliveries by commit",
                    (MODEL, COMMIT, ENVIRONMENT),
                    (Measure("lead time", "max", LEAD), Measure("failed", where=(Where(OUTCOME, ("failure",)),))),
                    DELIVERED,
                ),
                _table(
                    "Loaded: versions by digest, and the slowest load, ms",
                    (MODEL, VERSION, DIGEST),
                    (Measure("loads"), Measure("slowest", "max", "inference.load_ms")),
                    event(Event.MODEL_READY),
                ),
                _table("Changes that failed", (MODEL, VERSION, ACTION), (Measure("times"),), CHANGES_FAILED),
            ),
        ),
    ),
    (Control("Delivered to", ENVIRONMENT), Control("Model", MODEL)),
    days=30,
)

AUDIT_BOARD = Dashboard(
    AUDIT,
    "Bedside: audit",
    "Who called what, and what was refused. Callers are pseudonyms (user.hash).",
    (
        _links("Who is behind a pseudonym can be told only with the site's key."),
        _figures(
            _figure("Callers", Measure("callers", "unique_count", USER), CALL),
            _figure("Unknown callers refused", _CALLS, CALL, UNKNOWN_CALLER),
            _figure("Calls without the scope", _CALLS, CALL, MAY_NOT),
            _figure("Bundles refused", Measure("bundles"), event(Event.BUNDLE_REFUSED)),
            _figure("Events with fields withheld", Measure("events"), Where("labels.dropped_fields")),
        ),
        Row(
            11,
            (
                Panel("Calls by caller", "bar_stacked", (_CALLS,), (CALL, Where(USER)), (USER,)),
                _counted("Access refused", ERROR, CALL, Where(ERROR, (*UNKNOWN_CALLER.values, *MAY_NOT.values))),
            ),
        ),
        Row(
            12,
            (
                _table(
                    "Who called what",
                    (USER, MODEL, "inference.operation", "network.protocol"),
                    (_CALLS, Measure("not answered", where=(FAILED,))),
                    CALL,
                    Where(USER),
                ),
            ),
        ),
        Row(
            11,
            (
                _table(
                    "Bundles refused: signatures, code, weights",
                    (MODEL, DIGEST, "inference.admission.rules"),
                    (Measure("times"),),
                    event(Event.BUNDLE_REFUSED),
                ),
                _counted(
                    "Keys of the issuer",
                    ACTION,
                    event(Event.TOKEN_KEYS_REFRESHED, Event.TOKEN_KEYS_STALE, Event.TOKEN_KEYS_UNAVAILABLE),
                ),
                _counted("DICOM instances refused", ERROR, event(Event.INSTANCE_REFUSED)),
            ),
        ),
    ),
    (Control("Environment", "service.environment"), Control("Caller", USER), Control("Model", MODEL)),
    days=7,
)

DASHBOARDS = (SERVICE_HEALTH, MODEL_PERFORMANCE, DELIVERY_BOARD, AUDIT_BOARD)
