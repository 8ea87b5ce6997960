"""Settings of the audit trail (docs/audit.md)."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

MEBIBYTE = 1024 * 1024
_KEY_CHARACTERS = 32


class AuditSettings(BaseModel):
    """Who did what, when, with which model and which input, and how it ended: a trail of its own (docs/audit.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    enabled: bool = True
    """Write the audit trail."""

    folder: Path | None = None
    """Folder of the trail, one chain of files per process. Unset: ``audit`` in ``runtime.state_dir``."""

    key: SecretStr | None = None
    """Secret of at least 32 characters (white space around it is left out) that keys the hashes of inputs and callers
    and seals the heads of chains, the same for all replicas: as ``BEDSIDE_AUDIT__KEY``, from where the site keeps its
    secrets. Not with ``key_file``."""

    key_file: Path | None = None
    """File with that secret. Unset, and ``key`` too: ``audit.key`` in ``runtime.state_dir``, made at the first
    start."""

    ship: bool | None = None
    """Send the trail straight to Elasticsearch as well, which ``elastic`` describes. Unset: where ``log.sink`` sends
    the log there (docs/shipping.md)."""

    durability: Literal["relaxed", "interval", "strict"] = "interval"
    """When a record is safe: ``relaxed``, written after ``flush_seconds`` and left to the operating system;
    ``interval``, written and synchronised with the disk after ``flush_seconds``, which is what a kill or a power cut
    may lose; ``strict``, before the answer is sent: a call that cannot be recorded gets 503."""

    flush_seconds: float = Field(default=1.0, gt=0)
    """Longest time that a record waits in memory, in seconds, unless ``durability`` is ``strict``."""

    backlog_records: int = Field(default=20_000, gt=0)
    """Records kept in memory while the disk takes none (about 1 KiB each); later ones are lost, counted in
    ``bedside_lost_audit_records`` and told by a record of their own once there is room again."""

    strangers_per_minute: int = Field(default=60, ge=0)
    """Records of callers whom nobody knows (no token, none that verifies) in each minute; the others are counted by a
    record of their own, so that nobody without a token can push out what is recorded of others."""

    segment_bytes: int = Field(default=64 * MEBIBYTE, gt=0)
    """Size in bytes at which a chain goes on in a new file."""

    chain_bytes: int = Field(default=64 * 1024 * MEBIBYTE, gt=0)
    """Size in bytes beyond which a chain's oldest files are removed, which is recorded: a disk that is full stops more
    than the trail. At least two files stay. About 1 KiB a record: 64 GiB are some 60 million."""

    retention_days: int = Field(default=2192, gt=0)
    """Days after which a file is removed, which is recorded; six years by default (45 CFR 164.316 (b)(2)(i))."""

    anchor_seconds: float = Field(default=300.0, gt=0)
    """Seconds between two events ``audit_anchored`` in the log, which hold the head of the chain: kept elsewhere, they
    show what was cut off here."""

    @model_validator(mode="after")
    def _one_key(self) -> "AuditSettings":
        if self.key is not None and self.key_file is not None:
            raise ValueError("key and key_file exclude each other")
        if self.key is not None and len(self.secret) < _KEY_CHARACTERS:
            raise ValueError(f"key: needs at least {_KEY_CHARACTERS} characters")
        return self

    @property
    def secret(self) -> bytes:
        """Return ``key``, as a file would be read; empty where it is not set."""
        return b"" if self.key is None else self.key.get_secret_value().strip().encode()

    def ships(self, log_sink: str) -> bool:
        """Tell whether the trail goes straight to Elasticsearch."""
        return self.enabled and (log_sink != "stdout" if self.ship is None else self.ship)

    def folder_in(self, state_dir: Path) -> Path:
        """Return where the trail is."""
        return self.folder or state_dir / "audit"

    def key_file_in(self, state_dir: Path) -> Path:
        """Return where its key is."""
        return self.key_file or state_dir / "audit.key"
