"""Makes the log lines of a made-up month, with the product's own renderer: every event that a dashboard or alert shows.

Run as a script, it prints them: `python tests/assets/logs/make_logs.py > lines.ndjson`.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bedside.observability.events import Event
from bedside.observability.rendering import EcsRenderer, Service

NOW = datetime(2026, 11, 20, 18, 0, 0, tzinfo=UTC)
DAYS = 30
MODELS = {
    # name: (share of calls, seconds of the device, bytes in, bytes out)
    "hippocampus_mr": (0.25, 0.9, 900_000, 12_000),
    "chest_xray_pneumonia": (0.45, 0.12, 220_000, 600),
    "heart_disease": (0.3, 0.002, 260, 420),
}
_CALLERS = ("9c1185a5c5e9fc54", "51a0b7be13f0d2a9", "77b2e04c9d1f6a38", "0d3e5c86f7ab2419")
_MISTAKES = ("missing_feature", "wrong_channel_count", "uneven_spacing", "expired_token", "insufficient_scope")
_OUR_FAULTS = ("run_failed", "worker_crashed", "model_out_of_memory")


@dataclass
class _Month:
    chance: random.Random = field(default_factory=lambda: random.Random(5))  # noqa: S311 - made-up data
    lines: list[tuple[datetime, bytes]] = field(default_factory=list)
    moment: datetime = NOW

    def __post_init__(self) -> None:
        self._render = EcsRenderer(Service("bedside", "production"), lambda: self.moment)

    def write(self, moment: datetime, level: str, event: Event, **fields: Any) -> None:
        self.moment = moment
        self.lines.append((moment, self._render(None, level, {"event": event.value, **fields})))


def lines(since: datetime = NOW - timedelta(days=DAYS)) -> Iterator[bytes]:
    """Yield the lines in the order of their times; the same at every call."""
    month = _Month()
    _deliveries(month)
    _calls(month)
    _shipments(month)
    _answers(month)
    for moment, line in sorted(month.lines):
        if moment >= since:
            yield line


def version(model: str, moment: datetime) -> str:
    """Return the version that serves: one model was replaced twelve hours before the end."""
    replaced = model == "hippocampus_mr" and moment > NOW - timedelta(hours=12)
    return "0.2.0" if replaced else "0.1.0"


def _digest(model: str, of: str) -> str:
    return "sha256:" + random.Random(model + of).randbytes(32).hex()  # noqa: S311 - made-up data


def _model(model: str, moment: datetime) -> dict[str, str]:
    of = version(model, moment)
    return {"model": model, "version": of, "digest": _digest(model, of), "device": "cuda:0"}


def _deliveries(month: _Month) -> None:
    chance = month.chance
    for day in range(0, DAYS, 3):
        begin = NOW - timedelta(days=day, hours=chance.uniform(8, 11.9))
        month.write(begin, "info", Event.SERVER_STARTED, transport="rest", models=3, host="0.0.0.0", port=8000)  # noqa: S104 - as a line
        judged = {"trust": "signed", "findings": 1, "mode": "enforce"}
        for name in MODELS:
            month.write(begin, "info", Event.BUNDLE_ADMITTED, **_model(name, begin), **judged)
            loaded = begin + timedelta(seconds=chance.uniform(4, 20))
            load_ms = chance.uniform(1500, 14000)
            month.write(loaded, "info", Event.MODEL_READY, **_model(name, loaded), load_ms=load_ms)
            counts = {"passed": 4, "failed": 0, "skipped": 1, "seconds": 3.5}
            month.write(loaded, "info", Event.GOLDEN_CASES_PASSED, **_model(name, loaded), **counts)
        month.write(begin, "info", Event.TOKEN_KEYS_REFRESHED, keys=2, generation=day)
    for days, event, more in (
        (
            3.2,
            Event.BUNDLE_REFUSED,
            {"trust": "unsigned_code", "rules": "signature+own_code", "findings": 2, "mode": "enforce"},
        ),
        (9.4, Event.MODEL_LOAD_FAILED, {"error_type": "LoadFailed", "error_code": "load_failed", "load_ms": 900.0}),
        (17.1, Event.GOLDEN_CASES_FAILED, {"passed": 3, "failed": 1, "skipped": 1, "seconds": 3.9}),
        (0.3, Event.MODEL_PROCESS_CRASHED, {"exit_code": -9}),
        (0.29, Event.MODEL_PROCESS_CRASHED, {"exit_code": -9}),
        (21.0, Event.MODEL_UNLOADED, {}),
    ):
        moment = NOW - timedelta(days=days)
        month.write(
            moment,
            "info" if event is Event.MODEL_UNLOADED else "error",
            event,
            **_model("hippocampus_mr", moment),
            **more,
        )
    for hours in (5, 70, 71):
        moment = NOW - timedelta(hours=hours)
        month.write(moment, "error", Event.SOURCE_UNAVAILABLE, source=1, error_type="SourceUnavailable")
        month.write(moment, "warning", Event.TOKEN_KEYS_STALE, reason="timeout", seconds=40.0, keys=2)
        month.write(moment, "error", Event.TOKEN_KEYS_UNAVAILABLE, reason="timeout")
        month.write(moment, "warning", Event.INSTANCE_REFUSED, error_code="missing_tag", patient="DOE^JANE")
        month.write(moment, "error", Event.AUDIT_WRITE_FAILED, error_type="OSError")
        month.write(moment, "error", Event.AUDIT_RECORDS_MISSED, audit_chain="20261101T000000Z-00000000", audit_lost=9)
        month.write(moment, "error", Event.LOG_SPOOL_FULL, lines=1000)
        month.write(moment, "error", Event.REQUEST_ERROR_UNEXPECTED, error_type="KeyError", request_id="0" * 32)


ANSWERS: dict[str, dict[str, tuple[str, float, float]]] = {
    # by model, by name: (kind, share of answers, mean probability, or millilitres)
    "chest_xray_pneumonia": {"normal": ("class", 0.7, 0.93), "pneumonia": ("class", 0.3, 0.88)},
    "heart_disease": {"no_disease": ("class", 0.55, 0.81), "disease": ("class", 0.45, 0.79)},
    "hippocampus_mr": {"anterior": ("volume", 1.0, 1.9), "posterior": ("volume", 1.0, 1.6)},
}


def _answers(month: _Month) -> None:
    """What models answer, summed up every three hours, and the truth of some; one model's patients change lately."""
    chance = random.Random(9)  # noqa: S311 - made-up data
    for number in range(DAYS * 8):
        moment = NOW - timedelta(hours=3 * number, minutes=chance.uniform(0, 50))
        for model, names in ANSWERS.items():
            about = {name: value for name, value in _model(model, moment).items() if name != "device"}
            shift = 0.35 * max(0.0, 1 - number / 32) if model == "chest_xray_pneumonia" else 0.0
            drift = round(1.9 * shift**1.5 + chance.uniform(0.005, 0.05), 4)
            for name, (kind, share, mean) in names.items():
                part = share + (shift if name == "pneumonia" else -shift if name == "normal" else 0)
                said = {"prediction_kind": kind, "prediction_name": name, "drift_score": drift}
                said |= {"prediction_count": int(240 * part * chance.uniform(0.9, 1.1))}
                said |= {"prediction_mean": round(mean * chance.uniform(0.98, 1.02), 4)}
                month.write(moment, "info", Event.PREDICTIONS_SUMMARISED, **about, **said)
                _truths(month, moment, about, (kind, name, list(names)), chance)
                if kind == "volume" and number % 8 == 0:
                    told = {"prediction_kind": kind, "prediction_name": name, "truth_count": 200}
                    told |= {"truth_absolute_error": 0.18 if number < 16 else 0.11, "truth_expected_error": 0.12}
                    told |= {"truth_excess": 0.25 if number < 16 else 0.0}
                    month.write(moment, "info", Event.TRUTH_ERRORS_SUMMARISED, **about, **told)
            if any(kind == "class" for kind, *_ in names.values()) and number % 8 == 0:
                _compared(month, moment, about, list(names), 1 - 0.5 * shift, chance)


