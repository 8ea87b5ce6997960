"""Writes the folder that ``mlserver start FOLDER`` serves: ten scikit-learn models, no log line a request.

    python mlserver_models.py FOLDER PORT

Run with the interpreter of the virtual environment that ``benchmarks/peers.sh`` made.
"""

import json
import sys
from pathlib import Path

import joblib  # type: ignore[import-untyped,import-not-found,unused-ignore]
from heart_pipeline import FEATURES, IDENTITY, MODELS, make_pipeline_trained  # type: ignore[import-not-found]  # the script's own folder


def main(folder: str, port: str) -> None:
    """Write settings and models."""
    root = Path(folder)
    settings = {
        "host": "127.0.0.1",
        "http_port": int(port),
        "grpc_port": int(port) + 1,
        "metrics_endpoint": None,
        "parallel_workers": 0,  # its default of 1 costs it half of its speed for models as cheap as these
        "debug": False,
    }
    (root / "settings.json").write_text(json.dumps(settings))
    for name in MODELS:
        model = root / name
        model.mkdir()
        joblib.dump(make_pipeline_trained(), model / "model.joblib")
        described = {
            "name": name,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": "./model.joblib"},
            "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, len(FEATURES)]}],
            "outputs": [{"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]}],
        }
        (model / "model-settings.json").write_text(json.dumps(described))
    identity = root / IDENTITY
    identity.mkdir()
    described = {"name": IDENTITY, "implementation": "mlserver_identity.Identity"}
    (identity / "model-settings.json").write_text(json.dumps(described))


if __name__ == "__main__":
    main(*sys.argv[1:])
