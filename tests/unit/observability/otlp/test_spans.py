"""Spans of calls: what they say, how they lie in time."""

from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tests.otlp import attributes
from tests.unit.observability.test_accounting import KEY, Build, finished
from tests.unit.observability.test_tracing import PARENT, SPAN, Kept

from bedside.errors import BedsideError, InvalidToken, RunFailed
from bedside.observability.accounting import Accountant
from bedside.observability.metrics import Metrics
from bedside.observability.otlp.spans import encode
from bedside.observability.schema import FIELDS

STAGES = {"authenticate": 0.01, "decode": 0.02, "run": 0.2, "inference": 0.15, "queue": 0.03, "encode": 0.001}
END = 1_700_000_000_000_000_000


def spans_of(call: Any, log: Any = None) -> list[Span]:
    """Return what is sent of a call."""
    kept = Kept()
    Accountant(Metrics(), KEY, log, kept).account(call)
    message, count = encode([(each, END) for each in kept.finished], {"service.name": "test"})
    (resource,) = ExportTraceServiceRequest.FromString(message).resource_spans
    assert len(resource.scope_spans[0].spans) == count
    return list(resource.scope_spans[0].spans)


def test_stages_lie_one_after_the_other_in_the_call(capture: Build) -> None:
    """Those of the bundle within `run`; what the schema does not know is none."""
    capture()
    call, *stages = spans_of(finished(stages={**STAGES, "DOE^JOHN": 1.0}))
    assert [span.name for span in stages] == ["authenticate", "decode", "run", "queue", "inference", "encode"]
    assert (call.kind, call.name, call.end_time_unix_nano) == (Span.SPAN_KIND_SERVER, "predict spleen_ct", END)
    named = {span.name: span for span in stages}
    above = {span.name: span.parent_span_id for span in stages}
    assert above == {name: (named["run"] if name in {"queue", "inference"} else call).span_id for name in named}
    assert {span.trace_id.hex() for span in (call, *stages)} == {SPAN.trace_id}
    assert len({span.span_id for span in (call, *stages)}) == 7
    assert named["authenticate"].start_time_unix_nano == call.start_time_unix_nano
    for first, then in [("authenticate", "decode"), ("decode", "run"), ("run", "encode"), ("queue", "inference")]:
        assert named[first].end_time_unix_nano == named[then].start_time_unix_nano
    assert named["queue"].start_time_unix_nano == named["run"].start_time_unix_nano
    assert [span.end_time_unix_nano - span.start_time_unix_nano for span in stages] == [
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
        (None, Status.STATUS_CODE_UNSET, {"event.outcome": "success"}),
        (InvalidToken(), Status.STATUS_CODE_UNSET, {"event.outcome": "failure", "error.code": "invalid_token"}),
        (RunFailed("DOE^JOHN"), Status.STATUS_CODE_ERROR, {"event.outcome": "failure", "error.code": "run_failed"}),
    ],
    ids=["success", "refusal", "failure"],
)
def test_outcome_and_status(
    capture: Build, error: BedsideError | None, status: "Status.StatusCode.ValueType", facts: dict[str, str]
) -> None:
    """Only what is ours to mend is an error; attributes are fields of the schema, and no text is among them."""
    capture()
    call = spans_of(finished(error=error))[0]
    assert (call.status.code, call.status.message) == (status, "")
    assert facts.items() <= attributes(call).items()
    assert set(attributes(call)) <= {field.ecs for field in FIELDS.values()}
    assert attributes(call)["http.request.id"] == "abc"
    assert b"DOE" not in call.SerializeToString()


def test_the_callers_span_is_the_parent_and_the_line_names_both(capture: Build) -> None:
    """`trace.id` leads from the log to the trace; the parent is told to be somebody else's span."""
    captured = capture()
    call, stage = spans_of(finished(parent=PARENT, stages={"run": 0.1}), captured.log)
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (PARENT.trace_id, PARENT.span_id)
    assert (call.flags, stage.flags) == (0x301, 0x101)
    assert captured.record["trace"] == {"id": PARENT.trace_id}
    assert captured.record["span"] == {"id": call.span_id.hex()}


@pytest.mark.parametrize(
    ("changes", "trusted"),
    [({}, True), ({"principal": None}, False), ({"principal": None, "job": "1"}, True)],
    ids=["a caller", "a stranger", "a job"],
)
def test_who_has_shown_a_token_decides_what_is_recorded(
    capture: Build,
    changes: dict[str, Any],
    trusted: bool,  # noqa: FBT001
) -> None:
    """A job's caller had shown one when it was handed in."""
    capture()
    tracer = Kept()
    Accountant(Metrics(), KEY, tracer=tracer).account(finished(parent=PARENT, **changes))
    assert tracer.trusted is trusted


def test_a_jobs_run_is_a_consumers_span(capture: Build) -> None:
    """As of any message that waited (semantic conventions, "Messaging spans")."""
    capture()
    assert spans_of(replace(finished(), transport="jobs"))[0].kind == Span.SPAN_KIND_CONSUMER
