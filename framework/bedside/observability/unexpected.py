"""What to do with an error that nobody foresaw: say so in the log, without a word of what it says."""

import logging

from bedside.errors import BedsideError

_log = logging.getLogger("bedside.transports")


def report_unexpected(error: BaseException, request_id: str) -> BedsideError:
    """Log class and frames, never the text: it may quote the input. Return what the caller is told."""
    # observability.foreign keeps the class and the frames of ``exc_info`` and drops every text.
    _log.error("request_error_unexpected", exc_info=error, extra={"request_id": request_id})
    return BedsideError("an unexpected error; look for the request id in the server's log")
