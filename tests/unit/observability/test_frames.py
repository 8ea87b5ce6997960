"""Where an exception came from."""

import pytest

from bedside.observability.frames import MOST_FRAMES, safe_frames


def fail(depth: int) -> None:
    """Raise from that deep."""
    if depth:
        fail(depth - 1)
    raise ValueError("DOE^JOHN")


def test_frames_tell_file_line_and_function() -> None:
    """Innermost last, without the text and without the folders above."""
    with pytest.raises(ValueError, match="DOE") as raised:
        fail(2)
    frames = safe_frames(raised.value)
    assert safe_frames(raised.value.__traceback__) == frames
    assert len(frames) == 4
    assert frames[-1].startswith("unit/observability/test_frames.py:")
    assert frames[-1].endswith(" fail")
    assert "DOE" not in "".join(frames)


def test_frames_are_bounded_and_may_be_none() -> None:
    """The innermost are kept; an exception that was never raised has none."""
    with pytest.raises(ValueError, match="DOE") as raised:
        fail(100)
    assert len(safe_frames(raised.value)) == MOST_FRAMES
    assert safe_frames(None) == safe_frames(ValueError("x")) == ()
