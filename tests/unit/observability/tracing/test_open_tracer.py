"""Whether and how spans leave: the settings, their files, and no SDK where there is no endpoint."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.otlp import attributes, collector
from tests.unit.observability.test_accounting import finished

from bedside.errors import ConfigurationError
from bedside.observability.tracing import open_tracer
from bedside.settings import Settings
from bedside.tracing_settings import TracingSettings

ENDPOINT = "https://collector.invalid/v1/traces"
OFF = """
import sys, bedside.bootstrap
from bedside.observability.tracing import open_tracer
from bedside.settings import Settings
assert open_tracer(Settings()) is None
assert not {"opentelemetry.sdk", "opentelemetry.exporter"} & sys.modules.keys()
"""


def test_without_an_endpoint_the_sdk_is_not_imported() -> None:
    """It costs neither memory nor a dependency. FastAPI imports the API, where it is installed."""
    subprocess.run([sys.executable, "-c", OFF], check=True)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, not with the first call."""
    monkeypatch.setitem(sys.modules, "bedside.observability.tracing.export", None)
    with pytest.raises(ConfigurationError, match=r"bedside\[otel\]"):
        open_tracer(Settings(tracing=TracingSettings(endpoint=ENDPOINT)))


def test_spans_go_to_the_endpoint_with_the_files_header_fields(tmp_path: Path) -> None:
    """As OTLP in protobuf, when the tracer is closed at the latest."""
    fields = tmp_path / "headers"
    fields.write_text("Authorization: ApiKey c2VjcmV0\n\nX-Tenant:radiology\n")
    with collector(tmp_path / "spans") as receiver:
        tracer = open_tracer(
            Settings(tracing=TracingSettings(endpoint=receiver.endpoint, headers_file=fields, ratio=1))
        )
        assert tracer is not None
        trace, span = tracer.record(finished(), {"model": "spleen_ct"}, 0.25)
        tracer.close()
        call = receiver.spans[0]
    assert (call.trace_id.hex(), call.span_id.hex(), attributes(call)) == (
        trace,
        span,
        {"inference.bundle.name": "spleen_ct"},
    )
    assert receiver.headers[0]["authorization"] == "ApiKey c2VjcmV0"
    assert receiver.headers[0]["x-tenant"] == "radiology"
    assert receiver.headers[0]["content-type"] == "application/x-protobuf"


def test_closing_does_not_wait_for_a_collector_that_is_away() -> None:
    """What waits is given up after ``tracing.stop_seconds``, though an attempt may be repeated for ten minutes."""
    settings = TracingSettings(endpoint="http://127.0.0.1:9/v1/traces", ratio=1, timeout_seconds=600, stop_seconds=0.1)
    tracer = open_tracer(Settings(tracing=settings))
    assert tracer is not None
    tracer.record(finished(), {}, 0.25)
    tracer.close()


@pytest.mark.parametrize("content", ["no colon", "Sp ace: x", "Key: ", "Key: käse", "Key: a\x00b"])
def test_header_files_of_another_form_are_refused(tmp_path: Path, content: str) -> None:
    """The message names the setting and repeats nothing: the file holds a secret."""
    fields = tmp_path / "headers"
    fields.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        open_tracer(Settings(tracing=TracingSettings(endpoint=ENDPOINT, headers_file=fields)))
    assert caught.value.field == "tracing.headers_file"
    assert content not in str(caught.value)


@pytest.mark.parametrize("name", ["headers_file", "ca_certificates"])
def test_files_that_are_missing_are_named_by_their_setting(tmp_path: Path, name: str) -> None:
    """At the start, not with the first batch."""
    settings = TracingSettings.model_validate({"endpoint": ENDPOINT, name: tmp_path / "missing"})
    with pytest.raises(ConfigurationError) as caught:
        open_tracer(Settings(tracing=settings))
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
