"""What may be told of a bundle's exception: its class and its place, never its text, which may quote the input.

While a bundle is loaded its text may be told, too: no patient is involved yet.
"""

from pathlib import Path
from traceback import walk_tb

_FRAMES = 4
_LETTERS = 300


def first_cause(error: BaseException) -> BaseException:
    """Return the error that began it: MONAI wraps each in "applying transform", "failed to instantiate"."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def told(error: BaseException) -> dict[str, str]:
    """Return the class and the place of the first error: file, line and function of the last calls."""
    error = first_cause(error)
    frames = [
        f"{Path(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
        for frame, line in walk_tb(error.__traceback__)
    ]
    return {"cause": type(error).__name__, "where": " < ".join(reversed(frames[-_FRAMES:]))}


def text_of(error: BaseException) -> str:
    """Return the class and the last line of an error that no input can have caused."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1][:_LETTERS]}" if lines else type(error).__name__
