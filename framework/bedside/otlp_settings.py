"""Settings of traces and metrics for an OpenTelemetry collector, sent by OTLP/HTTP (docs/shipping.md#opentelemetry)."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bedside.log_settings import Address, is_in_the_clear


class CollectorSettings(BaseModel):
    """A collector, and how to speak with it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    endpoint: Address | None = None
    """URL, with its path. Unset: nothing is sent."""

    headers_file: Path | None = None
    """File with header fields to send along, one ``Name: value`` a line, such as an API key; read at the start."""

    ca_certificates: Path | None = None
    """PEM file with the authorities that signed the collector's certificate; unset: those that come with Python's
    ``certifi``."""

    allow_http: bool = False
    """Send to an ``http://`` address that is not on loopback: what is sent goes in the clear, header fields too."""

    timeout_seconds: float = Field(default=10.0, gt=0)
    """Seconds that one request may take, attempts included; then what it holds is lost."""

    stop_seconds: float = Field(default=5.0, ge=0)
    """On shutdown, seconds for what still waits; the rest is lost."""

    @model_validator(mode="after")
    def _not_in_the_clear(self) -> "CollectorSettings":
        if self.endpoint is not None and not self.allow_http and is_in_the_clear(self.endpoint):
            raise ValueError("endpoint: an http:// address that is not on loopback needs allow_http")
        return self


class TracingSettings(CollectorSettings):
    """Traces for an OpenTelemetry collector (``pip install 'bedside[otel]'``)."""

    endpoint: Address | None = None
    """URL that spans are posted to, with its path: ``https://collector:4318/v1/traces``. Unset: no tracing."""

    ratio: float = Field(default=0.1, ge=0, le=1)
    """Share, from 0 to 1, of the traces that begin here which are sent. Where a caller with a token
    sends ``traceparent``, its own decision is kept. A tenth of the calls shows what is slow, at a tenth of the cost."""

    queue_calls: int = Field(default=4096, gt=0)
    """Calls whose spans may wait, about 1 KiB each; beyond it the oldest are lost, and counted. Requests never wait."""

    batch_calls: int = Field(default=512, gt=0)
    """Most calls whose spans go in one request, about 1 KiB each."""

    flush_seconds: float = Field(default=5.0, gt=0)
    """Longest time that a span waits before it is sent, in seconds."""

    @model_validator(mode="after")
    def _usable(self) -> "TracingSettings":
        if self.batch_calls > self.queue_calls:
            raise ValueError("batch_calls is larger than queue_calls")
        return self


class MetricsSettings(CollectorSettings):
    """What ``/metrics`` tells, for an OpenTelemetry collector (``pip install 'bedside[otel]'``)."""

    endpoint: Address | None = None
    """URL that metrics are posted to, with its path: ``https://collector:4318/v1/metrics``. Unset: none are sent;
    Prometheus can fetch them all the same."""

    interval_seconds: float = Field(default=60.0, ge=1)
    """Time between two requests with all metrics, in seconds; one more goes out on shutdown."""
