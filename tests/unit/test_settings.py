"""Settings: where they come from, and what a mistake says."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bedside.errors import ConfigurationError
from bedside.settings import RuntimeSettings, Settings, load_settings


def test_without_anything_the_defaults_hold() -> None:
    """Loopback, development, the embedded issuer, a process per model."""
    settings = load_settings()
    assert (settings.server.host, settings.env, settings.auth.issuer) == ("127.0.0.1", "development", "")
    assert (settings.runtime.device, settings.runtime.workers) == ("auto", 1)


def test_the_environment_beats_the_file_and_the_command_line_beats_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Option, environment, file, default: in this order, setting by setting."""
    file = tmp_path / "bedside.toml"
    file.write_text("[server]\nport = 1\nhost = 'file'\nkeep_alive_seconds = 7\n")
    monkeypatch.setenv("BEDSIDE_SERVER__PORT", "2")
    monkeypatch.setenv("BEDSIDE_SERVER__HOST", "environment")
    server = load_settings(file, server={"port": 3}).server
    assert (server.port, server.host, server.keep_alive_seconds, server.drain_seconds) == (3, "environment", 7, 30.0)


def test_the_file_may_be_named_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For containers, whose command line is fixed."""
    file = tmp_path / "bedside.toml"
    file.write_text("service_name = 'radiology'")
    monkeypatch.setenv("BEDSIDE_CONFIG", str(file))
    assert load_settings().service_name == "radiology"


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    """Rather than taking the defaults without a word."""
    with pytest.raises(ConfigurationError, match="does not exist") as caught:
        load_settings(tmp_path / "missing.toml")
    assert caught.value.field == "config"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BEDSIDE_SERVER__PORT", "70000"),
        ("BEDSIDE_SERVER__PROT", "8000"),
        ("BEDSIDE_LIMITS__REQUEST_SECONDS", "-17"),
        ("BEDSIDE_AUTH__ALGORITHMS", '["HS256"]'),
        ("BEDSIDE_AUTH__ALGORITHMS", '["none"]'),
        ("BEDSIDE_AUTH__METRICS_ACCESS", "everybody"),
        ("BEDSIDE_RUNTIME__WORKERS", "-17"),
        ("BEDSIDE_ENV", "hospital"),
    ],
)
def test_a_mistake_names_the_setting_and_not_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Unknown names and values out of range; a value might be a secret."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    path = name.removeprefix("BEDSIDE_").lower().replace("__", ".")
    assert path in caught.value.detail
    assert (caught.value.field or "").startswith(path)
    assert value not in caught.value.detail


def test_production_refuses_the_embedded_issuer() -> None:
    """It is for one machine; the message names the variable to set."""
    with pytest.raises(ConfigurationError, match="BEDSIDE_AUTH__ISSUER"):
        load_settings(env="production")
    assert load_settings(env="production", auth={"issuer": "https://id.example.org"}).env == "production"


@pytest.mark.parametrize("name", ["tls_certificate", "tls_key"])
def test_half_of_tls_is_refused(name: str) -> None:
    """A certificate without its key would silently serve HTTP."""
    with pytest.raises(ConfigurationError, match="together"):
        load_settings(server={name: "file.pem"})


def test_settings_do_not_change() -> None:
    """What was checked stays as it was."""
    settings = Settings()
    for target, name in ((settings, "env"), (settings.server, "port")):
        with pytest.raises(ValidationError):
            setattr(target, name, "test")


def test_state_lies_where_the_user_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_STATE_HOME, else ``~/.local/state``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert RuntimeSettings().state_dir == tmp_path / "bedside"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RuntimeSettings().state_dir == tmp_path / ".local" / "state" / "bedside"


@pytest.mark.parametrize("writable", [True, False])
def test_images_are_staged_in_shared_memory_where_there_is_any(
    monkeypatch: pytest.MonkeyPatch, *, writable: bool
) -> None:
    """Else in the usual folder for temporary files."""
    monkeypatch.setattr(os, "access", lambda *_: writable)
    assert (RuntimeSettings().staging_dir == Path("/dev/shm")) is writable  # noqa: S108 - that is the folder


def test_admission_is_enforced_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One word is short for the mode; the rest of the group still comes from the file and the environment."""
    assert load_settings().admission.mode == "enforce"
    file = tmp_path / "bedside.toml"
    file.write_text("[admission]\nfiles = 7\nmode = 'enforce'\n")
    monkeypatch.setenv("BEDSIDE_ADMISSION", "warn")
    monkeypatch.setenv("BEDSIDE_ADMISSION__CONFIG_DEPTH", "9")
    admission = load_settings(file).admission
    assert (admission.mode, admission.files, admission.config_depth) == ("warn", 7, 9)


