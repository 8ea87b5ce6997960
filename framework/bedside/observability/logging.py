"""Structured logs: structlog to ECS, one JSON object a line, only fields of the catalogue."""

import logging as stdlib_logging
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import structlog

from bedside.observability.events import FIELDS, MAX_TEXT, Event
from bedside.observability.stream import LineStream
from bedside.settings import Settings
from bedside.version import __version__

ECS_VERSION = "9.0.0"

# Messages of uvicorn's own that hold nothing of a request.
_HARMLESS_LOGGERS = {"uvicorn.error"}
_HARMLESS_STARTS = (
    "Started server",
    "Waiting for",
    "Application ",
    "Finished server",
    "Shutting down",
    "Uvicorn running",
)
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_STACK_FRAMES = 6


class Log:
    """Writes events. There is one per server, made by :func:`configure`."""

    def __init__(self, settings: Settings, stream: LineStream) -> None:
        self._stream = stream
        self._static = {
            "ecs.version": ECS_VERSION,
            "service.name": settings.service_name,
            "service.version": __version__,
            "service.environment": settings.env,
        }
        render = _render_console if settings.log.format == "console" else _render
        self._logger: Any = structlog.wrap_logger(
            _Sink(stream),
            processors=[_only_known_fields, self._to_ecs, render],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log.level]),
            cache_logger_on_first_use=True,
        ).bind()

    def info(self, event: Event, **fields: Any) -> None:
        """Log what is as it should be."""
        self._logger.info(event.value, **fields)

    def warning(self, event: Event, **fields: Any) -> None:
        """Log what somebody should look at, and write it out at once."""
        self._logger.warning(event.value, **fields)

    def error(self, event: Event, **fields: Any) -> None:
        """Log what somebody must look at, and write it out at once."""
        self._logger.error(event.value, **fields)

    def flush(self) -> None:
        """Write out what is buffered."""
        self._stream.flush()

    def _to_ecs(self, _logger: Any, level: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
        event = fields.pop("event")
        return {
            "@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "log.level": level,
            "message": event,
            **self._static,
            "event.action": event,
            **fields,
        }


class _Sink:
    """The innermost logger: takes rendered lines. Warnings and errors are written out at once."""

    def __init__(self, stream: LineStream) -> None:
        self._stream = stream

    def info(self, line: bytes) -> None:
        self._stream.write(line)

    debug = info

    def warning(self, line: bytes) -> None:
        self._stream.write(line, now=True)

    error = warning


def configure(settings: Settings, descriptor: int = 1) -> Log:
    """Return the server's log and send what libraries log through it."""
    log = Log(settings, LineStream(descriptor, settings.log.buffer_lines, settings.log.buffer_seconds))
    root = stdlib_logging.getLogger()
    root.handlers[:] = [LibraryHandler(log)]
    root.setLevel(stdlib_logging.WARNING)
    for name in _HARMLESS_LOGGERS:
        stdlib_logging.getLogger(name).setLevel(stdlib_logging.INFO)
    return log


class LibraryHandler(stdlib_logging.Handler):
    """Passes on that a library logged something, not what: its text may quote paths, values or names."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: stdlib_logging.LogRecord) -> None:
        """Write one library record as an event; never raises."""
        fields: dict[str, Any] = {"log.logger": record.name}
        event = Event.LIBRARY_MESSAGE
        if record.name in _HARMLESS_LOGGERS and str(record.msg).startswith(_HARMLESS_STARTS):
            fields["error.message"] = str(record.msg)  # the template, never its arguments
        if record.exc_info and record.exc_info[0] is not None:
            fields["error.type"] = record.exc_info[0].__name__
            fields["error.stack_trace"] = safe_frames(record.exc_info[2])
        if record.name.startswith("bedside."):  # a transport that caught what nobody foresaw
            event = Event.UNEXPECTED_ERROR
            fields["http.request.id"] = getattr(record, "request_id", "")
        if record.levelno >= stdlib_logging.ERROR:
            self._log.error(event, **fields)
        elif record.levelno >= stdlib_logging.WARNING:
            self._log.warning(event, **fields)
        else:
            self._log.info(event, **fields)


def safe_frames(trace: TracebackType | None) -> str:
    """Return file, line and function of the innermost frames, without source lines or values."""
    frames = traceback.extract_tb(trace)[-_STACK_FRAMES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))


def _only_known_fields(_logger: Any, _level: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    kept = {"event": fields["event"]}
    for name, value in fields.items():
        if name in FIELDS:
            kept[name] = value if not isinstance(value, str) or len(value) <= MAX_TEXT else value[:MAX_TEXT]
    dropped = len(fields) - len(kept)
    if dropped:
        kept["bedside.dropped_fields"] = dropped
    return kept


def _render(_logger: Any, _level: str, fields: Mapping[str, Any]) -> bytes:
    return orjson.dumps(fields)


def _render_console(_logger: Any, level: str, fields: Mapping[str, Any]) -> bytes:
    hidden = {"@timestamp", "log.level", "message", "event.action", "ecs.version"}
    shown = " ".join(
        f"{key}={value}" for key, value in fields.items() if key not in hidden and not key.startswith("service.")
    )
    time = str(fields["@timestamp"])[11:23]
    return f"{time} {level:<7} {fields['message']}  {shown}".encode()
