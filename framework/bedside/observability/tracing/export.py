"""The way to the collector: OpenTelemetry's own exporter, with nothing of it left to the environment."""

import re
import ssl

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from bedside.errors import ConfigurationError
from bedside.tracing_settings import TracingSettings

_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ -~]*[!-~])?)")  # RFC 9110 §5.6.2, §5.5


def exporter_for(settings: TracingSettings) -> OTLPSpanExporter:
    """Return the exporter. Raises ConfigurationError."""
    session = requests.Session()
    session.trust_env = False  # no credentials from ~/.netrc, no proxy that nobody has set here
    return OTLPSpanExporter(
        endpoint=settings.endpoint,
        certificate_file=_authorities(settings),
        headers=_headers(settings),
        timeout=settings.timeout_seconds,
        compression=Compression.NoCompression,
        session=session,
    )


def _authorities(settings: TracingSettings) -> str | None:
    if settings.ca_certificates is None:
        return None
    try:
        ssl.create_default_context(cafile=settings.ca_certificates)
    except OSError:
        raise ConfigurationError("no certificates can be read in it", field="tracing.ca_certificates") from None
    return str(settings.ca_certificates)


def _headers(settings: TracingSettings) -> dict[str, str]:
    if settings.headers_file is None:
        return {}
    try:
        text = settings.headers_file.read_text(encoding="ascii")
    except (OSError, UnicodeError):
        raise ConfigurationError("it cannot be read", field="tracing.headers_file") from None
    fields = [_FIELD.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    if None in fields:
        raise ConfigurationError("each line must be `Name: value`", field="tracing.headers_file")
    return {field[1]: field[2] for field in fields if field is not None}
