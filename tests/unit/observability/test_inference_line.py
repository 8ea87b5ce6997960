"""The short way of a call that went well gives the line of the long way."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from bedside.observability.events import Event
from bedside.observability.inference_line import InferenceLines
from bedside.observability.rendering import EcsRenderer, Service

SERVICE = Service("bedside", "test")
MOMENT = datetime(2026, 11, 21, 6, 30, 1, 42, UTC)
SAME = {
    "transport": "rest",
    "operation": "predict",
    "outcome": "success",
    "model": "heart_disease",
    "version": "0.1.0",
    "digest": "sha256:" + "0" * 64,
    "device": "cpu",
    "user_hash": "0123456789abcdef",
}
VARYING = {"request_id": "a" * 32, "duration_ns": 123456, "rows": 1, "input_bytes": 5, "output_bytes": 900719925474001}
STAGES = {"authenticate": 1e-6, "decode": 0.25, "run": 3.0, "encode": 0.0}


def general(same: dict[str, Any], varying: dict[str, Any], stages: dict[str, float]) -> Any:
    """Return what the general renderer writes of the same call."""
    times = {f"{stage}_ms": round(spent * 1e3, 3) for stage, spent in stages.items()}
    event = {"event": Event.INFERENCE_COMPLETED.value, "logger_name": "bedside.inference", **same, **varying, **times}
    return orjson.loads(EcsRenderer(SERVICE, lambda: MOMENT)(None, "info", event))


@pytest.mark.parametrize("stages", [STAGES, {}, {"queue": 1.5}], ids=["several", "none", "one"])
@pytest.mark.parametrize("same", [SAME, {**SAME, "model": None, "user_hash": None}], ids=["known", "unknown"])
def test_the_line_is_that_of_the_general_renderer(same: dict[str, Any], stages: dict[str, float]) -> None:
    """First from a fresh template, then from a kept one, with other numbers; last with a trace."""
    lines = InferenceLines(SERVICE, lambda: MOMENT)

    traced = {**VARYING, "trace_id": "b" * 32, "span_id": "c" * 16}

    for varying in (VARYING, {**VARYING, "duration_ns": 1, "rows": 7}, traced):
        line = lines.render(same, varying, stages)

        assert line is not None
        assert line.endswith(b"}\n")
        assert orjson.loads(line) == general(same, varying, stages)


def test_an_id_that_is_no_identifier_is_left_to_the_general_renderer() -> None:
    """Which drops it."""
    assert InferenceLines(SERVICE).render(SAME, {**VARYING, "request_id": "DOE^JOHN"}, STAGES) is None


def test_a_percent_sign_in_a_shared_field_stays_one() -> None:
    """The template is filled in once, not twice."""
    lines = InferenceLines(SERVICE, lambda: MOMENT)
    service = InferenceLines(Service("100%", "test"), lambda: MOMENT)

    assert lines.render({**SAME, "model": "a.b"}, VARYING, {}) is not None
    assert orjson.loads(service.render(SAME, VARYING, {}) or b"")["service"]["name"] == "100%"


def test_templates_do_not_pile_up() -> None:
    """More callers than templates cost time, not memory."""
    lines = InferenceLines(SERVICE)
    for number in range(1100):
        lines.render({**SAME, "user_hash": str(number)}, VARYING, {})

    assert len(lines._templates) <= 1024
