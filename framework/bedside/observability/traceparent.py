"""The trace that a request belongs to: ``traceparent`` of W3C Trace Context, level 1, in and out."""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import NamedTuple

_FORM = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 0x01  # §3.2.2.5.1


class TraceParent(NamedTuple):
    """A span as others name it: 32 and 16 hex digits, and whether it is recorded."""

    trace_id: str
    span_id: str
    sampled: bool

    def __str__(self) -> str:
        """Return the header field's value (§3.2)."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


CURRENT_SPAN: ContextVar[TraceParent | None] = ContextVar("current_span", default=None)
"""The span that requests to other services are sent under."""


def trace_parent_from(sent: bytes | None) -> TraceParent | None:
    """Return what a ``traceparent`` field says (§3.2), None where there is none or it is of any other form.

    Only version 00 is read: of later ones nobody knows what they may hold, and the ids go into the log.
    """
    found = None if sent is None else _FORM.fullmatch(sent)
    if found is None:
        return None
    trace_id, span_id, flags = found.groups()
    return TraceParent(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & _SAMPLED))


def outgoing_headers() -> Mapping[str, str]:
    """Return the header field that a request to another service carries; none where there is no trace."""
    span = CURRENT_SPAN.get()
    return {} if span is None else {"traceparent": str(span)}
