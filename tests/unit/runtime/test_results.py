"""What a run left is taken apart into arrays, JSON values and files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bedside.runtime.results import array_of, collect_files, results_of, values_of
from bedside.types import OutputFile


def test_files_are_collected_and_removed(tmp_path: Path) -> None:
    """Their names, last two suffixes and bytes come back; links go, folders stay as the bundle made them."""
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "a.nii.gz").write_bytes(b"mask")
    (tmp_path / "b.csv").write_bytes(b"1,2")
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    assert collect_files(tmp_path) == (OutputFile(".csv", b"1,2", "b"), OutputFile(".nii.gz", b"mask", "a"))
    assert [path.name for path in tmp_path.rglob("*")] == ["case"]


def test_a_file_over_the_bound_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that writes without end does not fill the server's memory."""
    monkeypatch.setattr("bedside.runtime.results.MAX_OUTPUT_FILE_BYTES", 2)
    (tmp_path / "b.csv").write_bytes(b"1,2")
    assert collect_files(tmp_path) == ()


def test_results_are_what_did_not_go_in() -> None:
    """Image and label went in; what MONAI writes down of a file holds its name, and is no result."""
    output = [{"image": torch.zeros(1), "label": torch.zeros(1), "pred": torch.ones(2), "pred_meta_dict": {"a": 1}}]
    assert list(results_of(output)) == ["pred"]
    assert list(results_of(torch.ones(2))) == ["pred"]


@pytest.mark.parametrize("output", [None, [], {"image": torch.zeros(1), "pred": None}])
def test_a_run_may_leave_nothing(output: Any) -> None:
    """A sampler that writes files returns nothing."""
    assert results_of(output) == {}


def test_boxes_with_labels_and_scores_are_a_json_value() -> None:
    """What is no array is what JSON can say of it; what JSON cannot say is left out."""
    boxes = {"box": torch.tensor([[1.0, 2.0]]), "label": np.array([3]), "scores": [np.float32(0.5)], "code": object()}
    results = {"pred": boxes, "class": "tumour", "mask": torch.zeros(2), "points": [[1, 2]], "raw": object()}
    assert values_of(results) == {
        "pred": {"box": [[1.0, 2.0]], "label": [3], "scores": [0.5]},
        "class": "tumour",
        "points": [[1, 2]],
    }


def test_geometry_goes_with_images_only() -> None:
    """A vector of probabilities has no place in space, nor has a plane a 4 x 4 affine."""
    volume, vector = MetaTensor(torch.zeros(1, 2, 2, 2)), MetaTensor(torch.zeros(2))
    assert array_of("pred", volume).affine is not None
    assert array_of("pred", vector).affine is None
    assert array_of("pred", MetaTensor(torch.zeros(1, 2, 2), affine=torch.eye(3))).affine is None
    assert array_of("pred", np.zeros((2, 2))).affine is None


def test_channels_go_last_as_a_saver_would_write_them() -> None:
    """One channel is none; several stand on the last axis; what has no channel axis stays as it is."""
    values = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert np.array_equal(array_of("pred", MetaTensor(values[:1])).array, values[0].numpy())
    assert np.array_equal(array_of("pred", MetaTensor(values)).array, np.moveaxis(values.numpy(), 0, -1))
    assert np.array_equal(array_of("pred", MetaTensor(values[0])).array, values[0].numpy())


def test_a_pictures_channels_go_last_too() -> None:
    """How many axes are spatial is told by the file that the tensor came from."""
    values = torch.arange(2 * 3 * 4).reshape(2, 3, 4)
    picture = MetaTensor(values, affine=torch.eye(3), meta={"spatial_shape": np.array([3, 4])})
    assert array_of("pred", picture).array.shape == (3, 4, 2)
