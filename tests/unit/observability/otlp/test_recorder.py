"""What becomes of spans on their way: sampled, batched, bounded, counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from tests.otlp import Answer, collector

from bedside.observability.otlp.collector import Collector as Way
from bedside.observability.otlp.recorder import Recorder
from bedside.observability.traceparent import TraceParent, trace_parent_from
from bedside.observability.tracing import FinishedSpan, SpanKind
from bedside.otlp_settings import TracingSettings

PARENT = TraceParent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)


NOBODY = "http://127.0.0.1:9/v1/traces"


def recorder(endpoint: str = NOBODY, **settings: float) -> Recorder:
    """Return a recorder that sends only when it is closed or has a batch."""
    chosen = {"endpoint": endpoint, "ratio": 1, "flush_seconds": 3600, "stop_seconds": 60}
    chosen |= {"timeout_seconds": 0.2 if endpoint == NOBODY else 60} | settings
    tracing = TracingSettings.model_validate(chosen)
    made = Recorder(Way(tracing, "tracing"), tracing, {"service.name": "test"})
    MADE.append(made)
    return made


MADE: list[Recorder] = []


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """End each recorder with its test: its thread would tell the log of another one what it could not send."""
    yield
    while MADE:
        MADE.pop().close()


def record(to: Recorder, name: str = "predict", parent: TraceParent | None = None) -> TraceParent:
    """Record a span with one stage."""
    span = to.begin(parent)
    to.record(FinishedSpan(span, parent, name, SpanKind.SERVER, 0.25, {"model": "ct"}, "abc", {"run": 0.2}))
    return span


def test_a_span_is_in_its_parents_trace() -> None:
    """With an id of its own, and the caller's decision whether it is recorded."""
    to = recorder()
    for parent in (PARENT, PARENT._replace(sampled=False)):
        span = to.begin(parent)
        assert (span.trace_id, span.sampled) == (parent.trace_id, parent.sampled)
        assert span.span_id != parent.span_id
        assert trace_parent_from(str(span).encode()) == span
    to.close()


def test_the_callers_decision_comes_before_the_ratio(tmp_path: Path) -> None:
    """Sampled by the caller: sent at ratio 0; not sampled: not sent at ratio 1."""
    with collector(tmp_path) as receiver:
        for ratio, sampled in ((0.0, True), (1.0, False)):
            to = recorder(receiver.endpoint, ratio=ratio)
            record(to, f"{sampled}", PARENT._replace(sampled=sampled))
            to.close()
    assert [span.name for span in receiver.spans] == ["True", "run"]


def test_the_ratio_is_that_of_traces_begun_here() -> None:
    """None at 0, all at 1; at a half, of a thousand, neither few nor nearly all."""
    counts = []
    for ratio in (0.0, 0.5, 1.0):
        to = recorder(ratio=ratio)
        counts.append(sum(to.begin(None).sampled for _ in range(1000)))
        to.close()
    none, half, all_of_them = counts
    assert (none, all_of_them) == (0, 1000)
    assert 350 < half < 650


def test_a_stranger_has_nothing_traced() -> None:
    """Neither by its decision nor by an id that any ratio would take; its trace id is kept all the same."""
    chosen = PARENT._replace(trace_id="f" * 16 + "0" * 15 + "1")
    for ratio, least, most in ((0.0, 0, 0), (0.5, 100, 900)):
        to = recorder(ratio=ratio)
        spans = [to.begin(chosen, trusted=False) for _ in range(1000)]
        to.close()
        assert least <= sum(span.sampled for span in spans) <= most
        assert {span.trace_id for span in spans} == {chosen.trace_id}


def test_a_full_batch_does_not_wait_for_the_time(tmp_path: Path) -> None:
    """And one more goes out with the end; all that was taken is counted."""
    with collector(tmp_path) as receiver:
        to = recorder(receiver.endpoint, batch_calls=2)
        spans = [record(to) for _ in range(5)]
        to.close()
    assert {span.span_id.hex() for span in receiver.spans if span.name == "predict"} == {span.span_id for span in spans}
    assert all(len(body) < 1000 for _, body in receiver.requests)
    assert (to.sent_spans, to.lost_spans) == (10, 0)


def test_the_oldest_go_where_there_is_no_room_and_are_counted(tmp_path: Path) -> None:
    """With their stages; nobody waits for room."""
    with collector(tmp_path) as receiver:
        to = recorder(receiver.endpoint, queue_calls=3, batch_calls=3)
        to.close()
        for number in range(5):
            record(to, str(number))
        assert to.lost_spans == 4
        to._export()
    assert [span.name for span in receiver.spans if span.name != "run"] == ["2", "3", "4"]
    assert (to.sent_spans, to.lost_spans) == (6, 4)


@pytest.mark.parametrize("answers", [[Answer(400)], [Answer(503)] * 50], ids=["refused", "away"])
def test_what_no_collector_takes_is_counted(tmp_path: Path, answers: list[Answer]) -> None:
    """However it is not taken."""
    with collector(tmp_path) as receiver:
        receiver.answers.extend(answers)
        to = recorder(receiver.endpoint, timeout_seconds=2)
        record(to)
        to.close()
    assert (to.sent_spans, to.lost_spans) == (0, 2)


@pytest.mark.parametrize(("body", "lost"), [(1, 1), (0, 0), (None, 0)], ids=["one refused", "none", "not readable"])
def test_spans_that_a_collector_has_refused_among_others_are_counted(
    tmp_path: Path, body: int | None, lost: int
) -> None:
    """It answers 200, and tells how many (OTLP, "Partial Success"); what is not readable tells nothing."""
    partial = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=body or 0))
    with collector(tmp_path) as receiver:
        receiver.answers.append(Answer(body=b"\xff" if body is None else partial.SerializeToString()))
        to = recorder(receiver.endpoint)
        record(to)
        to.close()
    assert (to.sent_spans, to.lost_spans) == (2 - lost, lost)


def test_a_defect_costs_the_batch_and_no_later_one(tmp_path: Path) -> None:
    """It is counted."""
    with collector(tmp_path) as receiver:
        to = recorder(receiver.endpoint)
        to.record(FinishedSpan(PARENT._replace(span_id="no hex"), None, "DOE^JOHN", SpanKind.SERVER, 0.1, {}))
        with pytest.raises(ValueError, match="hex"):
            to._export()
        record(to)
        to.close()
    assert [span.name for span in receiver.spans] == ["predict", "run"]
    assert (to.sent_spans, to.lost_spans) == (2, 1)


def test_closing_does_not_wait_for_a_collector_that_is_away() -> None:
    """What waits is given up after ``tracing.stop_seconds``, though an attempt may be repeated for ten minutes."""
    to = recorder(timeout_seconds=600, stop_seconds=0.1)
    record(to)
    to.close()
