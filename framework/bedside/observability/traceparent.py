"""The trace that a caller's request belongs to: ``traceparent`` of W3C Trace Context, level 1."""

import re
from typing import NamedTuple

_FORM = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 0x01  # §3.2.2.5.1


class TraceParent(NamedTuple):
    """The caller's span: 32 and 16 hex digits, and whether it is recorded."""

    trace_id: str
    span_id: str
    sampled: bool


def trace_parent_from(sent: bytes | None) -> TraceParent | None:
    """Return what a ``traceparent`` field says (§3.2), None where there is none or it is of any other form.

    Only version 00 is read: of later ones nobody knows what they may hold, and the ids go into the log.
    """
    found = None if sent is None else _FORM.fullmatch(sent)
    if found is None:
        return None
    trace_id, span_id, flags = found.groups()
    return TraceParent(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & _SAMPLED))
