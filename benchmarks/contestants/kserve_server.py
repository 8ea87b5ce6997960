"""KServe's Python model server with ten models: no authentication, no log line a request.

    python kserve_server.py PORT [GRPC_PORT]

Run with the interpreter of the virtual environment that ``benchmarks/peers.sh`` made.
"""

import logging
import sys
from typing import Any

import kserve  # type: ignore[import-not-found,unused-ignore]  # in a virtual environment of its own
from heart_pipeline import FEATURES, IDENTITY, MODELS, make_pipeline_trained  # type: ignore[import-not-found]  # its own folder
from kserve.utils.utils import generate_uuid  # type: ignore[import-not-found,unused-ignore]


class HeartDisease(kserve.Model):  # type: ignore[misc,unused-ignore]
    """One model, as KServe's documentation writes a custom predictor."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.pipeline = make_pipeline_trained()
        self.ready = True

    def predict(self, payload: Any, _headers: Any = None, _response_headers: Any = None) -> Any:
        """Answer one V2 request."""
        rows = payload.inputs[0].as_numpy()
        output = kserve.InferOutput(name="predict_proba", shape=[len(rows), 2], datatype="FP64")
        output.set_data_from_numpy(self.pipeline.predict_proba(rows), binary_data=False)
        # As its examples do: without an id its own answer is refused by its own model of answers (500).
        answer_id = payload.id or generate_uuid()
        return kserve.InferResponse(response_id=answer_id, model_name=self.name, infer_outputs=[output])

    async def get_input_types(self) -> Any:
        """Return the metadata's inputs."""
        return [{"name": "features", "datatype": "FP64", "shape": [-1, len(FEATURES)]}]

    async def get_output_types(self) -> Any:
        """Return the metadata's outputs."""
        return [{"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]}]


class Identity(kserve.Model):  # type: ignore[misc,unused-ignore]
    """A model that gives back what it gets."""

    def __init__(self) -> None:
        super().__init__(IDENTITY)
        self.ready = True

    def predict(self, payload: Any, _headers: Any = None, _response_headers: Any = None) -> Any:
        """Answer one V2 request as it asks to be answered."""
        values = payload.inputs[0].as_numpy()
        asked = [output.parameters or {} for output in payload.request_outputs or ()]
        output = kserve.InferOutput(name="pred", shape=list(values.shape), datatype="FP32")
        output.set_data_from_numpy(values, binary_data=any(found.get("binary_data") for found in asked))
        answer_id = payload.id or generate_uuid()
        return kserve.InferResponse(response_id=answer_id, model_name=self.name, infer_outputs=[output])


def main(port: str, grpc_port: str = "") -> None:
    """Serve until SIGTERM."""
    server = kserve.ModelServer(
        http_port=int(port),
        grpc_port=int(grpc_port or 0),
        enable_grpc=bool(grpc_port),
        workers=1,
        enable_latency_logging=False,
        access_log_format=None,
    )
    for name in ("kserve", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([*(HeartDisease(name) for name in MODELS), Identity()])


if __name__ == "__main__":
    main(*sys.argv[1:])
