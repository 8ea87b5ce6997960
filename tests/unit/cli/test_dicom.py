"""``bedside dicom``: what waits in the inbox, and a listener that needs a port and senders."""

from pathlib import Path

import pytest
from tests.unit.transports.dicom_world import maker
from typer.testing import CliRunner

from bedside.bootstrap import make_inbox
from bedside.cli import app
from bedside.codecs.dicom import received
from bedside.errors import ConfigurationError
from bedside.settings import load_settings

pytest.importorskip("pynetdicom", reason="pip install 'bedside[dicom-network]'")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a settings file whose inbox holds a study."""
    file = tmp_path / "bedside.toml"
    file.write_text(f'[dicom]\ninbox_dir = "{tmp_path / "inbox"}"\n')
    inbox = make_inbox(load_settings(file))
    for data in maker.files(maker.series()):
        inbox.keep("SCANNER", received(data))
    return file


def test_the_inbox_is_listed_without_names(config: Path) -> None:
    """An id of our own, and how many instances there are."""
    output = CliRunner().invoke(app, ["dicom", "inbox", "--config", str(config)]).output
    study, count = output.split()
    assert (len(study), count) == (32, "4")
    assert not [secret for secret in (*maker.SECRETS, maker.ROOT, "SCANNER") if secret in output]


def test_a_study_is_dropped(config: Path) -> None:
    """By its id; another id is refused."""
    runner, options = CliRunner(), ["--config", str(config)]
    study = runner.invoke(app, ["dicom", "inbox", *options]).output.split()[0]
    assert runner.invoke(app, ["dicom", "inbox", "--drop", "0" * 32, *options]).exit_code == 2
    assert runner.invoke(app, ["dicom", "inbox", "--drop", study, *options]).exit_code == 0
    assert runner.invoke(app, ["dicom", "inbox", *options]).output == ""


@pytest.mark.parametrize(("options", "field"), [([], "dicom.port"), (["--port", "0"], "calling_ae_titles")])
def test_a_listener_needs_a_port_and_senders(config: Path, options: list[str], field: str) -> None:
    """It says which setting is missing."""
    result = CliRunner().invoke(app, ["dicom", "listen", "--config", str(config), *options])
    assert isinstance(result.exception, ConfigurationError)
    assert field in f"{result.exception.field} {result.exception.detail}"
