"""Traces and metrics by OTLP/HTTP; its messages are imported only where an endpoint is set (docs/decisions/0133)."""

from contextlib import ExitStack
from uuid import uuid4

from bedside.errors import ConfigurationError
from bedside.observability.metrics import Metrics
from bedside.observability.tracing import Tracer
from bedside.settings import Settings
from bedside.version import __version__


def open_telemetry(settings: Settings, metrics: Metrics, ending: ExitStack) -> Tracer:
    """Return what takes spans, and begin to send metrics: each where its endpoint is set, until ``ending`` ends.

    Raises:
        ConfigurationError: the extra is missing, or a file cannot be used.
    """
    if settings.tracing.endpoint is None and settings.metrics.endpoint is None:
        return Tracer()
    try:
        from bedside.observability.otlp.collector import Collector  # noqa: PLC0415 - needs an extra
        from bedside.observability.otlp.meter import Meter  # noqa: PLC0415 - needs an extra
        from bedside.observability.otlp.recorder import Recorder  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError:
        needed_by = "metrics.endpoint" if settings.tracing.endpoint is None else "tracing.endpoint"
        raise ConfigurationError("OpenTelemetry needs pip install 'bedside[otel]'", field=needed_by) from None
    about = _resource(settings)
    if settings.metrics.endpoint is not None:
        meter = Meter(Collector(settings.metrics, "metrics"), settings.metrics, metrics, about)
        ending.callback(meter.close)
    if settings.tracing.endpoint is None:
        return Tracer()
    recorder = Recorder(Collector(settings.tracing, "tracing"), settings.tracing, about)
    metrics.show_spans(lambda: recorder.sent_spans, lambda: recorder.lost_spans)
    ending.callback(recorder.close)
    return recorder


def _resource(settings: Settings) -> dict[str, str]:
    return {
        "service.name": settings.service_name,
        "service.version": __version__,
        # Of this start of this server: its counters begin at nothing.
        "service.instance.id": str(uuid4()),
        "deployment.environment.name": settings.env,
    }
