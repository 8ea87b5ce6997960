"""Where an exception came from, without a word of what it says: its text may quote the input."""

from pathlib import PurePath
from traceback import FrameSummary, extract_tb
from types import TracebackType

MOST_FRAMES = 24


def safe_frames(error: BaseException | TracebackType | None) -> tuple[str, ...]:
    """Return ``file:line function`` of the innermost frames, outermost first, at most ``MOST_FRAMES``.

    Neither the exception's text nor source lines nor local values are looked at. Of a file's path only the last three
    parts are kept: enough to find it, and no home folder's name.
    """
    traceback = error.__traceback__ if isinstance(error, BaseException) else error
    return tuple(_frame(frame) for frame in extract_tb(traceback)[-MOST_FRAMES:])


def _frame(frame: FrameSummary) -> str:
    return f"{'/'.join(PurePath(frame.filename).parts[-3:])}:{frame.lineno} {frame.name}"
