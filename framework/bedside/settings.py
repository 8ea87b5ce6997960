"""Every setting, with unit, default and reason. Nobody else reads the environment (a test checks that).

A setting comes from, in this order: a command-line option, an environment variable
(``BEDSIDE_<GROUP>__<NAME>``, two underscores between group and name), the TOML file given with ``--config`` (or
``BEDSIDE_CONFIG``), the default. docs/settings.md is generated from this file.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import PydanticBaseSettingsSource as _Source

from bedside.audit_settings import AuditSettings
from bedside.dicom_settings import DicomSettings
from bedside.errors import ConfigurationError
from bedside.errors.validation import problems
from bedside.log_settings import ElasticSettings, LogSettings
from bedside.monitoring_settings import MonitoringSettings
from bedside.otlp_settings import MetricsSettings, TracingSettings
from bedside.reference_settings import ReferenceSettings

MEBIBYTE = 1024 * 1024

Acceleration = Literal["channels_last", "freeze", "onnxruntime", "openvino", "bf16", "openvino_bf16"]
ACCELERATIONS: tuple[Acceleration, ...] = get_args(Acceleration)
"""Ways of running a network other than PyTorch's own (docs/performance.md)."""


def _default_state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base else Path.home() / ".local" / "state") / "bedside"


def _default_cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "bedside"


def _default_staging_dir() -> Path:
    shared_memory = Path("/dev/shm")  # noqa: S108 - a private sub-folder (0700) is made in it
    return shared_memory if os.access(shared_memory, os.W_OK) else Path(tempfile.gettempdir())


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ServerSettings(_Group):
    """Where the HTTP server listens and how it ends."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback by default: opening a model to a network is a decision, not an accident."""

    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port; 0 takes a free one and prints it."""

    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """TCP port of the Open Inference Protocol over gRPC, on the same address and with the same certificate; 0 takes a
    free one and prints it. Unset: no gRPC."""

    grpc_streams: int = Field(default=100, gt=0)
    """Calls at one time on one gRPC connection; its further ones wait; all count for ``limits.connections``."""

    tls_certificate: Path | None = None
    """PEM file with the certificate chain; HTTPS is on when this and ``tls_key`` are set."""

    tls_key: Path | None = None
    """PEM file with the private key."""

    drain_seconds: float = Field(default=30.0, gt=0)
    """On SIGTERM, seconds that accepted work may take to finish. Keep it below the pod's grace period."""

    readiness_delay_seconds: float = Field(default=0.0, ge=0)
    """On SIGTERM, seconds between failing readiness and closing the socket; set about 5 behind a load balancer,
    which goes on sending until it has seen the failing probe."""

    ready_when: Literal["all", "any"] = "all"
    """``/readyz`` answers 200, once start-up is over, when ``all`` models answer, or when ``any`` does. With ``any``,
    one model that is refused or fails does not take the others out of a balancer's rotation."""

    keep_alive_seconds: int = Field(default=75, gt=0)
    """Seconds that an idle HTTP/1.1 connection stays open; longer than the usual balancer's 60, so that the balancer
    closes first and no request meets a closing socket. A gRPC connection is closed after as long without a call, and
    asked whether it lives (HTTP/2 PING) after as long without a word during one."""


