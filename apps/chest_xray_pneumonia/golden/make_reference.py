"""Writes reference.json: what the shipped weights answer to the 624 test images of PneumoniaMNIST, counted.

Usage: make_reference.py DATA, the folder with pneumoniamnist.npz. Run it after the weights or configs/inference.json
changed. Needs bedside, numpy and pillow.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

BUNDLE = Path(__file__).resolve().parents[1]
DESCRIPTION = "PneumoniaMNIST of MedMNIST v2: the official test split, 624 images, which metrics are stated of"


def main(data: Path) -> None:
    """Hands every image over as the PNG file that a caller would send."""
    with tempfile.TemporaryDirectory() as scratch, np.load(data / "pneumoniamnist.npz") as splits:
        files = []
        for number, image in enumerate(splits["test_images"]):
            files.append(Path(scratch, f"{number:03}.png"))
            Image.fromarray(image).save(files[-1])
        reference = [sys.executable, "-m", "bedside", "bundle", "reference"]
        subprocess.run([*reference, BUNDLE, *files, "--description", DESCRIPTION], check=True)  # noqa: S603 - ours


if __name__ == "__main__":
    main(Path(sys.argv[1]))
