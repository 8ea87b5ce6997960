"""The log: structlog in front, one renderer, one buffered writer; stdlib logging and uncaught exceptions led into it.

Call :func:`configure` once, early; get loggers with :func:`get_logger`. Whoever logs on the hot path calls ``bind()``
on its logger once, after ``configure``: structlog then skips its lazy proxy.
"""

import atexit
import io
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, cast

import structlog

from bedside.observability.events import Event
from bedside.observability.foreign import ForeignHandler
from bedside.observability.frames import safe_frames
from bedside.observability.inference_line import InferenceLines
from bedside.observability.rendering import Clock, ConsoleRenderer, EcsRenderer, Service, utc_now
from bedside.observability.writer import BufferedWriter, ByteStream
from bedside.settings import Settings

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class EventLogger(Protocol):
    """What :func:`get_logger` returns. Fields are those of ``schema.yaml``; others are dropped."""

    def bind(self, **fields: Any) -> "EventLogger":
        """Return a logger that adds these fields to each event."""
        ...

    def debug(self, event: Event, **fields: Any) -> None:
        """Log for whoever develops."""
        ...

    def info(self, event: Event, **fields: Any) -> None:
        """Log what normally happens."""
        ...

    def warning(self, event: Event, **fields: Any) -> None:
        """Log what somebody should look at."""
        ...

    def error(self, event: Event, **fields: Any) -> None:
        """Log what somebody must look at."""
        ...


class _Both:
    """Standard output and the spool, each with a buffer of its own: one that fails or waits does not hold the other."""

    def __init__(self, *writers: BufferedWriter) -> None:
        self._writers = writers

    @property
    def lost_lines(self) -> int:
        return sum(writer.lost_lines for writer in self._writers)

    def write(self, line: bytes, *, urgent: bool = False) -> None:
        for writer in self._writers:
            writer.write(line, urgent=urgent)

    def flush(self) -> None:
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


_Lines = BufferedWriter | _Both


class _Output:
    """The innermost logger: takes rendered lines. Methods are named after levels, as structlog wants it."""

    def __init__(self, writer: "_Lines") -> None:
        self._writer = writer
        self.debug = self.info = writer.write

    def warning(self, line: bytes) -> None:
        self._writer.write(line, urgent=True)

    error = critical = warning


class Log:
    """A configured log; made by :func:`configure`.

    Attributes:
        closed: called once its last line is written.
    """

    def __init__(self, writer: _Lines, handler: logging.Handler, inference_lines: InferenceLines | None = None) -> None:
        self._writer = writer
        self._handler = handler
        self._inference_lines = inference_lines
        self.closed: Callable[[], None] = lambda: None

    def write_inference(self, same: Mapping[str, Any], varying: Mapping[str, Any], stages: Mapping[str, float]) -> bool:
        """Write ``inference_completed`` the short way; tell whether it could be."""
        line = None if self._inference_lines is None else self._inference_lines.render(same, varying, stages)
        if line is None:
            return False
        self._writer.write(line)
        return True

    @property
    def lost_lines(self) -> int:
        """Return how many lines could not be written."""
        return self._writer.lost_lines

    def flush(self) -> None:
        """Write what is buffered."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is buffered, and lead stdlib logging here no longer."""
        logging.getLogger().removeHandler(self._handler)
        atexit.unregister(self._writer.close)
        self._writer.close()
        self.closed()


def get_logger(name: str) -> EventLogger:
    """Return a logger; ``name`` is the module's and becomes ``log.logger``."""
    return cast("EventLogger", structlog.get_logger(logger_name=name))


def configure(
    settings: Settings, *, stream: ByteStream | None = None, spool: ByteStream | None = None, clock: Clock = utc_now
) -> Log:
    """Set the process's log up; call it once, or again in tests.

    Args:
        settings: level, format and buffering are in ``settings.log``.
        stream: where lines go; standard output by default.
        spool: where they go too, or instead: ``log.sink`` says which.
        clock: time of day.
    """
    log = settings.log
    target = stream if stream is not None else _standard_output()
    writer = _lines(settings, target, spool)
    structlog.configure(
        processors=[_renderer(settings, target, clock)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[log.level]),
        context_class=dict,
        logger_factory=lambda *_: _Output(writer),
        # A cached logger would go on writing to an earlier configuration; whoever is hot binds once instead.
        cache_logger_on_first_use=False,
    )
    handler = ForeignHandler(_sink)
    _lead_stdlib_here(handler, _LEVELS[log.level])
    _lead_exceptions_here()
    atexit.register(writer.close)
    return Log(writer, handler, _inference_lines(settings, clock))


def adopt_loggers() -> None:
    """Lead every logger that there is to the root's handler, and to no other.

    Libraries that are imported after :func:`configure` may bring handlers of their own: MONAI's loggers print their
    texts on standard output, between the lines of the log.
    """
    for logger in list(logging.root.manager.loggerDict.values()):  # a copy: other threads make loggers meanwhile
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True


def _standard_output() -> ByteStream:
    # Below Python's own buffer: what a reader that has gone left in there would fail the process at its very end.
    sys.stdout.flush()
    return getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)


def _lines(settings: Settings, target: ByteStream, spool: ByteStream | None) -> _Lines:
    log = settings.log

    def buffered(stream: ByteStream) -> BufferedWriter:
        return BufferedWriter(
            stream,
            buffer_lines=log.buffer_lines,
            buffer_seconds=log.buffer_seconds,
            backlog_lines=log.backlog_lines,
            on_loss=lambda count: _sink("error", Event.LOG_LINES_LOST, {"lost_lines": count}),
        )

    if spool is None:
        return buffered(target)
    if log.sink == "elasticsearch":
        return buffered(spool)
    return _Both(buffered(target), buffered(spool))


def _renderer(settings: Settings, target: ByteStream, clock: Clock) -> EcsRenderer | ConsoleRenderer:
    if settings.log.format == "console":
        return ConsoleRenderer(colors=target.isatty() if isinstance(target, io.IOBase) else False, clock=clock)
    return EcsRenderer(Service(settings.service_name, settings.env), clock)


def _inference_lines(settings: Settings, clock: Clock) -> InferenceLines | None:
    # For people, and where such calls are not logged at all, the general way does.
    if settings.log.format == "console" or _LEVELS[settings.log.level] > _LEVELS["info"]:
        return None
    return InferenceLines(Service(settings.service_name, settings.env), clock)


def _sink(level: str, event: str, fields: dict[str, Any]) -> None:
    getattr(structlog.get_logger(), level)(event, **fields)


def _lead_stdlib_here(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries are never asked for their debug records: they cost time, and their text would be dropped anyway.
    root.setLevel(max(level, logging.INFO))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # Access lines and clients' request lines hold paths; `inference_completed` takes their place. Those of the client
    # that ships the log would be log lines to ship.
    for name in ("uvicorn.access", "httpx", "httpcore", "elastic_transport"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # a record that cannot be logged is not printed with its text instead


def _lead_exceptions_here() -> None:
    def report(kind: type[BaseException] | None, traceback: TracebackType | None) -> None:
        name = kind.__qualname__ if kind else None
        _sink("error", Event.UNCAUGHT_EXCEPTION, {"error_type": name, "frames": safe_frames(traceback)})

    def uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
        else:
            report(kind, traceback)

    # The interpreter's own hooks print the exception's text.
    sys.excepthook = uncaught
    sys.unraisablehook = lambda what: report(what.exc_type, what.exc_traceback)
    threading.excepthook = lambda what: report(what.exc_type, what.exc_traceback)
