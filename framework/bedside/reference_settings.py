"""Settings of inputs that a request names instead of sending (docs/api.md#references)."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from bedside.dicom_settings import Name

MEBIBYTE = 1024 * 1024


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReferenceBucket(_Group):
    """A bucket, or a part of one, that callers may have objects read from. Needs ``pip install 'bedside[s3]'``."""

    url: str = Field(pattern=r"^s3://[A-Za-z0-9][A-Za-z0-9.-]*(/.*)?$")
    """``s3://BUCKET`` or ``s3://BUCKET/PREFIX``; nothing beside ``PREFIX/`` is read."""

    endpoint: str = ""
    """Address of a store that speaks S3; empty: ``AWS_ENDPOINT_URL_S3``, else AWS."""

    profile: str = ""
    """Profile of AWS' configuration files whose credentials are used; empty: those that AWS' library finds."""

    allow_http: bool = False
    """Use an ``http://`` address that is not on loopback: patients' data in the clear."""

    timeout_seconds: float = Field(default=30.0, gt=0)
    """Longest time without a word from the store, in seconds."""


class ReferenceSettings(_Group):
    """Inputs that a request names instead of sending (docs/api.md#references): studies, files, objects."""

    folders: Mapping[Name, Path] = Field(default_factory=dict)
    """Folders that callers may have files read from, by a name of your own. Links are refused. Callers need the scope
    ``bedside.retrieve`` or ``bedside.retrieve:NAME``."""

    buckets: Mapping[Name, ReferenceBucket] = Field(default_factory=dict)
    """Buckets that callers may have objects read from, by a name of your own; in the TOML file
    ``[references.buckets.NAME]``. The scope is as for folders."""

    concurrency: int = Field(default=8, gt=0)
    """Readings of one source at one time, for requests and jobs together; the next gets 503 with Retry-After. Each
    takes a thread and a connection, of a bucket eight. A source that hangs keeps its own places alone."""

    held_bytes: int = Field(default=2048 * MEBIBYTE, gt=0)
    """Bytes that such inputs may take in memory together, from when they are read until their calls are answered; what
    finds no room gets 503 with Retry-After. While a study of several objects is put together, it takes twice that."""

    uploads: Name | None = None
    """Bucket of ``buckets`` that callers may put inputs into which are too large to be sent, by addresses that
    ``POST /v1/uploads`` signs (docs/api.md#large-inputs). The scope is that of its references. Have the store delete
    what lies there after a day."""

    upload_seconds: int = Field(default=600, gt=0, le=900)
    """Seconds that such an address is good for; 900 is what the buckets of ``infra/terraform`` let through."""

    uploads_open: int = Field(default=100, gt=0)
    """Such addresses of one caller that are good at one time; the next gets 429 with Retry-After. Each replica counts
    its own. So many times ``references.input_bytes`` a caller may put there every ``references.upload_seconds``."""

    input_bytes: int | None = Field(default=None, gt=0)
    """Largest input of a request that is named instead of sent, in bytes; unset: ``limits.body_bytes``."""

    seconds: float = Field(default=600.0, gt=0)
    """Seconds that retrieving the inputs of one request or job may take, attempts included."""

    attempts: int = Field(default=3, ge=1)
    """Times that a source is asked before the caller is told 503. A job is tried again until its deadline."""

    retry_seconds: float = Field(default=0.5, gt=0)
    """Wait before the second attempt, in seconds; it doubles each time."""