class LimitSettings(_Group):
    """Bounds on what one request may cost."""

    body_bytes: int = Field(default=512 * MEBIBYTE, gt=0)
    """Largest request body, in bytes. A whole-body CT as NIfTI.gz has about 300 MiB."""

    decompressed_bytes: int = Field(default=2048 * MEBIBYTE, gt=0)
    """Largest decoded input, in bytes: the bound on gzip and PNG bombs."""

    picture_pixels: int = Field(default=100_000_000, gt=0)
    """Largest number of pixels of a picture (PNG, JPEG, TIFF). A chest X-ray has about 20 million."""

    slide_pixels: int = Field(default=20_000_000_000, gt=0)
    """Largest number of pixels of all levels of a whole slide. One at 40x has about 10 billion; it is never decoded
    whole, but each of its tiles keeps ``limits.picture_pixels``."""

    dicom_instances: int = Field(default=5000, gt=0)
    """Most DICOM files in one input. A whole-body CT has about 2,000 slices."""

    body_seconds: float = Field(default=60.0, gt=0)
    """Seconds in which the body must have arrived (slow-loris)."""

    reader_seconds: float = Field(default=60.0, gt=0)
    """Seconds in which a caller must take 64 KiB of an answer that waits for it, or its rest; who takes less is cut off
    (slow readers). HTTP/1.1."""

    request_seconds: float = Field(default=300.0, gt=0)
    """Seconds that a request may take in all, waiting included; then 504 and the work is stopped."""

    queue_length: int = Field(default=32, ge=0)
    """Requests that may wait per model; the next one gets 503 with Retry-After."""

    rows: int = Field(default=1024, gt=0)
    """Rows that one Open Inference Protocol request may hold."""

    json_bytes: int = Field(default=4 * MEBIBYTE, gt=0)
    """Largest JSON body, in bytes. JSON numbers cost ten times their size to parse, and nothing else is answered
    meanwhile; large arrays go as files or by the binary tensor extension."""

    json_depth: int = Field(default=32, gt=0)
    """Deepest nesting of a JSON input, in levels of lists and objects. Points, clicks and prompts have three; a
    parser's stack ends at about a thousand."""

    files: int = Field(default=256, gt=0)
    """Files under one name where a model takes any number of them, and encoded images in one tensor."""

    caller_per_minute: int = Field(default=0, ge=0)
    """Requests of one caller in a minute, by any route and protocol; the next gets 429 with Retry-After before anything
    of it is read or run, and is only counted in the audit trail. Each replica counts its own. 0: no bound."""

    connections: int = Field(default=1024, gt=0)
    """Connections and running requests at one time, over all models; more get 503."""


class AuthSettings(_Group):
    """Who may call. Authentication cannot be switched off."""

    issuer: str = ""
    """URL of the OIDC issuer, exactly as in its tokens' ``iss``. Empty: the embedded issuer, for one machine only;
    refused when ``env`` is ``production``."""

    audience: str = "bedside"
    """Value that the tokens' ``aud`` must hold."""

    algorithms: tuple[Literal["RS256", "ES256"], ...] = ("RS256", "ES256")
    """Signature algorithms accepted. Never ``none`` or HS*: with those, the public key would be the secret."""

    leeway_seconds: int = Field(default=30, ge=0, le=300)
    """Clock difference tolerated for ``exp`` and ``nbf``, in seconds."""

    jwks_max_age_seconds: float = Field(default=300.0, gt=0)
    """Age at which the issuer's keys are fetched again."""

    jwks_stale_seconds: float = Field(default=86400.0, ge=0)
    """Age up to which known keys are still used while the issuer does not answer: a hospital's identity provider
    that restarts must not stop the models. After that, 503."""

    jwks_refresh_interval_seconds: float = Field(default=10.0, gt=0)
    """Least time between two fetches, so that tokens with made-up key ids cannot make us flood the issuer."""

    fetch_timeout_seconds: float = Field(default=5.0, gt=0)
    """Time-out of one request to the issuer."""

    ca_certificates: Path | None = None
    """PEM file with the authorities that signed the issuer's certificate; unset: the system's."""

    allow_http_issuer: bool = False
    """Accept an ``http://`` issuer that is not on loopback. Keys fetched without TLS can be replaced on the way."""

    token_cache_size: int = Field(default=4096, ge=0)
    """Verified tokens remembered; 0 verifies the signature on every request."""

    token_cache_seconds: float = Field(default=60.0, ge=0)
    """Seconds that a verified token is remembered, never beyond its ``exp``: the longest that a revoked key
    still works."""

    token_bytes: int = Field(default=16384, gt=0)
    """Longest token looked at, in bytes."""

    metrics_access: Literal["open", "token"] = "open"
    """``/metrics``: ``open`` for a scraper inside the cluster (numbers only, no identifiers), or ``token`` with the
    scope ``bedside.admin``."""

    docs_access: Literal["open", "token"] = "token"
    """``/``, ``/docs`` and ``/openapi.json``: ``token`` or, on a developer's machine, ``open``."""


