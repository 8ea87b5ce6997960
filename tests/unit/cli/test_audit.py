"""``bedside audit``: verified, exported, and a caller's records found by who knows the key."""

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bedside.audit_settings import AuditSettings
from bedside.cli import app
from bedside.errors import ConfigurationError
from bedside.observability.audit import AuditTrail
from bedside.observability.audit_lines import Record
from bedside.observability.events import AuditAction
from bedside.observability.rendering import Service
from bedside.security.key_file import load_or_create_secret
from bedside.settings import load_settings
from bedside.types import Principal


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    """Return options for a trail of three calls by two callers."""
    file = tmp_path / "bedside.toml"
    file.write_text(f'[runtime]\nstate_dir = "{tmp_path / "state"}"\n[auth]\nissuer = "https://issuer"\n')
    settings = load_settings(file)
    key = load_or_create_secret(settings.audit.key_file_in(settings.runtime.state_dir), "audit.key_file")
    trail = AuditTrail(
        settings.audit.folder_in(settings.runtime.state_dir), key, AuditSettings(), Service("bedside", "test")
    )
    for subject in ("alice", "bob", "alice"):
        caller = Principal(subject, "https://issuer", frozenset(), 4e9)
        facts = {"transport": "rest", "operation": "predict", "outcome": "success", "request_id": "ab"}
        trail.record(Record(AuditAction.MODEL_CALLED, caller, facts))
    trail.close()
    return ["--config", str(file)]


def run(*arguments: str) -> tuple[int, str]:
    """Run ``bedside audit``; return status and output."""
    result = CliRunner().invoke(app, ["audit", *arguments])
    return result.exit_code, result.output


def test_whole_trail_is_verified(config: list[str]) -> None:
    """Nothing to tell but how much was read."""
    assert run("verify", *config) == (0, "5 records read\n")


def test_key_may_come_from_the_environment(config: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file need not be there; another key does not fit the seals."""
    file = tmp_path / "state" / "audit.key"
    monkeypatch.setenv("BEDSIDE_AUDIT__KEY", file.read_text())
    file.unlink()
    assert run("verify", *config) == (0, "5 records read\n")
    monkeypatch.setenv("BEDSIDE_AUDIT__KEY", "0" * 32)
    assert run("verify", *config)[0] == 1


def test_broken_trail_ends_with_one_and_names_the_record(config: list[str], tmp_path: Path) -> None:
    """So that a scheduled job can tell."""
    (path,) = (tmp_path / "state" / "audit").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"success", b"failure", 1))
    status, output = run("verify", *config)
    assert status == 1
    assert "BROKEN" in output
    assert "record 1: altered" in output


def test_chain_that_is_gone_is_found_by_the_log(config: list[str], tmp_path: Path) -> None:
    """``--anchors`` takes lines of the log that were kept elsewhere."""
    folder = tmp_path / "state" / "audit"
    for path in folder.iterdir():
        path.unlink()
    assert run("verify", *config)[0] == 0
    log = tmp_path / "log"
    log.write_text('{"message":"audit_anchored","bedside":{"audit":{"chain":"c","sequence":3,"head":"ab"}}}\n')
    assert run("verify", *config, "--anchors", str(log))[0] == 1


def test_trail_is_exported_as_lines(config: list[str]) -> None:
    """Those of a span of time, or of one caller, who is found by the key alone."""
    status, output = run("export", *config)
    assert (status, len(output.splitlines())) == (0, 5)
    assert run("export", *config, "--to", "2000-01-01")[1] == ""
    mine = [json.loads(line) for line in run("export", *config, "--subject", "alice")[1].splitlines()]
    assert len(mine) == 2
    assert len({record["user"]["hash"] for record in mine}) == 1
    assert run("export", *config, "--subject", "alice", "--issuer", "https://other")[1] == ""


def test_trail_is_exported_as_a_table(config: list[str]) -> None:
    """One column a field; what is not there is empty."""
    table = list(csv.DictReader(io.StringIO(run("export", *config, "--format", "csv")[1])))
    assert [row["message"] for row in table] == ["chain_opened", *["model_called"] * 3, "chain_closed"]
    assert table[1]["inference.operation"] == "predict"
    assert table[1]["bedside.audit.sequence"] == "1"
    assert table[0]["inference.operation"] == ""


def test_what_is_missing_is_named(config: list[str], tmp_path: Path) -> None:
    """No folder; no key, which who looks for a caller needs, and who is to vouch for the trail."""
    (tmp_path / "state" / "audit.key").unlink()
    told = "5 records read\nseals not checked: no key\n"
    assert run("verify", *config) == (1, told)
    assert run("verify", "--no-key", *config) == (0, told)
    for arguments in (("export", "--subject", "alice"), ("verify", str(tmp_path / "nothing"))):
        result = CliRunner().invoke(app, ["audit", *arguments, *config])
        assert isinstance(result.exception, ConfigurationError)


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_a_moment_with_a_typing_error_is_told(config: list[str], option: str) -> None:
    """Compared as text it would find all records, or none."""
    result = CliRunner().invoke(app, ["audit", "export", *config, option, "2026-13-01"])
    assert isinstance(result.exception, ConfigurationError)
    assert run("export", *config, option, "2020-01-01T10:00")[0] == 0
