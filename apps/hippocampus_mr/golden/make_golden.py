"""Writes cases.json and the mask which the shipped weights give for the MNI152 T1 image around the right hippocampus.

The image comes inside the nilearn package and its licence is not stated clearly, so it is read there and not
committed. Run it after the weights or configs/inference.json changed. Needs nilearn (not imported, only its file is
read), nibabel, torch and monai.
"""

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path

import nibabel
import torch
from monai.bundle import ConfigParser

GOLDEN = Path(__file__).resolve().parent
PACKAGE = "nilearn"
PATH = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
# Half-open voxel ranges; in millimetres of the MNI space x 8 to 43, y -48 to 3, z -31 to 7.
CROPS = {
    "mni152_right": ([[106, 142], [86, 138], [41, 80]], "right"),
    "mni152_left": ([[54, 90], [86, 138], [41, 80]], "left"),
}


def crop(source: Path, ranges: list[list[int]], target: Path) -> None:
    """Cuts the voxel ranges out of an image; the affine follows."""
    nibabel.save(nibabel.load(source).slicer[tuple(slice(*r) for r in ranges)], target)


def main() -> None:
    """Regenerates everything in this folder."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"install {PACKAGE}, whose MNI152 image is the input")
    source = Path(spec.origin).parent / PATH
    cases = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, (ranges, side) in CROPS.items():
            crop(source, ranges, Path(scratch) / f"{name}.nii.gz")
            description = f"MNI152 T1 average head, 1 mm, 36x52x39 voxels around the {side} hippocampus."
            inputs = {"image": {"package": PACKAGE, "path": PATH, "crop": ranges}}
            expected = {"pred": {"file": f"{name}_mask.nii.gz", "min_dice": 0.99}}
            cases.append({"name": name, "description": description, "inputs": inputs, "expected": expected})
        parser = ConfigParser()
        parser.read_config(GOLDEN.parent / "configs" / "inference.json")
        parser["bundle_root"] = str(GOLDEN.parent)
        parser["dataset_dir"] = scratch
        parser["output_dir"] = str(GOLDEN)
        parser["device"] = torch.device("cpu")
        parser["postprocessing#transforms#2#output_postfix"] = "mask"
        parser.get_parsed_content("evaluator").run()
    (GOLDEN / "cases.json").write_text(json.dumps(cases, indent=2) + "\n")


if __name__ == "__main__":
    main()
