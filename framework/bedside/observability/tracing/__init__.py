"""Traces by OTLP/HTTP; the SDK is imported only where an endpoint is set (docs/decisions/0128)."""

from typing import TYPE_CHECKING

from bedside.errors import ConfigurationError
from bedside.settings import Settings

if TYPE_CHECKING:
    from bedside.observability.tracing.spans import Tracer


def open_tracer(settings: Settings) -> "Tracer | None":
    """Return what makes spans of calls, None where ``tracing.endpoint`` is unset.

    Raises:
        ConfigurationError: the extra is missing, or a file cannot be used.
    """
    if settings.tracing.endpoint is None:
        return None
    try:
        from bedside.observability.tracing.export import exporter_for  # noqa: PLC0415 - needs an extra
        from bedside.observability.tracing.spans import Tracer  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError:
        raise ConfigurationError("traces need pip install 'bedside[otel]'", field="tracing.endpoint") from None
    exporter = exporter_for(settings.tracing)
    return Tracer(exporter, settings.tracing, settings.service_name, settings.env)
