"""KServe's Python model server with ten models: no authentication, no log line a request.

    python kserve_server.py PORT

Run with the interpreter of the virtual environment that ``benchmarks/peers.sh`` made.
"""

import logging
import sys
from typing import Any

import kserve  # type: ignore[import-not-found,unused-ignore]  # in a virtual environment of its own
from heart_pipeline import MODELS, make_pipeline_trained  # type: ignore[import-not-found]  # the script's own folder


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
        return kserve.InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=[output])


def main(port: str) -> None:
    """Serve until SIGTERM."""
    server = kserve.ModelServer(
        http_port=int(port), enable_grpc=False, workers=1, enable_latency_logging=False, access_log_format=None
    )
    for name in ("kserve", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([HeartDisease(name) for name in MODELS])


if __name__ == "__main__":
    main(sys.argv[1])
