"""Settings of the DICOM network: what listens, who may send what to which model, where results go (docs/pacs.md)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

AETitle = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]
"""1 to 16 printable ASCII characters without backslash (DICOM PS3.5 §6.2)."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""What a site calls one of its archives or folders; it stands in requests, scopes and logs."""


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return value


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DicomwebAccess(_Group):
    """How an archive is reached by DICOMweb (DICOM PS3.18)."""

    url: str = ""
    """Root of its DICOMweb service, to which ``/studies`` is added."""

    token: SecretStr | None = None
    """Bearer token for ``url``."""

    username: str = ""
    """User for ``url``, with ``password`` (RFC 7617)."""

    password: SecretStr | None = None
    """Password for ``url``."""

    allow_http: bool = False
    """Use an ``http://`` address that is not on loopback: patients' data and the password in the clear."""

    ca_certificates: Path | None = None
    """PEM file with the authorities that signed the archive's certificate; unset: the system's."""

    timeout_seconds: float = Field(default=60.0, gt=0)
    """Longest time without a word from the archive, in seconds."""

    @model_validator(mode="after")
    def _http(self) -> "DicomwebAccess":
        if self.url and not self.url.startswith(("https://", "http://")):
            raise ValueError("url must begin with https://")
        return self


class DicomSource(DicomwebAccess):
    """An archive that studies are pulled from, by QIDO-RS and WADO-RS."""

    url: str = Field(min_length=1)
    """Root of its DICOMweb service; studies are looked for and taken below ``URL/studies`` (PS3.18 §10.4, §10.6)."""

    results_to: tuple[Name, ...] | None = None
    """Destinations of the results of jobs whose study came from here; unset: ``dicom.results_to``."""


class DicomDestination(DicomwebAccess):
    """An archive that gets results: by STOW-RS where ``url`` is set, by C-STORE where ``ae_title`` is."""

    ae_title: AETitle | None = None
    """AE title to be called."""

    host: str = ""
    """Its host name or address."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Its TCP port."""

    tls: bool = False
    """C-STORE over TLS; the archive's certificate is checked."""

    @model_validator(mode="after")
    def _one_way(self) -> "DicomDestination":
        dimse = self.ae_title is not None and bool(self.host) and self.port is not None
        if bool(self.url) == dimse:
            raise ValueError("set either url, or ae_title, host and port")
        return self


class DicomRoute(_Group):
    """Which series of a received study go to which model; what is left out binds nothing."""

    model: str = Field(min_length=1)
    """Name of the model."""

    version: str | None = None
    """Its version; unset: the one that answers where a caller names none."""

    calling_ae_titles: tuple[AETitle, ...] = ()
    """AE titles whose studies this is for; empty: every one that may send."""

    modality: str = ""
    """Modality (0008,0060), for example ``MR``."""

    description: Annotated[str, AfterValidator(_regex)] = ""
    """Regular expression that is searched in Series Description (0008,103E), whatever the case."""

    body_part: tuple[str, ...] = ()
    """Body Part Examined (0018,0015), one of these. A series that states none does not match."""

    results_to: tuple[Name, ...] | None = None
    """Destinations of the results; unset: ``dicom.results_to``."""


class DicomSettings(_Group):
    """DICOM over the network (docs/pacs.md). Needs ``pip install 'bedside[dicom,dicom-network]'`` for DIMSE."""

    destinations: Mapping[Name, DicomDestination] = Field(default_factory=dict)
    """Archives that get results, by a name of your own; in the TOML file ``[dicom.destinations.NAME]``."""

    results_to: tuple[Name, ...] = ()
    """Destinations that get the results of studies, where the route or the source names no others."""

    sources: Mapping[Name, DicomSource] = Field(default_factory=dict)
    """Archives that callers may have studies pulled from, by a name of your own; in the TOML file
    ``[dicom.sources.NAME]``. Callers need the scope ``bedside.retrieve`` or ``bedside.retrieve:NAME``."""

    routes: tuple[DicomRoute, ...] = ()
    """Which received series go to which model: ``[[dicom.routes]]``. Every route that matches makes a job."""

    ae_title: AETitle = "BEDSIDE"
    """Our AE title: what senders must call, and what archives are called by."""

    port: int | None = Field(default=None, ge=0, le=65535)
    """TCP port for C-STORE and C-ECHO; the registered ones are 104 and 11112, with TLS 2762. 0 takes a free one and
    prints it. Unset: this server does not listen."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback by default, as for HTTP."""

    calling_ae_titles: tuple[AETitle, ...] = ()
    """AE titles that may associate; others are rejected (PS3.8 §9.3.4). A title is no proof of who calls: where the
    network is not trusted, have TLS ask for a client's certificate."""

    tls_certificate: Path | None = None
    """PEM file with the certificate chain; the port speaks TLS only when this and ``tls_key`` are set."""

    tls_key: Path | None = None
    """PEM file with the private key."""

    tls_client_authorities: Path | None = None
    """PEM file with the authorities that signed the senders' certificates; set: a sender without one is refused."""

    associations: int = Field(default=10, gt=0)
    """Associations at one time; more are rejected, and senders try again."""

    pdu_bytes: int = Field(default=131072, ge=4096, le=1048576)
    """Largest PDU that a sender may send, in bytes."""

    idle_seconds: float = Field(default=60.0, gt=0)
    """Longest silence of a sender, in seconds; then the association is aborted."""

    stable_seconds: float = Field(default=10.0, gt=0)
    """A study to which nothing has come for so many seconds is complete. Modalities pause between series: too short a
    time cuts a study in two."""

    inbox_dir: Path | None = None
    """Folder for received instances until their study has become a job; each is encrypted with a key of its own.
    Unset: in ``runtime.state_dir``. ``bedside dicom listen`` and the servers share it."""

    @model_validator(mode="after")
    def _known(self) -> "DicomSettings":
        named = [self.results_to, *(route.results_to or () for route in self.routes)]
        named += [source.results_to or () for source in self.sources.values()]
        asked = {name for names in named for name in names}
        unknown = sorted(asked - set(self.destinations))
        if unknown:
            raise ValueError(f"results_to names no destination: {', '.join(unknown)}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("dicom.tls_certificate and dicom.tls_key must be set together")
        if self.tls_client_authorities is not None and self.tls_certificate is None:
            raise ValueError("dicom.tls_client_authorities needs dicom.tls_certificate")
        if self.port is not None and not self.calling_ae_titles:
            raise ValueError("dicom.calling_ae_titles is empty: name the AE titles that may send to dicom.port")
        if self.port is not None and not self.routes:
            raise ValueError("dicom.routes is empty: nothing would become of what is sent to dicom.port")
        return self
