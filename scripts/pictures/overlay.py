"""The golden masks of hippocampus_mr as the server's own overlay shows them: hippocampus_overlay.png.

The MR image behind them is left out, because its licence does not let us copy it: the background is drawn.
"""

from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter

from bedside.bundle.contract import Contract, InputSpec, OutputSpec
from bedside.codecs import Answers
from bedside.types import DecodedImage, OutputArray, Prediction, ValidatedInputs

ROOT = Path(__file__).resolve().parents[2]
LABELS = {0: "background", 1: "anterior", 2: "posterior"}


def draw(folder: Path) -> None:
    """Write the picture into a folder."""
    mask = nibabel.load(ROOT / "apps" / "hippocampus_mr" / "golden" / "mni152_right_mask.nii.gz")
    array = np.asarray(mask.dataobj)
    noise = np.random.default_rng(0).normal(size=array.shape)
    background = (gaussian_filter(noise, 2) * 4 + gaussian_filter((array > 0).astype(float), 3) + 1).astype(np.float32)
    payload = nibabel.Nifti1Image(background, mask.affine).to_bytes()
    image = DecodedImage("image", payload, ".nii", array.shape, 3, 1, "float32", mask.affine)
    contract = Contract(
        "hippocampus_mr",
        "0.1.0",
        "sha256:",
        "",
        "",
        (InputSpec("image", "image", spatial_dims=3),),
        (OutputSpec("pred", "segmentation", "uint8", (-1, -1, -1), LABELS, "image"),),
        {},
    )
    prediction = Prediction((OutputArray("pred", array, mask.affine),))
    answer = Answers().encode("image/png", contract, ValidatedInputs((image,)), prediction)
    (folder / "hippocampus_overlay.png").write_bytes(answer.body)
