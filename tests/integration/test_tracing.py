"""A server and a collector: what callers are told apart by reaches the trace, over REST and gRPC."""

import json
from pathlib import Path

import grpc
import pytest
from tests.acceptance.conftest import start, stop
from tests.otlp import attributes, collector
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
    assert b"MRN4711" not in served.log.read_bytes() + b"".join(receiver.requests)
