"""Writes reference.json: what the shipped weights answer to the 303 records of the Cleveland file, counted.

Usage: make_reference.py DATA, the folder with processed.cleveland.data. Run it after the weights or
configs/inference.json changed. Needs bedside.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

BUNDLE = Path(__file__).resolve().parents[1]
DESCRIPTION = "UCI Heart Disease, processed Cleveland file: all 303 records, which the weights were trained on"


def main(data: Path) -> None:
    """Hands every row over as the JSON record that a caller would send."""
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    names = metadata["network_data_format"]["inputs"]["features"]["channel_def"].values()
    with tempfile.TemporaryDirectory() as scratch, (data / "processed.cleveland.data").open() as table:
        files = []
        for number, row in enumerate(filter(None, csv.reader(table))):
            values = (None if value == "?" else float(value) for value in row)
            files.append(Path(scratch, f"{number:03}.json"))
            files[-1].write_text(json.dumps(dict(zip(names, values, strict=False))))  # the diagnosis is left out
        reference = [sys.executable, "-m", "bedside", "bundle", "reference"]
        subprocess.run([*reference, BUNDLE, *files, "--description", DESCRIPTION], check=True)  # noqa: S603 - ours


if __name__ == "__main__":
    main(Path(sys.argv[1]))