def _compared(
    month: _Month, moment: datetime, about: dict[str, str], names: list[str], part: float, chance: random.Random
) -> None:
    for measure, name in (("accuracy", "all"), *(("sensitivity", name) for name in names)):
        share = round(0.88 * part * chance.uniform(0.98, 1.02), 4)
        told: dict[str, Any] = {
            "truth_measure": measure,
            "truth_name": name,
            "truth_count": 200 if name == "all" else 60,
        }
        told |= {"truth_share": share, "truth_expected": 0.85, "truth_shortfall": round(max(0.0, 0.79 - share), 4)}
        month.write(moment + timedelta(minutes=6), "info", Event.TRUTHS_SUMMARISED, **about, **told)


def _truths(
    month: _Month, moment: datetime, about: dict[str, str], said: tuple[str, str, list[str]], chance: random.Random
) -> None:
    kind, name, names = said
    for _ in range(3):
        told: dict[str, Any] = {"prediction_kind": kind, "prediction_name": name, "truth_delay_seconds": 172800.0}
        if kind == "class":
            true = name if chance.random() < 0.88 else next(other for other in names if other != name)
            told |= {"truth_name": true, "truth_correct": int(true == name)}
        else:
            error = float(f"{chance.gauss(0.02, 0.12):.3g}")
            told |= {"truth_error": error, "truth_absolute_error": abs(error)}
        month.write(moment + timedelta(minutes=5), "info", Event.TRUTH_RECEIVED, **about, **told)