class RuntimeSettings(_Group):
    """How bundles run."""

    device: str = "auto"
    """``auto`` (CUDA when there is one), ``cpu``, ``cuda`` or ``cuda:N``."""

    threads: int = Field(default=1, gt=0)
    """Intra-op threads of each model process. One by default: two threads beside other load make the same network
    three times slower, because OpenMP threads spin while they wait. Scale by ``workers``."""

    workers: int = Field(default=1, gt=0)
    """Processes per model."""

    inline: Literal["auto", "off"] = "auto"
    """``auto``: a bundle with ``execution = "inline"`` runs on the server's event loop where it is pure configuration,
    takes records and keeps to ``runtime.inline_seconds``. ``off``: every bundle runs in a process of its own."""

    inline_seconds: float = Field(default=0.005, gt=0, le=1)
    """Seconds that one record may take on the event loop, where nothing else is answered meanwhile, probes included: a
    median, measured when a bundle is loaded. One that takes longer runs in a process of its own."""

    batch_size: int = Field(default=8, ge=1, le=64)
    """Most requests for pictures or records that may share a run; 1 lets each run alone. Whether they share, and how
    many, is tried when a model is loaded: the answers must be the same, and come sooner (docs/performance.md)."""

    batch_budget_ms: float = Field(default=50.0, gt=0)
    """Milliseconds that sharing a run may add to the time of one request. Batches grow while they keep to it. Nobody
    waits for company: what has come while a process was busy goes together."""

    acceleration: Literal["auto", "off"] | Acceleration = "auto"
    """How networks run: ``auto``, as ``bedside bundle tune`` found best for a bundle on such a machine, else as PyTorch
    runs them; ``off``, always as PyTorch runs them; or one of the other ways, for each that it gives the same answer
    of (docs/performance.md)."""

    load_seconds: float = Field(default=300.0, gt=0)
    """Seconds that building a bundle and its first forward pass may take."""

    restart_backoff_seconds: float = Field(default=1.0, gt=0)
    """Pause before a crashed model process is started again; doubles with each crash in a row."""

    restart_backoff_max_seconds: float = Field(default=60.0, gt=0)
    """Longest such pause. Each is shortened by up to a half at random, so that processes that fell together do not
    rise together."""

    restart_limit: int = Field(default=8, gt=0)
    """Starts that may fail in a row once a loaded model has crashed; then it is UNAVAILABLE, with the reason in the
    repository's index, until it is loaded again."""

    answer_bytes: int = Field(default=2048 * MEBIBYTE, gt=0)
    """Largest answer of a model's process, in bytes. Its code came with a bundle: it may announce anything."""

    sandbox: Literal["auto", "require", "off"] = "auto"
    """What confines a model's process: ``auto``, every layer that this platform has; ``require``, no model loads where
    a layer that matters is missing; ``off``, nothing, for debugging on a developer's machine (docs/isolation.md)."""

    memory_limit_mib: int = Field(default=0, ge=0)
    """Memory in MiB that all models of the server may take together, weights and running requests. 0: four fifths of
    the container's limit, or of what the machine has free at start. What can never fit is refused with 413 before it
    runs, what does not fit now waits; a process that takes more all the same gets MemoryError (not on CUDA)."""

    memory_safety_factor: float = Field(default=1.5, ge=1)
    """A request is forecast to need so many times what was measured when the model was loaded."""

    forecast_seconds: float = Field(default=5.0, ge=0)
    """Seconds that measuring may add to loading a model that takes images: runs with inputs of one, two, four … times
    the size, up to 64 or as many as the time allows; where not even one has time, the run that loading makes anyhow
    is what is known. 0 measures nothing: nothing is forecast then."""

    readable_paths: tuple[Path, ...] = ()
    """Further folders that model processes may read: packages installed outside of Python's own folders. The bundle,
    Python, what is installed with it, ``/usr`` and ``/opt`` can be read anyhow; keep no secrets there."""

    stop_grace_seconds: float = Field(default=2.0, ge=0)
    """Seconds that a run may still take once its caller has gone or its time is over, before its process is ended.
    Ending it frees the device at once but costs a reload, so short work is let finish."""

    staging_dir: Path = Field(default_factory=_default_staging_dir)
    """Folder for inputs on their way into a bundle's own reader, one private sub-folder per request, removed with it.
    Shared memory where there is any: patients' images do not touch a disk."""

    state_dir: Path = Field(default_factory=_default_state_dir)
    """Folder for what outlives a run: the embedded issuer's key."""


