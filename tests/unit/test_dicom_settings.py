"""What the settings of the DICOM network refuse, before a study could be lost by them."""

from typing import Any

import pytest
from pydantic import ValidationError

from bedside.dicom_settings import DicomDestination, DicomRoute, DicomSettings
from bedside.errors import ConfigurationError
from bedside.settings import load_settings

PACS = {"ae_title": "PACS", "host": "pacs", "port": 104}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"results_to": ["pacs"]}, "results_to names no destination: pacs"),
        ({"routes": [{"model": "m", "results_to": ["x"]}]}, "results_to names no destination: x"),
        ({"port": 104}, "calling_ae_titles is empty"),
        ({"port": 104, "calling_ae_titles": ["MR1"]}, "routes is empty"),
        ({"tls_key": "key.pem"}, "must be set together"),
        ({"tls_client_authorities": "ca.pem"}, "needs dicom.tls_certificate"),
        ({"ae_title": "SEVENTEEN_LETTERS"}, "ae_title"),
        ({"ae_title": "BACK\\SLASH"}, "ae_title"),
        ({"destinations": {"a,b": PACS}}, "destinations"),
        ({"destinations": {"pacs": {**PACS, "url": "https://pacs"}}}, "set either url"),
        ({"destinations": {"pacs": {"host": "pacs"}}}, "set either url"),
        ({"destinations": {"pacs": {"url": "ftp://pacs"}}}, "url must begin with https"),
        ({"routes": [{"model": "m", "description": "("}]}, "no regular expression"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], said: str) -> None:
    """At start-up, by name."""
    with pytest.raises(ValidationError, match=said):
        DicomSettings.model_validate(settings)


def test_what_is_left_out_binds_nothing() -> None:
    """A route needs a model; a destination, one way to it."""
    assert DicomRoute(model="m").results_to is None
    assert DicomDestination(ae_title="PACS", host="pacs", port=104).url == ""


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The file names the archive, the environment holds its password; neither is in an error."""
    file = tmp_path / "bedside.toml"
    file.write_text('[dicom.destinations.pacs]\nurl = "https://pacs.example"\nusername = "bedside"\n')
    monkeypatch.setenv("BEDSIDE_DICOM__DESTINATIONS__PACS__PASSWORD", "hush")
    password = load_settings(file).dicom.destinations["pacs"].password
    assert password is not None
    assert password.get_secret_value() == "hush"
    monkeypatch.setenv("BEDSIDE_DICOM__PORT", "1")
    with pytest.raises(ConfigurationError) as refused:
        load_settings(file)
    assert "hush" not in str(refused.value)
