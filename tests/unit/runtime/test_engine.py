"""A warm bundle: one item in, its results out, and nothing of the item stays."""

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from bedside.errors import InputNotProcessable, RunFailed
from bedside.runtime.building import BuiltBundle
from bedside.runtime.configuration import Configuration
from bedside.runtime.engine import BundleEngine, _same
from bedside.runtime.passes import preprocess
from bedside.runtime.saving import Kept
from bedside.types import OutputArray

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


def prepared_by(preprocessing: Callable[[Any], Any]) -> BuiltBundle:
    """Return a bundle that has a preprocessing and nothing else."""
    configuration = Configuration(ConfigParser({"run": []}), "run")
    return BuiltBundle(None, preprocessing, torch.device("cpu"), Path(), configuration)


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


def test_what_was_collated_is_let_go_before_the_network_runs(build_one: Build, tmp_path: Path) -> None:
    """The batch is a copy: a volume beside it would be held for nothing, and it is as large."""
    built = build_one("volume_segmentation")
    prepare: Any = built.preprocessing
    forward = built.evaluator.network.forward
    prepared: list[weakref.ref[Any]] = []
    seen: list[bool] = []

    def preprocessing(item: Any) -> Any:
        data = prepare(item)
        prepared.append(weakref.ref(data["image"]))
        return data

    def looking(image: Any) -> Any:
        seen.append(prepared[0]() is None)
        return forward(image)

    built.evaluator.network.forward = looking
    BundleEngine(replace(built, preprocessing=preprocessing)).run(volume(tmp_path))
    assert set(seen) == {True}


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


@pytest.mark.parametrize("prepared", [[{"a": 1}, {"a": 2}], []])
def test_preprocessing_must_give_one_sample(prepared: Any) -> None:
    """Several samples, or none, cannot be answered as one."""
    built = prepared_by(lambda _item: prepared)
    with pytest.raises(InputNotProcessable):
        preprocess(built, {})


def test_a_list_of_one_sample_is_that_sample() -> None:
    """Cropping transforms wrap their one sample in a list."""
    built = prepared_by(lambda _item: [{"a": 1}])
    assert preprocess(built, {}) == {"a": 1}


def test_the_shape_after_preprocessing_is_told(build_one: Build, tmp_path: Path) -> None:
    """Channels first, resampled; None for what is no array or is refused."""
    engine = BundleEngine(build_one("volume_segmentation"))
    assert engine.prepared_shape(volume(tmp_path), "image") == (1, 24, 18, 31)
    assert engine.prepared_shape(volume(tmp_path), "label") is None
    assert engine.prepared_shape({"image": str(tmp_path / "missing.nii")}, "image") is None


def test_the_output_folder_is_only_looked_into_where_a_bundle_writes(build_one: Build, output_dir: Path) -> None:
    """The first run shows whether it does."""
    engine = BundleEngine(build_one("record_classification"))
    engine.warm_up(item())
    (output_dir / "late.txt").write_text("not looked for")
    assert engine.run(item()).files == ()


def test_a_result_that_is_no_number_fails_the_run() -> None:
    """Objects, and element types that NumPy has not, are the bundle's failure and do not end its process."""
    built = SimpleNamespace(
        evaluator=SimpleNamespace(data_loader=None),
        kept=Kept(),
        source=None,
        data_dir=None,
        output_dir=Path("/nowhere"),
    )
    engine = BundleEngine(built)  # type: ignore[arg-type]
    for value in (torch.zeros(2, dtype=torch.bfloat16), np.array([object()])):
        engine._pass = lambda _item, value=value: ({"pred": value}, {})
        with pytest.raises(RunFailed):
            engine.run({})


def test_bits_are_compared_with_names_and_types() -> None:
    """NaN equals NaN here; another type or name does not."""
    nan = OutputArray("pred", np.array([np.nan], np.float32))
    assert _same([nan], [OutputArray("pred", np.array([np.nan], np.float32))])
    assert not _same([nan], [OutputArray("other", nan.array)])
    assert not _same([nan], [OutputArray("pred", nan.array.astype(np.float64))])
    assert not _same([nan], [])
