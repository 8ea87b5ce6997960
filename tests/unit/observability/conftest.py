"""What the observability tests share: a log that can be read back, and a process that is left as it was."""

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import structlog
from tests.emitted import faults

from bedside.log_settings import LogSettings
from bedside.observability.logging import Log, configure
from bedside.settings import Settings

MOMENT = datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC)


@dataclass
class Capture:
    """A configured log and what it wrote."""

    log: Log
    stream: io.BytesIO

    @property
    def text(self) -> str:
        """Return everything written, after a flush."""
        self.log.flush()
        return self.stream.getvalue().decode()

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return the lines as objects, each held against the schema."""
        assert not [fault for line in self.text.splitlines() for fault in faults(line.encode(), complete=False)]
        return [orjson.loads(line) for line in self.text.splitlines()]

    @property
    def record(self) -> dict[str, Any]:
        """Return the only line."""
        (only,) = self.records
        return only


@pytest.fixture
def capture() -> Iterator[Callable[..., Capture]]:
    """Return a function that configures the log with some of its settings changed."""
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    made: list[Log] = []

    def build(**changes: Any) -> Capture:
        stream = io.BytesIO()
        settings = Settings(service_name="bedside-test", env="test", log=LogSettings(**changes))
        made.append(configure(settings, stream=stream, clock=lambda: MOMENT))
        return Capture(made[-1], stream)

    yield build
    for log in made:
        log.close()
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
