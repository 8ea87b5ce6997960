"""Whether and how spans and metrics leave: the settings, their files, and no messages where there is no endpoint."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.otlp import by_name, collector, read
from tests.unit.observability.test_accounting import KEY, finished

from bedside.errors import ConfigurationError
from bedside.observability.accounting import Accountant
from bedside.observability.metrics import Metrics
from bedside.observability.otlp import open_telemetry
from bedside.observability.tracing import Tracer
from bedside.otlp_settings import MetricsSettings, TracingSettings
from bedside.settings import Settings

ENDPOINT = "https://collector.invalid/v1/traces"
OFF = """
import sys, bedside.bootstrap
from bedside.observability.metrics import Metrics
from bedside.observability.otlp import open_telemetry
from bedside.settings import Settings
assert not open_telemetry(Settings(), Metrics(), None).records
assert not {"opentelemetry.proto", "opentelemetry.sdk"} & sys.modules.keys()
"""


def opened(settings: Settings) -> Tracer:
    """Return the tracer of settings that send nothing."""
    with ExitStack() as ending:
        return open_telemetry(settings, Metrics(), ending)


def test_without_an_endpoint_nothing_is_imported() -> None:
    """It costs neither memory nor a dependency. FastAPI imports OpenTelemetry's API, where it is installed."""
    subprocess.run([sys.executable, "-c", OFF], check=True)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (Settings(tracing=TracingSettings(endpoint=ENDPOINT)), "tracing.endpoint"),
        (Settings(metrics=MetricsSettings(endpoint=ENDPOINT)), "metrics.endpoint"),
    ],
)
def test_without_the_extra_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, named: str
) -> None:
    """At the start, not with the first call."""
    monkeypatch.setitem(sys.modules, "bedside.observability.otlp.meter", None)
    with pytest.raises(ConfigurationError, match=r"bedside\[otel\]") as caught:
        opened(settings)
    assert caught.value.field == named


def test_both_go_to_their_endpoints_with_the_files_header_fields(tmp_path: Path) -> None:
    """As OTLP in protobuf, at the end at the latest; metrics last, so that they tell how many spans were sent."""
    fields = tmp_path / "headers"
    fields.write_text("Authorization: ApiKey c2VjcmV0\n\nX-Tenant:radiology\n")
    metrics = Metrics()
    with collector(tmp_path / "otlp") as receiver:
        tracing = TracingSettings(endpoint=receiver.endpoint, headers_file=fields, ratio=1)
        settings = MetricsSettings(endpoint=f"{receiver.url}/v1/metrics", headers_file=fields)
        with ExitStack() as ending:
            tracer = open_telemetry(Settings(tracing=tracing, metrics=settings), metrics, ending)
            Accountant(metrics, KEY, tracer=tracer).account(finished())
        (request,) = receiver.metrics
    told = read(request.resource_metrics[0].resource.attributes)
    assert (told["service.name"], len(str(told["service.instance.id"]))) == ("bedside", 36)
    assert [span.name for span in receiver.spans] == ["predict spleen_ct", "authenticate", "run", "inference"]
    found = {
        name: metric.sum.data_points[0].as_double for name, metric in by_name(request).items() if metric.HasField("sum")
    }
    assert (found["bedside_sent_spans_total"], found["bedside_lost_spans_total"]) == (4, 0)
    (exemplar,) = by_name(request)["bedside_request_seconds"].histogram.data_points[0].exemplars
    assert exemplar.span_id == receiver.spans[0].span_id
    for sent in receiver.headers:
        assert (sent["authorization"], sent["x-tenant"]) == ("ApiKey c2VjcmV0", "radiology")
        assert sent["content-type"] == "application/x-protobuf"


@pytest.mark.parametrize("content", ["no colon", "Sp ace: x", "Key: ", "Key: käse", "Key: a\x00b"])
def test_header_files_of_another_form_are_refused(tmp_path: Path, content: str) -> None:
    """The message names the setting and repeats nothing: the file holds a secret."""
    fields = tmp_path / "headers"
    fields.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        opened(Settings(tracing=TracingSettings(endpoint=ENDPOINT, headers_file=fields)))
    assert caught.value.field == "tracing.headers_file"
    assert content not in str(caught.value)


@pytest.mark.parametrize("name", ["headers_file", "ca_certificates"])
def test_files_that_are_missing_are_named_by_their_setting(tmp_path: Path, name: str) -> None:
    """At the start, not with the first batch."""
    settings = TracingSettings.model_validate({"endpoint": ENDPOINT, name: tmp_path / "missing"})
    with pytest.raises(ConfigurationError) as caught:
        opened(Settings(tracing=settings))
    assert caught.value.field == f"tracing.{name}"


@pytest.mark.parametrize(
    "settings",
    [
        {"endpoint": "http://collector.example/v1/traces"},
        {"endpoint": "https://user:secret@collector.example/v1/traces"},
        {"ratio": 1.5},
        {"queue_calls": 10},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """Spans in the clear, a secret in a URL, a share above all, a batch larger than the queue."""
    with pytest.raises(ValidationError):
        TracingSettings.model_validate(settings)
