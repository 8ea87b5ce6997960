"""A warm bundle: one item in, its results out, and nothing of the item stays."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bedside.errors import InputNotProcessable, RunFailed
from bedside.runtime.building import BuiltBundle
from bedside.runtime.engine import (
    BundleEngine,
    _array,
    _results,
    _same,
    collect_files,
    preprocess,
)
from bedside.types import OutputArray, OutputFile

Build = Callable[[str], BuiltBundle]

SECRET = "DOE^JOHN"


def item(*values: float) -> dict[str, Any]:
    """Return a record."""
    return {"features": np.array(values or (5, 1, 1), np.float32)}


def volume(folder: Path, shape: tuple[int, ...] = (20, 18, 16)) -> dict[str, Any]:
    """Return an item with a small volume in a file."""
    path = folder / "volume.nii"
    voxels = np.random.default_rng(0).integers(0, 1000, shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.2, 1.0, 2.0, 1.0])), path)
    return {"image": str(path)}


def failing(_: Any) -> Any:
    """Raise what a bundle might, with a patient's name in it."""
    raise ValueError(SECRET)


def test_a_volume_gives_what_its_saver_would_have_written(build_one: Build, tmp_path: Path) -> None:
    """The mask has the file's grid and type, with its geometry, and the times of both stages."""
    engine = BundleEngine(build_one("volume_segmentation"))
    prediction = engine.warm_up(volume(tmp_path))
    (output,) = prediction.arrays
    assert (output.name, str(output.array.dtype), output.array.shape) == ("pred", "uint8", (20, 18, 16))
    assert output.affine is not None
    np.testing.assert_allclose(output.affine, np.diag([-1.2, 1.0, 2.0, 1.0]), atol=1e-6)
    assert prediction.files == ()
    assert set(prediction.seconds) == {"preprocess", "inference"}


def test_no_patient_stays_in_the_engine(build_one: Build, tmp_path: Path) -> None:
    """An engine of ignite keeps its last batch and output; ours does not."""
    built = build_one("volume_segmentation")
    BundleEngine(built).run(volume(tmp_path))
    assert (built.evaluator.state.batch, built.evaluator.state.output) == (None, None)


def test_no_patient_stays_in_the_engine_after_a_failure(build_one: Build) -> None:
    """Also where the run failed."""
    built = build_one("record_classification")
    built.evaluator.network.forward = failing
    with pytest.raises(RunFailed):
        BundleEngine(built).run(item())
    assert (built.evaluator.state.batch, built.evaluator.state.output) == (None, None)


def test_preprocessing_that_refuses_tells_where_and_not_what(build_one: Build) -> None:
    """The class and the place of the exception are told; its text, which quotes the input, is not."""
    built = build_one("record_classification")
    with pytest.raises(InputNotProcessable) as caught:
        BundleEngine(built).run({"other": SECRET})
    error = caught.value
    assert error.cause == "KeyError"
    assert "key_iterator" in error.where
    assert SECRET not in error.detail + error.cause + error.where


def test_a_network_that_raises_tells_where_and_not_what(build_one: Build) -> None:
    """The class and the place of the exception are told; its text is not."""
    built = build_one("record_classification")
    engine = BundleEngine(built)
    built.evaluator.network.forward = failing
    with pytest.raises(RunFailed) as caught:
        engine.run(item())
    assert (caught.value.cause, "failing" in caught.value.where) == ("ValueError", True)
    assert SECRET not in repr(caught.value.args) + caught.value.where


@pytest.mark.parametrize("prepared", [[{"a": 1}, {"a": 2}], "text", None])
def test_preprocessing_must_give_one_sample(prepared: Any) -> None:
    """Several samples, or none, cannot be answered as one."""
    built = BuiltBundle(None, lambda _item: prepared, torch.device("cpu"), Path())
    with pytest.raises(InputNotProcessable):
        preprocess(built, {})


