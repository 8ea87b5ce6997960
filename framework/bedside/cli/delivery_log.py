"""Where ``bedside ship`` tells of deliveries: a file beside the site, or the product's own way to Elasticsearch."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bedside.observability.metrics import Metrics
from bedside.observability.shipping import open_log
from bedside.settings import load_settings

Events = Annotated[
    Path | None,
    typer.Option(
        help="File that gets a line of JSON for each delivery, to be shipped. [default: delivery.log of the site]",
        show_default=False,
    ),
]


@contextmanager
def delivery_log(events: Path | None, site: Path | None) -> Iterator[None]:
    """Let deliveries be logged within the block.

    Where there is neither a file nor a site, and ``log.sink`` names no Elasticsearch, nobody is told.

    Raises:
        ConfigurationError: the settings cannot be used.
    """
    config = site / "settings.toml" if site is not None else None
    settings = load_settings(config if config is not None and config.is_file() else None)
    path = events or (site / "delivery.log" if site is not None else Path(os.devnull))
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    try:
        # Unbuffered: what a command has told is there when it ends, however it does.
        with path.open("ab", buffering=0) as stream, closing(open_log(settings, Metrics(), stream)):
            yield
    finally:  # a defect of the command itself is shown on the terminal
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
