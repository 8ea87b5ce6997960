"""What may be told of a bundle's exception: its class and its place, never its text, which may quote the input."""

from pathlib import Path


def told(error: BaseException) -> dict[str, str]:
    """Return the class and the place of the first error: MONAI wraps each one in "applying transform"."""
    while error.__cause__ is not None:
        error = error.__cause__
    return {"cause": type(error).__name__, "where": _frames(error)}


def _frames(error: BaseException) -> str:
    """Return where it happened: file, line and function of the last calls."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " < ".join(reversed(frames[-4:]))
