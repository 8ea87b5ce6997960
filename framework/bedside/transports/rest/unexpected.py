"""What to do with an error that nobody foresaw: say so in the log, without a word of what it says."""

import logging
import traceback

from bedside.errors import BedsideError

_log = logging.getLogger("bedside.transports.rest")


def report_unexpected(error: BaseException, request_id: str) -> BedsideError:
    """Log class and frames, never the text: it may quote the input. Return what the caller is told."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    _log.error(
        "request_error_unexpected",
        extra={"request_id": request_id, "error_type": type(error).__qualname__, "frames": frames},
    )
    return BedsideError("an unexpected error; look for the request id in the server's log")