class AdmissionSettings(_Group):
    """Which bundles may be loaded; decided before anything of theirs is imported or unpickled (docs/admission.md)."""

    mode: Literal["enforce", "warn"] = "enforce"
    """``enforce``: what is not admitted is not loaded. ``warn``: it is loaded all the same and only logged, for a
    developer's own machine; refused when ``env`` is ``production``. ``BEDSIDE_ADMISSION`` alone sets this one."""

    policy_file: Path | None = None
    """TOML file with what this site admits beyond the built-in lists."""

    config_bytes: int = Field(default=MEBIBYTE, gt=0)
    """Largest configuration file, in bytes. The largest in MONAI's Model Zoo have tens of kilobytes."""

    config_depth: int = Field(default=32, gt=0)
    """Deepest nesting of a configuration. Real ones stay below a dozen; a parser's stack ends at about a thousand."""

    config_nodes: int = Field(default=100_000, gt=0)
    """Most values in a YAML file with its aliases written out: a few lines of aliases can mean millions."""

    files: int = Field(default=10_000, gt=0)
    """Most files and folders in a bundle or an archive."""

    total_bytes: int = Field(default=32 * 1024 * MEBIBYTE, gt=0)
    """Largest bundle, in bytes, weights and all; for an archive, after unpacking."""

    archive_ratio: int = Field(default=200, gt=1)
    """Most bytes that one byte of an archive may unpack to. Weights hardly shrink at all."""


class RegistrySettings(_Group):
    """Where bundles come from and which version answers (docs/repository.md)."""

    pins: Mapping[str, str] = Field(default_factory=dict)
    """By model, the version that answers where a caller names none: ``{"spleen": "1.2.0"}``. Without a pin it is the
    highest that is ready, candidates (``2.0.0-rc.1``) only where there is no release."""

    poll_seconds: float = Field(default=0.0, ge=0)
    """Seconds between two looks at the sources: what is new or changed is loaded, what has gone is unloaded. 0: only on
    SIGHUP and by the repository API."""

    strict: bool = False
    """Refuse to start when any bundle cannot be served, instead of serving the others."""

    golden: Literal["require", "warn", "off"] = "require"
    """Golden cases at each load: ``require`` keeps a version whose answers differ from serving, ``warn`` only tells,
    ``off`` does not run them. Cases whose input comes in a package that is not installed are left out."""

    golden_seconds: float = Field(default=120.0, gt=0)
    """Seconds that all golden cases of one bundle may take; a case that does not finish has failed."""

    cache_dir: Path = Field(default_factory=_default_cache_dir)
    """Folder for bundles fetched from archives, buckets and registries, shared by all processes of this user."""

    cache_bytes: int = Field(default=64 * 1024 * MEBIBYTE, gt=0)
    """Size to which the cache is cut back after a fetch, in bytes: the bundles used longest ago go first, those in use
    never."""

    fetch_timeout_seconds: float = Field(default=30.0, gt=0)
    """Seconds without a byte after which a bucket or registry counts as not answering."""

    allow_http: bool = False
    """Fetch bundles over ``http://`` from hosts that are not on loopback. They could be replaced on the way."""


class JobSettings(_Group):
    """Work that outlives a connection: ``POST /v1/models/{m}/jobs``."""

    database: SecretStr | None = None
    """SQLAlchemy URL of the jobs' database. Unset: an SQLite file in ``runtime.state_dir``, for one server. Several
    replicas share ``postgresql+psycopg://…`` (``pip install 'bedside[postgres]'``) and one ``spool_dir``."""

    spool_dir: Path | None = None
    """Folder for inputs and results of jobs, each encrypted with a key of its own. Unset: in ``runtime.state_dir``.
    Leave its ``keys`` folder out of backups: what has been deleted could be read again with them."""

    concurrency: int = Field(default=1, ge=0)
    """Jobs that this server runs at one time, beside the requests; 0 only takes jobs and leaves them to others."""

    most_unfinished: int = Field(default=1000, gt=0)
    """Jobs of one caller that may wait or run; the next one gets 429."""

    spool_bytes: int = Field(default=64 * 1024 * MEBIBYTE, gt=0)
    """Size of all inputs and results that are kept, in bytes, from which on no further job is taken (503). Jobs that
    were taken still get their results. The inbox of received DICOM studies may take as much again."""

    event_streams: int = Field(default=20, gt=0)
    """Event streams (``GET /v1/jobs/{id}/events``) of one caller at one time; the next one gets 429. Those of all
    callers may be half of ``limits.connections``; the next one gets 503. A stream ends with its caller's token."""

    attempts: int = Field(default=3, ge=1)
    """Times that a job is tried before it is dead. A refusal by the model is never tried again."""

    retry_seconds: float = Field(default=5.0, gt=0)
    """Wait before the second attempt, in seconds; it doubles each time, with up to half of it added by chance."""

    retry_most_seconds: float = Field(default=300.0, gt=0)
    """Longest wait between two attempts, in seconds."""

    lease_seconds: float = Field(default=30.0, ge=1)
    """A job whose server has not been heard of for so long is given to another."""

    run_seconds: float = Field(default=3600.0, gt=0)
    """Seconds that one attempt may take, of a job or of a delivery."""

    deadline_seconds: float = Field(default=86400.0, gt=0)
    """Seconds after which a job that still waits is dead."""

    retention_seconds: float = Field(default=7 * 86400.0, gt=0)
    """Seconds for which a finished job and its result are kept. Inputs are shredded as soon as a job has succeeded or
    been cancelled; those of dead jobs are kept as long, so that they can be driven again."""

    delivery_seconds: float = Field(default=3 * 86400.0, gt=0)
    """Seconds of waits between attempts, in all, after which an undelivered result waits for a person; chance adds up
    to half to each."""

    poll_seconds: float = Field(default=1.0, gt=0)
    """Seconds between two looks for work that came by another replica."""