def test_an_unknown_mode_of_admission_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no "off"."""
    monkeypatch.setenv("BEDSIDE_ADMISSION", "off")
    with pytest.raises(ConfigurationError, match=r"admission\.mode"):
        load_settings()


def test_production_enforces_admission(monkeypatch: pytest.MonkeyPatch) -> None:
    """``warn`` is for a developer's own machine."""
    monkeypatch.setenv("BEDSIDE_ENV", "production")
    monkeypatch.setenv("BEDSIDE_AUTH__ISSUER", "https://issuer.example")
    assert load_settings().env == "production"
    monkeypatch.setenv("BEDSIDE_ADMISSION", "warn")
    with pytest.raises(ConfigurationError, match=r"admission\.mode"):
        load_settings()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"key": "s3cret-and-short"}, "at least 32"),
        ({"key": " " * 40 + "s3cret"}, "at least 32"),
        ({"key": "s3cret" * 6, "key_file": "/k"}, "exclude each other"),
        ({"ship": True}, "elastic.urls"),
    ],
)
def test_an_audit_trail_that_could_not_be_kept_as_asked_is_refused(given: dict[str, Any], told: str) -> None:
    """A key that can be guessed, two keys, nowhere to ship to; the key itself is not repeated."""
    with pytest.raises(ConfigurationError, match=told) as caught:
        load_settings(audit=given)
    assert "s3cret" not in caught.value.detail


def test_an_audit_key_is_the_same_from_a_file_and_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets made from files end in a new line."""
    monkeypatch.setenv("BEDSIDE_AUDIT__KEY", "0123456789abcdef" * 2 + "\n")
    assert load_settings().audit.secret == b"0123456789abcdef" * 2
    assert "0123456789" not in repr(load_settings())


@pytest.mark.parametrize(
    ("given", "ships"),
    [({}, False), ({"ship": True}, True), ({"enabled": False, "ship": True}, False)],
)
def test_the_audit_trail_goes_where_the_log_goes_unless_told(given: dict[str, Any], ships: bool) -> None:  # noqa: FBT001
    """To Elasticsearch with it, or alone."""
    elastic = {"urls": ["https://es.example:9200"]}
    assert load_settings(audit=given, elastic=elastic).audit.ships("stdout") is ships
    assert load_settings(audit={"ship": False}, elastic=elastic).audit.ships("both") is False
    assert load_settings(elastic=elastic).audit.ships("both") is True


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BEDSIDE_LIMIT__ROWS", "limit: no such setting; did you mean 'limits'?"),
        ("BEDSIDE_LIMITS__ROW", "limits.row: no such setting; did you mean 'rows'?"),
        ("bedside_limits__row", "limits.row: no such setting; did you mean 'rows'?"),
        ("BEDSIDE_TRACING__X", "tracing.x: no such setting; there are: "),
    ],
)
def test_a_misspelt_setting_is_told_with_what_was_meant(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """Its group as well: a limit that holds nothing back would be found out too late."""
    monkeypatch.setenv(name, "3")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.detail.startswith(text)


def test_variables_of_kubernetes_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Service called ``bedside`` sets these in each pod beside it, and a command has some of its own."""
    for name in ("BEDSIDE_PORT", "BEDSIDE_SERVICE_HOST", "BEDSIDE_PORT_8000_TCP_ADDR", "BEDSIDE_TOKEN"):
        monkeypatch.setenv(name, "tcp://10.0.0.1:8000")
    assert load_settings().model_dump() == Settings().model_dump()