def test_a_list_of_one_sample_is_that_sample() -> None:
    """Cropping transforms wrap their one sample in a list."""
    built = BuiltBundle(None, lambda _item: [{"a": 1}], torch.device("cpu"), Path())
    assert preprocess(built, {}) == {"a": 1}


def test_the_shape_after_preprocessing_is_told(build_one: Build, tmp_path: Path) -> None:
    """Channels first, resampled; None for what is no array or is refused."""
    engine = BundleEngine(build_one("volume_segmentation"))
    assert engine.prepared_shape(volume(tmp_path), "image") == (1, 24, 18, 31)
    assert engine.prepared_shape(volume(tmp_path), "label") is None
    assert engine.prepared_shape({"image": str(tmp_path / "missing.nii")}, "image") is None


def test_files_are_collected_and_removed(tmp_path: Path) -> None:
    """Their names, last two suffixes and bytes come back; folders and links go too."""
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "a.nii.gz").write_bytes(b"mask")
    (tmp_path / "b.csv").write_bytes(b"1,2")
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    assert collect_files(tmp_path) == (OutputFile(".csv", b"1,2", "b"), OutputFile(".nii.gz", b"mask", "a"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_over_the_bound_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that writes without end does not fill the server's memory."""
    monkeypatch.setattr("bedside.runtime.engine.MAX_OUTPUT_FILE_BYTES", 2)
    (tmp_path / "b.csv").write_bytes(b"1,2")
    assert collect_files(tmp_path) == ()


def test_the_output_folder_is_only_looked_into_where_a_bundle_writes(build_one: Build, output_dir: Path) -> None:
    """The first run shows whether it does."""
    engine = BundleEngine(build_one("record_classification"))
    engine.warm_up(item())
    (output_dir / "late.txt").write_text("not looked for")
    assert engine.run(item()).files == ()


def test_a_result_that_is_no_number_fails_the_run() -> None:
    """Objects, and element types that NumPy has not, are the bundle's failure and do not end its process."""
    built = SimpleNamespace(evaluator=SimpleNamespace(_event_handlers={}), output_dir=Path("/nowhere"))
    engine = BundleEngine(built)  # type: ignore[arg-type]
    for value in (torch.zeros(2, dtype=torch.bfloat16), np.array([object()])):
        engine._pass = lambda _item, value=value: ({"pred": value}, {})
        with pytest.raises(RunFailed):
            engine.run({})


def test_results_are_the_arrays_that_are_no_inputs() -> None:
    """Image and label went in; texts are no results."""
    output = [{"image": torch.zeros(1), "label": torch.zeros(1), "pred": torch.ones(2), "name": "x"}]
    assert list(_results(output)) == ["pred"]
    assert list(_results(torch.ones(2))) == ["pred"]


def test_an_engine_that_leaves_no_result_fails() -> None:
    """An empty answer is no answer."""
    with pytest.raises(TypeError, match="no array"):
        _results({"image": torch.zeros(1)})


def test_geometry_goes_with_images_only() -> None:
    """A vector of probabilities has no place in space, nor has a plane a 4 x 4 affine."""
    volume, vector = MetaTensor(torch.zeros(1, 2, 2, 2)), MetaTensor(torch.zeros(2))
    assert _array("pred", volume).affine is not None
    assert _array("pred", vector).affine is None
    assert _array("pred", MetaTensor(torch.zeros(1, 2, 2), affine=torch.eye(3))).affine is None
    assert _array("pred", np.zeros((2, 2))).affine is None


def test_bits_are_compared_with_names_and_types() -> None:
    """NaN equals NaN here; another type or name does not."""
    nan = OutputArray("pred", np.array([np.nan], np.float32))
    assert _same([nan], [OutputArray("pred", np.array([np.nan], np.float32))])
    assert not _same([nan], [OutputArray("other", nan.array)])
    assert not _same([nan], [OutputArray("pred", nan.array.astype(np.float64))])
    assert not _same([nan], [])
