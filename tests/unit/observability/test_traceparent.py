"""``traceparent``: W3C Trace Context level 1, and nothing else."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bedside.observability.traceparent import TraceParent, trace_parent_from

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("03", True), ("fe", False)])
def test_the_form_of_the_standard_is_read(flags: str, sampled: bool) -> None:  # noqa: FBT001
    """Both ids, and of the flags the one that level 1 defines."""
    found = trace_parent_from(f"00-{TRACE}-{SPAN}-{flags}".encode())
    assert found == TraceParent(TRACE, SPAN, sampled)
    assert str(found) == f"00-{TRACE}-{SPAN}-0{int(sampled)}"


@pytest.mark.parametrize(
    "sent",
    [
        f"01-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-DOE^JOHN",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        "",
    ],
)
def test_every_other_form_is_ignored(sent: str) -> None:
    """Other versions, capitals, ids of zeros only, too much and too little."""
    assert trace_parent_from(sent.encode()) is None


@given(
    st.none() | st.binary(max_size=60) | st.from_regex(r"0?[01]-[0-9a-f]{32}-[0-9a-fA-F]{16}-.{0,3}").map(str.encode)
)
@example(f"00-{TRACE}-{SPAN}-01".encode())
def test_what_is_kept_is_hex_and_comes_back_the_same(sent: bytes | None) -> None:
    """Whatever is sent, only lower-case hex digits of the right number come out."""
    found = trace_parent_from(sent)
    if found is not None:
        assert re.fullmatch("[0-9a-f]{32}", found.trace_id)
        assert re.fullmatch("[0-9a-f]{16}", found.span_id)
        assert sent is not None
        assert sent[:-2].decode() == f"00-{found.trace_id}-{found.span_id}-"