def _shipments(month: _Month) -> None:
    """What `bedside ship` tells: a bundle every second day or so, one that fails, one that is taken back."""
    chance = random.Random(7)  # noqa: S311 - made-up data
    for number in range(14):
        model = chance.choice(list(MODELS))
        moment = NOW - timedelta(days=28 - 2 * number, hours=chance.uniform(0, 6))
        failed, back = number == 5, number == 9
        judged = {"gate_failed": 0.0, "gate_slower": chance.uniform(0.02, 0.2)}
        judged |= {"gate_disagreed": 0.4 if failed else chance.uniform(0, 0.06), "seconds": 41.0}
        decision, level = ("rollback", "warning") if failed else ("promote", "info")
        about = {"model": model, "version": f"0.{number}.0", "digest": _digest(model, str(number))}
        month.write(moment, level, Event.CANDIDATE_JUDGED, **about, gate_decision=decision, **judged)
        for environment, minutes in (("dev", 9), ("production", 16)):
            if failed and environment == "production":
                continue
            lead = minutes * 60 * chance.lognormvariate(0, 0.4)
            _ship(month, moment, model, environment, operation="deploy", delivery_lead_seconds=lead, number=number)
        if failed or back:
            how: dict[str, Any] = {"operation": "rollback", "delivery_restored_seconds": chance.uniform(200, 2400)}
            where = "production" if back else "dev"
            _ship(month, moment + timedelta(minutes=31), model, where, **how, delivery_change_failed=1, number=number)
    how = {"operation": "deploy", "outcome": "failure", "outcome_ok": 0, "delivery_change_failed": 1}
    moment = NOW - timedelta(days=12)
    _ship(month, moment, "heart_disease", "production", **how, error_type="RolloutFailed", number=99)


def _ship(month: _Month, moment: datetime, model: str, environment: str, *, number: int, **how: Any) -> None:
    commit = random.Random(number).randbytes(20).hex()  # noqa: S311 - made-up data
    fields = {"outcome": "success", "outcome_ok": 1, "model": model, "delivery_change_failed": 0, "seconds": 38.0}
    fields |= {"delivery_environment": environment, "delivery_target": "k3s", "delivery_commit": commit}
    fields |= {"delivery_artifact": _digest(model, f"artifact {number}"), **how}
    month.write(moment, "warning" if fields["outcome"] == "failure" else "info", Event.DELIVERY_ENDED, **fields)


def _calls(month: _Month) -> None:
    chance = month.chance
    names, shares = list(MODELS), [share for share, *_ in MODELS.values()]
    for _ in range(6000):
        # More lately than long ago, and most of them by day.
        moment = NOW - timedelta(days=chance.choice((1, 7, 7, DAYS)) * chance.random())
        if moment.hour not in range(6, 19) and chance.random() < 0.8:
            continue
        _call(month, moment, chance.choices(names, shares)[0])


def _call(month: _Month, moment: datetime, model: str) -> None:
    chance = month.chance
    _, seconds, bytes_in, bytes_out = MODELS[model]
    slower = 1.6 if version(model, moment) == "0.2.0" else 1.0
    own = seconds * slower * chance.lognormvariate(0, 0.25)
    # Towards noon calls wait for each other.
    waiting = own * max(0.0, 2 - abs(moment.hour - 11)) * chance.random() * 1.5
    stages = {"receive": 0.002, "decode": bytes_in / 4e7, "queue": waiting, "preprocess": own / 8, "inference": own}
    stages |= {"postprocess": own / 6, "encode": bytes_out / 4e7}
    stages = {name: round(spent * chance.uniform(0.8, 1.3) * 1e3, 3) for name, spent in stages.items()}
    call: dict[str, Any] = {
        "request_id": chance.randbytes(16).hex(),
        "transport": chance.choice(("rest", "rest", "grpc")),
        "operation": chance.choice(("predict", "predict", "infer")),
        "outcome": "success",
        "outcome_ok": 1,
        "user_hash": chance.choice(_CALLERS),
        "rows": 1,
        "input_bytes": int(bytes_in * chance.lognormvariate(0, 0.3)),
        "output_bytes": int(bytes_out * chance.lognormvariate(0, 0.2)),
        "duration_ns": int(sum(stages.values()) * 1e6),
        **_model(model, moment),
    }
    fate = chance.random()
    if fate < 0.05:
        _fail(call, "info", chance.choice(_MISTAKES))
    elif fate < 0.06:
        _fail(call, "warning", "queue_full")
    elif fate < 0.075:
        _fail(call, "error", chance.choice(_OUR_FAULTS))
        call["error_cause"] = "RuntimeError"
    else:
        call |= {f"{stage}_ms": spent for stage, spent in stages.items()}
    level = call.pop("level", "info")
    month.write(moment, str(level), Event.INFERENCE_COMPLETED, **call)


def _fail(call: dict[str, Any], level: str, code: str) -> None:
    kind = "".join(part.title() for part in code.split("_"))
    call.update(level=level, outcome="failure", outcome_ok=0, error_code=code, error_type=kind, output_bytes=0)
    if code.endswith("token"):
        call.update(user_hash=None, model=None, version=None, digest=None, device=None)


if __name__ == "__main__":
    sys.stdout.buffer.writelines(lines())
