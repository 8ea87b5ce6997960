"""``bedside bundle vet | sign | verify`` and the gate before ``inspect`` and ``test``."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.bundle.vetting.test_trust import write_key
from typer.testing import CliRunner, Result

from bedside.cli import app, main
from bedside.errors import NotAdmitted

REPOSITORY = Path(__file__).resolve().parents[3]


def run(*arguments: object, **environment: str) -> Result:
    """Run the command line."""
    variables = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", **environment}
    return CliRunner(env=variables).invoke(app, ["bundle", *map(str, arguments)])


@pytest.fixture
def plain(bundles: Path, tmp_path: Path) -> Path:
    """Return a bundle that is data only, and may be changed."""
    return Path(shutil.copytree(bundles / "record_classification", tmp_path / "plain"))


def test_an_admitted_bundle_exits_zero(plain: Path) -> None:
    """The digest can be copied from the output."""
    result = run("vet", plain)
    assert result.exit_code == 0, result.output
    assert "admitted" in result.output
    assert "data_only" in result.output
    assert "sha256:" in result.output


def test_a_refused_bundle_exits_one_and_says_what_to_do(bundles: Path) -> None:
    """Rule, place, explanation, remedy."""
    result = run("vet", bundles / "misbehaving")
    assert result.exit_code == 1
    for words in ("refused", "own_code", "scripts/network.py", "it imports ctypes, os, time, torch", "pin its digest"):
        assert words in result.output


def test_the_verdict_for_machines(bundles: Path) -> None:
    """Everything that the table shows, as JSON."""
    result = run("vet", bundles / "misbehaving", "--json")
    verdict = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (verdict["verdict"], verdict["trust"]) == ("refused", "unsigned_code")
    assert set(verdict["findings"][0]) == {"rule", "severity", "where", "explanation", "remedy"}


@pytest.mark.parametrize("way", ["option", "environment", "config"])
def test_the_policy_may_come_from_anywhere(bundles: Path, tmp_path: Path, way: str) -> None:
    """An option, the environment, the settings' file."""
    digest = json.loads(run("vet", bundles / "misbehaving", "--json").stdout)["digest"]
    policy = tmp_path / "policy.toml"
    policy.write_text(f'scripts = "pinned"\nallowed_digests = ["{digest}"]\n')
    config = tmp_path / "settings.toml"
    config.write_text(f'[admission]\npolicy_file = "{policy}"\n' if way == "config" else "")
    options = ["--policy", policy] if way == "option" else []
    environment = {"BEDSIDE_ADMISSION__POLICY_FILE": str(policy)} if way == "environment" else {}
    result = run("vet", bundles / "misbehaving", "--config", config, *options, **environment)
    assert result.exit_code == 0, result.output
    assert "pinned" in result.output
    assert "reviewed" in result.output


def test_names_of_a_bundle_are_no_markup(plain: Path) -> None:
    """Square brackets are Rich's."""
    (plain / "models" / "[bold]x[").write_bytes(b"x")
    assert "models/[bold]x[" in run("vet", plain).output


@pytest.mark.parametrize("command", ["inspect", "test"])
def test_what_is_refused_is_not_even_tried(bundles: Path, tmp_path: Path, command: str) -> None:
    """Both would run the bundle."""
    root = Path(shutil.copytree(bundles / "misbehaving", tmp_path / "coded"))
    (root / "golden").mkdir()
    expected = {"pred": {"probabilities": {"disease": 1}, "tolerance": 0.1}}
    cases = [{"name": "a", "inputs": {"features": {"age": 1}}, "expected": expected}]
    (root / "golden" / "cases.json").write_text(json.dumps(cases))
    result = run(command, root)
    assert isinstance(result.exception, NotAdmitted)


def test_signing_and_verifying(plain: Path, tmp_path: Path) -> None:
    """model.sig lies in the bundle; one byte more, and it does not hold."""
    pytest.importorskip("model_signing")
    private, public = write_key(tmp_path, "key")
    assert run("sign", plain, "--key", private).exit_code == 0
    assert (plain / "model.sig").is_file()
    assert "verified" in run("verify", plain, "--key", public).output
    policy = tmp_path / "policy.toml"
    policy.write_text('public_keys = ["key.pub"]\n')
    assert "signed with key.pub" in run("vet", plain, "--policy", policy).output
    (plain / "LICENSE").write_text("x")
    assert isinstance(run("verify", plain, "--key", public).exception, NotAdmitted)


def test_the_password_of_a_key_is_asked_for(plain: Path, tmp_path: Path) -> None:
    """Not given on the command line, where others see it."""
    pytest.importorskip("model_signing")
    private, public = write_key(tmp_path, "key", "secret")
    command = ["bundle", "sign", str(plain), "--key", str(private), "--ask-password"]
    assert CliRunner().invoke(app, command, input="secret\n").exit_code == 0
    assert run("verify", plain, "--key", public).exit_code == 0


def test_an_error_shows_brackets(
    plain: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``pip install 'bedside[signing]'`` must reach the terminal as it is."""
    hidden: dict[str, Any] = {"model_signing": None, "model_signing.signing": None}
    for name, module in hidden.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "argv", ["bedside", "bundle", "sign", str(plain), "--key", "x.pem"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main()
    assert "bedside[signing]" in capsys.readouterr().err
