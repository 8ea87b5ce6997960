"""Spans of calls: what they say, how they lie in time, which are sent."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.unit.observability.conftest import Capture
from tests.unit.observability.test_accounting import KEY, finished

from bedside.errors import BedsideError, InvalidToken, RunFailed
from bedside.observability.accounting import Accountant
from bedside.observability.metrics import Metrics
from bedside.observability.schema import FIELDS
from bedside.observability.traceparent import TraceParent
from bedside.observability.tracing.spans import Tracer
from bedside.tracing_settings import TracingSettings

Build = Callable[..., Capture]
ENDPOINT = "http://127.0.0.1:1/v1/traces"
PARENT = TraceParent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)
STAGES = {"authenticate": 0.01, "decode": 0.02, "run": 0.2, "inference": 0.15, "queue": 0.03, "encode": 0.001}


def spans_of(*calls: Any, log: Any = None, **settings: Any) -> tuple[ReadableSpan, ...]:
    """Return what is exported of calls."""
    memory = InMemorySpanExporter()
    tracer = Tracer(memory, TracingSettings(endpoint=ENDPOINT, **({"ratio": 1} | settings)), "bedside-test", "test")
    accountant = Accountant(Metrics(), KEY, log, tracer)
    for call in calls:
        accountant.account(call)
    tracer.close()
    return memory.get_finished_spans()


def test_stages_lie_one_after_the_other_in_the_call(capture: Build) -> None:
    """Those of the bundle within `run`; what the schema does not know is none."""
    capture()
    call, *stages = spans_of(finished(stages={**STAGES, "DOE^JOHN": 1.0}))
    assert [span.name for span in stages] == ["authenticate", "decode", "run", "queue", "inference", "encode"]
    assert call.kind is SpanKind.SERVER
    assert call.name == "predict spleen_ct"
    by_name = {span.name: span for span in stages}
    run = by_name["run"]
    above = {span.name: span.parent.span_id for span in stages if span.parent}
    assert above == {name: (run if name in {"queue", "inference"} else call).context.span_id for name in by_name}
    assert {span.context.trace_id for span in (call, *stages)} == {call.context.trace_id}
    assert by_name["authenticate"].start_time == call.start_time
    for first, then in [("authenticate", "decode"), ("decode", "run"), ("run", "encode"), ("queue", "inference")]:
        assert by_name[first].end_time == by_name[then].start_time
    assert by_name["queue"].start_time == run.start_time
    assert [(span.end_time or 0) - (span.start_time or 0) for span in stages] == [
        int(STAGES[span.name] * 1e9) for span in stages
    ]


def test_seconds_of_rows_that_ran_at_one_time_are_not_shown(capture: Build) -> None:
    """Together they are longer than `run`: they have no order within it."""
    capture()
    _, *stages = spans_of(finished(stages={"run": 0.1, "inference": 0.3}))
    assert [span.name for span in stages] == ["run"]


@pytest.mark.parametrize(
    ("error", "status", "facts"),
    [
        (None, StatusCode.UNSET, {"event.outcome": "success"}),
        (InvalidToken(), StatusCode.UNSET, {"event.outcome": "failure", "error.code": "invalid_token"}),
        (RunFailed("DOE^JOHN"), StatusCode.ERROR, {"event.outcome": "failure", "error.code": "run_failed"}),
    ],
    ids=["success", "refusal", "failure"],
)
def test_outcome_and_status(
    capture: Build, error: BedsideError | None, status: StatusCode, facts: dict[str, str]
) -> None:
    """Only what is ours to mend is an error; attributes are fields of the schema, and no text is among them."""
    capture()
    call = spans_of(finished(error=error))[0]
    assert call.status.status_code is status
    assert call.status.description is None
    assert facts.items() <= dict(call.attributes or {}).items()
    assert set(call.attributes or {}) <= {field.ecs for field in FIELDS.values()}
    assert "DOE" not in call.to_json()


def test_the_callers_span_is_the_parent_and_the_line_names_both(capture: Build) -> None:
    """`trace.id` leads from the log to the trace."""
    captured = capture()
    call = spans_of(finished(parent=PARENT), log=captured.log)[0]
    assert f"{call.context.trace_id:032x}" == PARENT.trace_id
    assert call.parent is not None
    assert f"{call.parent.span_id:016x}" == PARENT.span_id
    assert captured.record["trace"] == {"id": PARENT.trace_id}
    assert captured.record["span"] == {"id": f"{call.context.span_id:016x}"}


def test_the_callers_decision_comes_before_the_ratio(capture: Build) -> None:
    """Sampled by the caller: sent at ratio 0; not sampled: not sent at ratio 1; the log has the ids all the same."""
    captured = capture()
    assert spans_of(finished(parent=PARENT), ratio=0)
    assert not spans_of(finished(parent=PARENT._replace(sampled=False)), ratio=1)
    assert [record["trace"]["id"] for record in captured.records] == [PARENT.trace_id] * 2


def test_a_stranger_has_nothing_traced(capture: Build) -> None:
    """Neither by its decision nor by an id that any ratio would take; the log has its ids all the same."""
    captured = capture()
    chosen = PARENT._replace(trace_id="f" * 16 + "0" * 15 + "1")
    refused = {"principal": None, "error": InvalidToken("expired"), "parent": chosen}
    assert not spans_of(*[finished(**refused) for _ in range(50)], ratio=0)
    assert 100 < len(spans_of(*[finished(**refused, stages={}) for _ in range(1000)], ratio=0.5)) < 900
    assert {record["trace"]["id"] for record in captured.records} == {chosen.trace_id}


def test_the_ratio_is_that_of_traces_begun_here(capture: Build) -> None:
    """None at 0; at a half, of a thousand, neither few nor nearly all."""
    capture(level="error")
    assert not spans_of(finished(), ratio=0)
    sent = spans_of(*(finished(stages={}) for _ in range(1000)), ratio=0.5)
    assert 350 < len(sent) < 650


class _Broken(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        raise ValueError("DOE^JOHN")


def test_a_broken_exporter_costs_no_call_anything(capture: Build) -> None:
    """The call has its line; of the exporter's own words nothing is in the log."""
    captured = capture()
    tracer = Tracer(_Broken(), TracingSettings(endpoint=ENDPOINT, ratio=1), "bedside-test", "test")
    Accountant(Metrics(), KEY, captured.log, tracer).account(finished())
    tracer.close()
    assert "inference_completed" in {record["message"] for record in captured.records}
    assert "DOE" not in captured.text
