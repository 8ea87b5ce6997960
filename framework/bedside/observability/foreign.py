"""Records of libraries (uvicorn, MONAI, asyncio, warnings) in our log, without their text.

Whoever wrote ``logger.info("reading %s", path)`` did not know that the path holds a patient's name. Of a foreign record
only logger, level, source position, and for exceptions class and frames are kept. Texts are kept only where the
template is in a list of harmless ones, and then without what would be filled in.
"""

import logging
from typing import Any, Protocol

from bedside.observability.events import CATALOGUE, Event
from bedside.observability.frames import safe_frames

HARMLESS = frozenset(
    {
        "Started server process [%d]",
        "Waiting for application startup.",
        "Application startup complete.",
        "Application startup failed. Exiting.",
        "Uvicorn running on %s://%s:%d (Press CTRL+C to quit)",
        "Shutting down",
        "Waiting for connections to close. (CTRL+C to force quit)",
        "Waiting for background tasks to complete. (CTRL+C to force quit)",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
        "Finished server process [%d]",
        "Invalid HTTP request received.",
    }
)
"""Templates of ``uvicorn.error`` that say nothing about any request."""

_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))


class EventSink(Protocol):
    """Takes an event at a level by name, which it may filter."""

    def __call__(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Log it."""
        ...


class ForeignHandler(logging.Handler):
    """The root handler of stdlib logging."""

    def __init__(self, sink: EventSink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record; never raises and never fills in its template."""
        try:
            event, fields = _event_of(record)
            self._sink(_level_of(record.levelno), event, fields)
        except Exception:  # noqa: BLE001, S110 - logging must not break what logs; there is nowhere left to report to
            pass


def _level_of(number: int) -> str:
    return next((name for least, name in _LEVELS if number >= least), "debug")


def _event_of(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    fields: dict[str, Any] = {"logger_name": record.name}
    if record.exc_info and record.exc_info[0] is not None:
        fields["error_type"] = record.exc_info[0].__qualname__
        fields["frames"] = safe_frames(record.exc_info[2])
    template = record.msg if isinstance(record.msg, str) else ""  # anything may be logged, also what has no hash
    if record.name.startswith("bedside.") and template in _OWN and not record.args:
        # Ours, from a package that does not know structlog: fields come in `extra`, allow-listed like all others.
        allowed = CATALOGUE[Event(template)].fields
        fields |= {name: value for name, value in record.__dict__.items() if name in allowed}
        return template, fields
    fields["origin_file"] = record.filename
    fields["origin_line"] = record.lineno
    if record.name == "uvicorn.error" and template in HARMLESS:
        fields["text"] = template
    return Event.LIBRARY_MESSAGE.value, fields


_OWN = frozenset(event.value for event in CATALOGUE)
