"""Draws three chest-like images and writes them and cases.json with what the shipped weights answer.

The drawings are no patients: two dark lungs in a bright body, ribs, spine and heart. Each exercises another way a
grey image can be stored. Run it after the weights or configs/inference.json changed. Needs numpy, pillow, torch, monai.
"""

import json
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image

GOLDEN = Path(__file__).resolve().parent


def ellipse(x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """A soft-edged ellipse, 1 inside and 0 outside, in coordinates from 0 to 1."""
    distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
    return np.asarray(1 / (1 + np.exp((distance - 1) * 18)))


def chest(width: int, height: int, haze: float) -> np.ndarray:
    """A chest of the given size in [0, 1]; haze fills the lower right lung as an opacity would."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    image = 0.05 + 0.65 * ellipse(x, y, (0.5, 0.62), (0.5, 0.62))
    lungs = ellipse(x, y, (0.29, 0.48), (0.17, 0.34)) + ellipse(x, y, (0.71, 0.48), (0.17, 0.34))
    image -= 0.5 * lungs
    image += 0.06 * lungs * np.sin(2 * np.pi * (y * 9 + (x - 0.5) ** 2 * 4))
    image += 0.2 * ellipse(x, y, (0.5, 0.5), (0.05, 0.6)) + 0.25 * ellipse(x, y, (0.56, 0.64), (0.15, 0.17))
    image += haze * ellipse(x, y, (0.3, 0.6), (0.15, 0.18))
    return np.clip(image, 0, 1)


def draw() -> list[tuple[str, str, str]]:
    """Writes the image files and returns name, description and file of each."""
    Image.fromarray(np.uint8(255 * chest(256, 256, 0.0))).save(GOLDEN / "grey8.png")
    Image.fromarray(np.uint16(4095 * chest(300, 260, 0.35))).save(GOLDEN / "grey16.png")
    grey = Image.fromarray(np.uint8(255 * chest(240, 320, 0.2)))
    grey.convert("RGB").save(GOLDEN / "colour.jpg", quality=90)
    return [
        ("grey8", "8-bit grey PNG, square, clear lungs drawn.", "grey8.png"),
        ("grey16", "16-bit grey PNG with 12 bits used, wider than high, an opacity drawn.", "grey16.png"),
        ("colour", "RGB JPEG, higher than wide, a faint opacity drawn.", "colour.jpg"),
    ]


def main() -> None:
    """Regenerates everything in this folder."""
    parser = ConfigParser()
    parser.read_config(GOLDEN.parent / "configs" / "inference.json")
    parser.read_meta(GOLDEN.parent / "configs" / "metadata.json")
    parser["bundle_root"] = str(GOLDEN.parent)
    parser["device"] = torch.device("cpu")
    classes = parser["_meta_"]["network_data_format"]["outputs"]["pred"]["channel_def"]
    network = parser.get_parsed_content("network").eval()
    network.load_state_dict(torch.load(GOLDEN.parent / "models" / "model.pt", map_location="cpu", weights_only=True))
    preprocessing = parser.get_parsed_content("preprocessing")
    postprocessing = parser.get_parsed_content("postprocessing")
    cases = []
    for name, description, file in draw():
        item = preprocessing({"image": str(GOLDEN / file)})
        with torch.inference_mode():
            pred = postprocessing({"pred": network(item["image"][None])[0]})["pred"]
        probabilities = {classes[str(i)]: round(float(p), 5) for i, p in enumerate(pred)}
        expected = {"pred": {"probabilities": probabilities, "tolerance": 1e-3}}
        cases.append({"name": name, "description": description, "inputs": {"image": file}, "expected": expected})
    (GOLDEN / "cases.json").write_text(json.dumps(cases, indent=2) + "\n")


if __name__ == "__main__":
    main()