class Settings(BaseSettings):
    """All settings of one server."""

    model_config = SettingsConfigDict(
        env_prefix="BEDSIDE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        nested_model_default_partial_update=True,
    )

    env: Literal["development", "test", "production"] = "development"
    """Where this runs. ``production`` refuses everything that is only meant for one machine."""

    service_name: str = "bedside"
    """``service.name`` in logs and metrics."""

    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    auth: AuthSettings = AuthSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    admission: AdmissionSettings = AdmissionSettings()
    registry: RegistrySettings = RegistrySettings()
    jobs: JobSettings = JobSettings()
    dicom: DicomSettings = DicomSettings()
    references: ReferenceSettings = ReferenceSettings()
    elastic: ElasticSettings = ElasticSettings()
    tracing: TracingSettings = TracingSettings()
    metrics: MetricsSettings = MetricsSettings()
    monitoring: MonitoringSettings = MonitoringSettings()

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if (self.server.tls_certificate is None) != (self.server.tls_key is None):
            raise ValueError("server.tls_certificate and server.tls_key must be set together")
        if self.env == "production" and not self.auth.issuer:
            raise ValueError(
                "auth.issuer is empty: the embedded issuer is for one machine and refuses to start with "
                "BEDSIDE_ENV=production. Set BEDSIDE_AUTH__ISSUER to your identity provider's URL."
            )
        if self.log.sink != "stdout" and not self.elastic.urls:
            raise ValueError("elastic.urls is empty: log.sink asks for Elasticsearch")
        if self.audit.ship and not self.elastic.urls:
            raise ValueError("elastic.urls is empty: audit.ship asks for Elasticsearch")
        if self.log.sink != "stdout" and self.log.format != "json":
            raise ValueError("log.format must be json: log.sink asks for Elasticsearch, which takes nothing else")
        if self.env == "production" and self.admission.mode == "warn":
            raise ValueError("admission.mode is 'warn': production loads only what is admitted (docs/admission.md)")
        return self


class _Environment(EnvSettingsSource):
    """The environment; ``BEDSIDE_ADMISSION=warn`` is short for ``BEDSIDE_ADMISSION__MODE=warn``.

    A group that is not there is unknown, as a setting is. Kubernetes' own (``BEDSIDE_PORT``) have no ``__``.
    """

    def __call__(self) -> dict[str, Any]:
        groups = (name.lower()[8:].partition("__") for name in os.environ if name.upper().startswith("BEDSIDE_"))
        others: dict[str, Any] = {
            group: {} for group, nested, _ in groups if nested and group not in Settings.model_fields
        }
        return others | super().__call__()

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        if field_name == "admission" and isinstance(value, str) and value.isalpha():
            return {"mode": value}
        return super().decode_complex_value(field_name, field, value)


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings; ``overrides`` are nested dictionaries from the command line.

    Raises:
        ConfigurationError: a setting is unknown or out of range; it is named, its value is not repeated.
    """
    file = config or (Path(os.environ["BEDSIDE_CONFIG"]) if os.environ.get("BEDSIDE_CONFIG") else None)
    if file is not None and not file.is_file():
        raise ConfigurationError(f"configuration file {file} does not exist", field="config")

    class _WithFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], init_settings: _Source, *_: _Source, **__: _Source
        ) -> tuple[_Source, ...]:
            sources = (init_settings, _Environment(settings_cls))
            return (*sources, TomlConfigSettingsSource(settings_cls, file)) if file else sources

    try:
        return _WithFile(**overrides)
    except ValidationError as error:
        found = [(place or "settings", what) for place, what in problems(error, Settings)]
        raise ConfigurationError("; ".join(map(": ".join, found)), field=found[0][0]) from None
