"""Settings of the log and of shipping it straight to Elasticsearch (docs/shipping.md)."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from bedside.loopback import is_loopback

MEBIBYTE = 1024 * 1024

Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]{1,100}$")]
"""Last part of a data stream's name; a dash would separate parts."""


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.password or parts.query:
        raise ValueError("expected https://host:port, without user, password or query")
    return url


Address = Annotated[str, AfterValidator(_address)]


def is_in_the_clear(url: str) -> bool:
    """Tell whether what goes to ``url`` can be read on the way: ``http://``, and not on loopback."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname)


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class LogSettings(_Group):
    """Logs: one JSON object a line (ECS)."""

    sink: Literal["stdout", "elasticsearch", "both"] = "stdout"
    """Where lines go: to standard output, for a shipper such as Filebeat; straight to Elasticsearch, which ``elastic``
    describes; or to both (docs/shipping.md)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level written."""

    format: Literal["json", "console"] = "json"
    """``json`` for machines, ``console`` for people."""

    pseudonym_key: SecretStr | None = Field(default=None, min_length=16)
    """Secret that keys the hash of callers in the log (``user.hash``): with the same key, one caller has one pseudonym
    on all replicas and after restarts. Unset: a new one at each start, so that pseudonyms end with the process."""

    buffer_lines: int = Field(default=256, ge=0)
    """Lines kept before they are written together; 0 writes each. Warnings and errors do not wait."""

    buffer_seconds: float = Field(default=0.05, gt=0)
    """Longest time that a line waits in the buffer: what a crash may lose."""

    backlog_lines: int = Field(default=20_000, gt=0)
    """Lines kept while nobody reads standard output (about a kilobyte each); then the oldest are lost, counted in
    ``bedside_lost_log_lines`` and told by ``log_lines_lost`` once there is a reader again. Requests never wait."""


class ElasticSettings(_Group):
    """Elasticsearch as the log's reader, where ``log.sink`` names it (``pip install 'bedside[elastic]'``)."""

    urls: tuple[Address, ...] = ()
    """Addresses of its nodes, ``["https://es1:9200", …]``; the next one is asked when one does not answer."""

    api_key_file: Path | None = None
    """File with an API key, base64 of ``id:key`` as Elasticsearch gives it out; read again for each bulk request, so
    that a key can be changed without a restart. `bedside observability install --write-key-file` makes one that can
    append and nothing else."""

    ca_certificates: Path | None = None
    """PEM file with the authorities that signed its certificate; unset: the system's."""

    allow_http: bool = False
    """Send to ``http://`` addresses that are not on loopback: the key goes in the clear."""

    namespace: Namespace = "default"
    """Lines go to the data stream ``logs-bedside.inference-NAMESPACE``; one for each stage or site."""

    spool_dir: Path | None = None
    """Folder where lines wait until Elasticsearch has them, on a local disk (SQLite's write-ahead log does not work on
    network file systems). Unset: in ``runtime.state_dir``. Give each replica one of its own, on a volume that
    outlives it."""

    spool_bytes: int = Field(default=1024 * MEBIBYTE, ge=MEBIBYTE)
    """Largest size of what waits, in bytes; what comes beyond it is lost and counted. A line has about 1 KiB."""

    spool_fsync: bool = False
    """Wait for the disk with each write. Off, what was spooled survives ``kill -9``, but a power failure may cost the
    last seconds."""

    refused_bytes: int = Field(default=64 * MEBIBYTE, ge=0)
    """Largest size in bytes of ``refused.ndjson`` in the spool's folder: lines that Elasticsearch would never take."""

    batch_lines: int = Field(default=1000, gt=0)
    """Most lines in one bulk request."""

    batch_bytes: int = Field(default=5 * MEBIBYTE, gt=0)
    """Most bytes in one bulk request; Elasticsearch advises 5 to 15 MB and refuses 100."""

    flush_seconds: float = Field(default=1.0, gt=0)
    """Least time between two bulk requests that are not full."""

    timeout_seconds: float = Field(default=30.0, gt=0)
    """Time-out of one bulk request, in seconds."""

    retry_seconds: float = Field(default=1.0, gt=0)
    """Wait before the second attempt, in seconds; it doubles each time, and each is shortened by up to a half at
    random."""

    retry_most_seconds: float = Field(default=60.0, gt=0)
    """Longest wait between two attempts, in seconds."""

    stop_seconds: float = Field(default=5.0, ge=0)
    """On shutdown, seconds for what still waits; the rest is sent after the next start."""

    @model_validator(mode="after")
    def _not_in_the_clear(self) -> "ElasticSettings":
        if not self.allow_http and any(map(is_in_the_clear, self.urls)):
            raise ValueError("urls: an http:// address that is not on loopback needs allow_http")
        return self
