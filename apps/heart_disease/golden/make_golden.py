"""Writes cases.json: three invented records and what the shipped weights answer.

Run it from anywhere, after the weights or configs/inference.json changed. Needs torch and monai.
"""

import json
import math
from pathlib import Path

import torch
from monai.bundle import ConfigParser

GOLDEN = Path(__file__).resolve().parent

# Invented patients, not rows of the data set, in the order of feature_names. None is a missing value.
RECORDS: list[tuple[str, str, list[float | None]]] = [
    (
        "low_risk",
        "A younger woman with atypical pain and a good exercise test.",
        [41, 0, 2, 118, 210, 0, 0, 174, 0, 0.0, 1, 0, 3],
    ),
    (
        "high_risk",
        "An older man without chest pain, with a poor exercise test and three vessels seen in fluoroscopy.",
        [65, 1, 4, 150, 290, 1, 2, 112, 1, 3.0, 2, 3, 7],
    ),
    (
        "missing_values",
        "Three values are null: the model takes each as average.",
        [57, 1, 3, 135, None, 0, 0, 141, 0, 1.2, 2, None, None],
    ),
]


def main() -> None:
    """Regenerates cases.json."""
    parser = ConfigParser()
    parser.read_config(GOLDEN.parent / "configs" / "inference.json")
    parser.read_meta(GOLDEN.parent / "configs" / "metadata.json")
    parser["bundle_root"] = str(GOLDEN.parent)
    parser["device"] = torch.device("cpu")
    names = parser["feature_names"]
    classes = parser["_meta_"]["network_data_format"]["outputs"]["pred"]["channel_def"]
    network = parser.get_parsed_content("network").eval()
    network.load_state_dict(torch.load(GOLDEN.parent / "models" / "model.pt", map_location="cpu", weights_only=True))
    preprocessing = parser.get_parsed_content("preprocessing")
    postprocessing = parser.get_parsed_content("postprocessing")
    cases = []
    for name, description, record in RECORDS:
        values = [math.nan if value is None else value for value in record]
        item = preprocessing({"features": torch.tensor(values)})
        with torch.inference_mode():
            pred = postprocessing({"pred": network(item["image"][None])[0]})["pred"]
        probabilities = {classes[str(i)]: round(float(p), 5) for i, p in enumerate(pred)}
        features = dict(zip(names, record, strict=True))
        expected = {"pred": {"probabilities": probabilities, "tolerance": 1e-3}}
        cases.append({"name": name, "description": description, "inputs": {"features": features}, "expected": expected})
    (GOLDEN / "cases.json").write_text(json.dumps(cases, indent=2) + "\n")


if __name__ == "__main__":
    main()
