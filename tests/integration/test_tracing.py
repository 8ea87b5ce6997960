"""A server and a collector: callers' traces go on here and beyond, and metrics say what /metrics says."""

import json
import signal
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.acceptance.conftest import start, stop
from tests.acceptance.patients import Patient, files
from tests.otlp import Answer, attributes, by_name, collector, read
from tests.unit.transports.dicom_world import maker, related
from tests.waiting import wait_until
from tritonclient.grpc import service_pb2, service_pb2_grpc

MODEL = "record_classification"
RECORD = {"age": 50, "chol": 1, "thalach": 1}
REST, GRPC = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
ABOVE = "b7ad6b7169203331"


def test_calls_of_both_transports_are_in_the_callers_traces(bundles: Path, tmp_path: Path) -> None:
    """With their stages, in the log by the same ids; a malformed `traceparent` and `tracestate` are nowhere.

    FastAPI's own spans, which would hold URLs, are not sent though the environment asks for them.
    """
    with collector(tmp_path / "spans") as receiver:
        environment = {
            "BEDSIDE_TRACING__ENDPOINT": receiver.endpoint,
            "BEDSIDE_TRACING__RATIO": "0",
            "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.endpoint,
        }
        served = start([bundles / MODEL], tmp_path / "server", **environment)
        with served.client() as client:
            for parent in (f"00-{REST}-{ABOVE}-01", f"00-{REST}-{ABOVE}-01-MRN4711", "MRN4711"):
                headers = {"traceparent": parent, "tracestate": "patient=MRN4711"}
                answer = client.post(f"/v1/models/{MODEL}/predict", json=RECORD, headers=headers)
                assert answer.status_code == 200, answer.text
            refused = client.post(
                f"/v1/models/{MODEL}/predict", json={"age": "x"}, headers={"traceparent": f"00-{REST}-{ABOVE}-01"}
            )
            assert refused.status_code == 422, refused.text
            assert client.get("/v1/models?patient=MRN4711").status_code == 200
            token = client.headers["authorization"]
        metadata = (("authorization", token), ("traceparent", f"00-{GRPC}-{ABOVE}-01"))
        with grpc.insecure_channel(served.grpc) as channel:
            infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
            with pytest.raises(grpc.RpcError):
                infer(service_pb2.ModelInferRequest(model_name=MODEL), metadata=metadata, timeout=60)
        assert stop(served) == 0
        spans = receiver.spans
    assert {scope.scope.name for scope in receiver.scopes} == {"bedside"}
    calls = [span for span in spans if span.parent_span_id.hex() == ABOVE]
    assert [(span.trace_id.hex(), attributes(span)["network.protocol"]) for span in calls] == [
        (REST, "rest"),
        (REST, "rest"),
        (GRPC, "grpc"),
    ]
    assert [attributes(span)["event.outcome"] for span in calls] == ["success", "failure", "failure"]
    inside = {span.name for span in spans if span.parent_span_id == calls[0].span_id}
    assert {"authenticate", "decode", "run", "encode"} <= inside
    lines = [json.loads(line) for line in served.log.read_bytes().splitlines() if line.startswith(b"{")]
    logged = {line["span"]["id"]: line["trace"]["id"] for line in lines if line["message"] == "inference_completed"}
    assert len(logged) == 5
    assert {span.span_id.hex(): span.trace_id.hex() for span in calls}.items() <= logged.items()
    assert b"MRN4711" not in served.log.read_bytes() + receiver.bodies


@pytest.mark.slow
def test_a_jobs_run_and_its_delivery_are_in_the_callers_trace_after_kill_9(bundles: Path, tmp_path: Path) -> None:
    """The archive is told, too; neither its address nor a UID of the study is in any span or metric."""
    model, patient = "volume_segmentation", Patient(1)
    with collector(tmp_path / "otlp") as receiver, collector(tmp_path / "archive") as archive:
        environment = {
            "BEDSIDE_TRACING__ENDPOINT": receiver.endpoint,
            "BEDSIDE_METRICS__ENDPOINT": f"{receiver.url}/v1/metrics",
            "BEDSIDE_DICOM__DESTINATIONS": json.dumps({"pacs": {"url": f"{archive.url}/dicom-web"}}),
            "BEDSIDE_DICOM__RESULTS_TO": '["pacs"]',
        }
        killed = start([bundles / model], tmp_path / "server", **environment, BEDSIDE_JOBS__CONCURRENCY="0")
        headers = {
            "Content-Type": 'multipart/related; type="application/dicom"; boundary=cut',
            "traceparent": f"00-{REST}-{ABOVE}-01",
        }
        with killed.client() as client:
            answer = client.post(f"/dicomweb/models/{model}/studies", content=related(files(patient)), headers=headers)
            assert answer.status_code == 200, answer.text
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        served = start([bundles / model], tmp_path / "server", **environment)
        wait_until(lambda: b"result_delivered" in served.log.read_bytes())
        assert stop(served) == 0
        spans = receiver.spans
        numbers = by_name(receiver.metrics[-1])
    run = next(span for span in spans if span.name == f"predict {model}")
    delivery = next(span for span in spans if span.name == f"deliver {model}")
    assert {run.trace_id.hex(), delivery.trace_id.hex()} == {REST}
    assert run.parent_span_id == delivery.parent_span_id != bytes.fromhex(ABOVE)
    assert archive.headers[0]["traceparent"] == f"00-{REST}-{delivery.span_id.hex()}-01"
    assert attributes(delivery)["inference.job.id"] == attributes(run)["http.request.id"]
    assert 0 < numbers["bedside_sent_spans_total"].sum.data_points[0].as_double <= len(spans)
    assert {read(point.attributes)["transport"] for point in numbers["bedside_requests_total"].sum.data_points} == {
        "jobs"
    }
    told = receiver.bodies
    assert not any(text.encode() in told for text in (archive.url, "dicom-web", patient.study, maker.ROOT))


@pytest.mark.slow
def test_metrics_are_sent_while_the_server_runs(bundles: Path, tmp_path: Path) -> None:
    """The same numbers as `/metrics`; a collector that hangs holds no call up."""
    with collector(tmp_path / "otlp") as receiver:
        receiver.answers.append(Answer(503, {"Retry-After": "1"}))
        environment = {
            "BEDSIDE_METRICS__ENDPOINT": f"{receiver.url}/v1/metrics",
            "BEDSIDE_METRICS__INTERVAL_SECONDS": "1",
        }
        served = start([bundles / MODEL], tmp_path / "server", **environment)
        with served.client() as client:
            for _ in range(3):
                assert client.post(f"/v1/models/{MODEL}/predict", json=RECORD).status_code == 200
            exposed = client.get("/metrics").text
            seen = len(receiver.metrics)
            wait_until(lambda: len(receiver.metrics) > seen + 1)
        numbers = by_name(receiver.metrics[-1])
        assert stop(served) == 0
    (requests,) = numbers["bedside_requests_total"].sum.data_points
    labels = {"model": MODEL, "version": "1.2.0", "transport": "rest", "outcome": "success"}
    assert (read(requests.attributes), requests.as_double) == (labels, 3)
    names = {family.name for family in text_string_to_metric_families(exposed) if family.samples}
    assert names == {name.removesuffix("_total") for name in numbers}
