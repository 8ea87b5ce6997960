"""Spans of what is no call, and traces that are only passed on."""

import pytest

from bedside.observability.traceparent import CURRENT_SPAN, TraceParent, outgoing_headers
from bedside.observability.tracing import FinishedSpan, SpanKind, Tracer

PARENT = TraceParent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)
SPAN = PARENT._replace(span_id="00f067aa0ba902b7")


class Kept(Tracer):
    """Keeps what it is given."""

    records = True

    def __init__(self) -> None:
        self.finished: list[FinishedSpan] = []
        self.trusted = False

    def begin(self, parent: TraceParent | None, *, trusted: bool = True) -> TraceParent:
        """Return always the same."""
        self.trusted = trusted
        return SPAN

    def record(self, finished: FinishedSpan) -> None:
        """Keep it."""
        self.finished.append(finished)


def test_a_block_is_a_span_that_requests_are_sent_under() -> None:
    """Only for as long as it lasts."""
    tracer = Kept()
    with tracer.span("deliver ct", PARENT, SpanKind.CLIENT, model="ct", attempt=2) as span:
        assert span == SPAN
        assert outgoing_headers() == {"traceparent": f"00-{SPAN.trace_id}-{SPAN.span_id}-01"}
    assert outgoing_headers() == {}
    (finished,) = tracer.finished
    assert (finished.span, finished.parent, finished.name, finished.kind) == (SPAN, PARENT, "deliver ct", 3)
    assert (finished.facts, finished.failed) == ({"model": "ct", "attempt": 2, "outcome": "success"}, False)


def test_a_block_that_fails_says_of_what_class() -> None:
    """Nothing of its text, which may hold an address or a name."""
    tracer = Kept()
    with pytest.raises(ValueError, match="DOE"), tracer.span("deliver ct", None, SpanKind.CLIENT):
        raise ValueError("DOE^JOHN")
    (finished,) = tracer.finished
    assert (finished.facts, finished.failed) == ({"outcome": "failure", "error_type": "ValueError"}, True)
    assert CURRENT_SPAN.get() is None


@pytest.mark.parametrize("parent", [PARENT, None])
def test_who_records_nothing_passes_a_trace_on(parent: TraceParent | None) -> None:
    """As it came; where none came, none begins."""
    with Tracer().span("deliver ct", parent, SpanKind.CLIENT) as span:
        assert span == parent
        assert outgoing_headers() == ({} if parent is None else {"traceparent": str(parent)})
