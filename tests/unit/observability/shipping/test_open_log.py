"""One setting says where lines go."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from tests.unit.observability.shipping.test_bulk import serving

from bedside.errors import ConfigurationError
from bedside.log_settings import ElasticSettings, LogSettings
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics
from bedside.observability.shipping import open_log, open_trail
from bedside.settings import RuntimeSettings, Settings, load_settings


@pytest.fixture(autouse=True)
def _leave_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    for target, name in ((root, "handlers"), (root, "level"), (sys, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(target, name, getattr(target, name))
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr("threading.excepthook", logging.threading.excepthook)  # type: ignore[attr-defined]
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)


def settings(sink: str, folder: Path, url: str) -> Settings:
    """Return settings with that sink."""
    return Settings(
        log=LogSettings(sink=sink),
        runtime=RuntimeSettings(state_dir=folder),
        elastic=ElasticSettings(urls=(url,), namespace="test", flush_seconds=0.01, stop_seconds=20),
    )


@pytest.mark.parametrize("sink", ["stdout", "elasticsearch", "both"])
def test_lines_go_where_the_setting_says(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, sink: str) -> None:
    """The same line in each place, and metrics tell what became of it; nothing of the client's own requests."""
    metrics = Metrics()
    with serving() as server:
        server.answer((201, None))
        log = open_log(settings(sink, tmp_path, server.url), metrics)
        get_logger("x").info(Event.SERVER_READY, models=1)
        log.flush()
        log.close()
        shipped = [line for _, _, body in server.requests for line in body.split(b"\n")[1::2]]
    written = capfdbinary.readouterr().out.splitlines()
    expected = {"stdout": (1, 0), "elasticsearch": (0, 1), "both": (1, 1)}
    assert (len(written), len(shipped)) == expected[sink]
    assert {orjson.loads(line)["message"] for line in [*written, *shipped]} == {"server_ready"}
    told = metrics.expose("")[0].decode()
    assert ("bedside_shipped_log_lines_total 1.0" in told) is (sink != "stdout")
    assert "bedside_lost_log_lines_total 0.0" in told


def test_a_folder_that_cannot_hold_the_spool_is_told(tmp_path: Path) -> None:
    """At the start, by the setting's name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as caught:
        open_log(settings("both", tmp_path / "file", "http://127.0.0.1:9"), Metrics())
    assert caught.value.field == "elastic.spool_dir"


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the command that brings it."""
    monkeypatch.setitem(sys.modules, "bedside.observability.shipping.bulk", None)
    with pytest.raises(ConfigurationError, match=r"bedside\[elastic\]"):
        open_log(settings("both", tmp_path, "http://127.0.0.1:9"), Metrics())


def test_a_trail_that_cannot_be_shipped_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the setting: a folder that is none, an extra that is missing."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as caught:
        open_trail(settings("both", tmp_path / "file", "http://127.0.0.1:9"), Metrics())
    assert caught.value.field == "audit.folder"
    monkeypatch.setitem(sys.modules, "bedside.observability.shipping.bulk", None)
    with pytest.raises(ConfigurationError, match=r"bedside\[elastic\]") as caught:
        open_trail(settings("both", tmp_path, "http://127.0.0.1:9"), Metrics())
    assert caught.value.field == "audit.ship"


def test_what_becomes_of_the_trail_is_counted(tmp_path: Path) -> None:
    """By metrics of its own; a folder without a trail is no trouble."""
    metrics = Metrics()
    open_trail(settings("both", tmp_path, "http://127.0.0.1:9"), metrics).close()
    told = metrics.expose("")[0].decode()
    for name in ("shipped_audit_records_total", "refused_audit_records_total", "missed_audit_records_total"):
        assert f"bedside_{name} 0.0" in told
    assert "bedside_waiting_audit_bytes 0.0" in told


def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """At the start, not at the first request."""
    given = settings("both", tmp_path, "https://es.example:9200")
    elastic = given.elastic.model_copy(update={"ca_certificates": tmp_path / "missing.pem"})
    with pytest.raises(ConfigurationError) as caught:
        open_log(given.model_copy(update={"elastic": elastic}), Metrics())
    assert caught.value.field == "elastic.ca_certificates"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"log": {"sink": "both"}}, "elastic.urls"),
        ({"log": {"sink": "both", "format": "console"}, "elastic": {"urls": ["https://es:9200"]}}, "log.format"),
        ({"elastic": {"urls": ["http://es.example:9200"]}}, "allow_http"),
        ({"elastic": {"urls": ["https://user:secret@es.example"]}}, "without user"),
        ({"elastic": {"urls": ["es.example:9200"]}}, "https://host"),
        ({"elastic": {"namespace": "prod-eu"}}, "elastic.namespace"),
    ],
)
def test_settings_that_could_not_work_are_refused(given: dict[str, Any], named: str) -> None:
    """Before anything is lost, and without repeating a secret."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**given)
    assert named in caught.value.detail
    assert "secret" not in caught.value.detail
    assert load_settings(elastic={"urls": ["http://es:9200"], "allow_http": True}).elastic.urls
