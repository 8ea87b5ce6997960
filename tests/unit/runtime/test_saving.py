"""The answer is what the bundle's own savers would have written, and no file is made."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.data import ITKWriter, MetaTensor
from monai.transforms import Compose, Identityd, SaveClassificationd, SaveImaged
from PIL import Image

from bedside.runtime.saving import Kept, transforms_of

OBLIQUE = np.array(
    [[-0.9, 0.2, 0.1, 12.0], [0.2, 1.1, -0.3, -7.0], [0.1, 0.3, 2.5, 3.0], [0.0, 0.0, 0.0, 1.0]], dtype=np.float64
)


def keep_in_memory(postprocessing: Any) -> Kept:
    """Have the savers of a postprocessing keep what they would write."""
    kept = Kept()
    kept.re_point(postprocessing)
    return kept


def volume(*, channels: int = 1, dtype: torch.dtype = torch.float32) -> MetaTensor:
    """Return a result that was resampled from another grid, as after Invertd: channels first, with geometry."""
    values = torch.randint(0, 200, (channels, 5, 6, 4), generator=torch.Generator().manual_seed(0)).to(dtype)
    meta = {"original_affine": OBLIQUE, "spatial_shape": np.array([5, 6, 4]), "filename_or_obj": "case.nii.gz"}
    return MetaTensor(values, affine=torch.diag(torch.tensor([1.0, 1.0, 2.0, 1.0], dtype=torch.float64)), meta=meta)


def only_file(folder: Path) -> Path:
    """Return the one file below a folder."""
    (path,) = [path for path in folder.rglob("*") if path.is_file()]
    return path


@pytest.mark.parametrize("output_dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_kept_is_what_the_file_would_hold(
    tmp_path: Path, output_dtype: Any, *, resample: bool, channels: int
) -> None:
    """Element type, squeezed axes, order of channels and the grid are those of the file that MONAI writes."""

    def saver() -> SaveImaged:
        return SaveImaged(
            keys="pred", output_dir=tmp_path, output_dtype=output_dtype, resample=resample, print_log=False
        )

    saver()({"pred": volume(channels=channels)})
    written = nibabel.load(only_file(tmp_path))
    other = tmp_path / "other"
    transform = SaveImaged(keys="pred", output_dir=other, output_dtype=output_dtype, resample=resample)
    kept = keep_in_memory(Compose([transform]))
    transform({"pred": volume(channels=channels)})
    (output,) = kept.take()
    assert output.name == "pred"
    assert output.affine is not None
    assert output.array.dtype == written.get_data_dtype() == output_dtype
    np.testing.assert_array_equal(output.array, np.asanyarray(written.dataobj))
    np.testing.assert_allclose(output.affine, written.affine, atol=1e-5)
    assert not other.exists()


def test_a_picture_is_kept_as_its_file_would_be_read(tmp_path: Path) -> None:
    """A PNG has its axes swapped and its values scaled by the writer; so has what is kept."""
    result = MetaTensor(torch.rand((1, 5, 7), generator=torch.Generator().manual_seed(0)))

    def saver(folder: Path) -> SaveImaged:
        return SaveImaged(keys="pred", output_dir=folder, output_ext=".png", scale=255, resample=False, print_log=False)

    saver(tmp_path / "written")({"pred": result})
    transform = saver(tmp_path / "other")
    kept = keep_in_memory(transform)
    transform({"pred": result})
    (output,) = kept.take()
    np.testing.assert_array_equal(output.array, np.asarray(Image.open(only_file(tmp_path / "written"))))
    assert output.affine is None
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("output_dtype", [None, np.uint8])
def test_what_itk_would_write_is_kept(tmp_path: Path, output_dtype: Any) -> None:
    """The third writer keeps its array and affine too."""
    transform = SaveImaged(keys="pred", output_dir=tmp_path, output_ext=".nii", writer=ITKWriter)
    keeping = keep_in_memory(transform)
    (writer,) = transform.saver.writers
    instance = writer.__new__(writer)
    instance.data_obj, instance.output_dtype, instance.affine = np.full((2, 2), 3.0), output_dtype, OBLIQUE
    instance.write("nowhere.nii")
    (output,) = keeping.take()
    assert output.array.dtype == (output_dtype or np.float64)
    np.testing.assert_array_equal(output.affine, OBLIQUE)


def test_each_key_keeps_its_own_name(tmp_path: Path) -> None:
    """A saver of several keys gives one output for each, under its key."""
    transform = SaveImaged(keys=["pred", "uncertainty"], output_dir=tmp_path, resample=False)
    kept = keep_in_memory(transform)
    transform({"pred": volume(), "uncertainty": volume(channels=2)})
    assert [output.name for output in kept.take()] == ["pred", "uncertainty"]


def test_a_key_that_is_allowed_to_be_missing_lends_its_name_to_no_other(tmp_path: Path) -> None:
    """With ``allow_missing_keys`` the second key, alone, is still called by its name."""
    transform = SaveImaged(keys=["pred", "uncertainty"], output_dir=tmp_path, resample=False, allow_missing_keys=True)
    kept = keep_in_memory(transform)
    transform({"uncertainty": volume()})
    assert [output.name for output in kept.take()] == ["uncertainty"]


def test_a_second_saver_of_the_same_key_is_numbered(tmp_path: Path) -> None:
    """Two files of one result are two outputs."""
    steps = [SaveImaged(keys="pred", output_dir=tmp_path, output_dtype=d, resample=False) for d in ("u1", "f4")]
    compose = Compose(steps)
    kept = keep_in_memory(compose)
    compose({"pred": volume()})
    assert [(output.name, str(output.array.dtype)) for output in kept.take()] == [
        ("pred", "uint8"),
        ("output1", "float32"),
    ]


def test_taking_forgets(tmp_path: Path) -> None:
    """One patient's result is not in the next one's answer."""
    transform = SaveImaged(keys="pred", output_dir=tmp_path, resample=False)
    kept = keep_in_memory(transform)
    transform({"pred": volume()})
    kept.take()
    assert kept.take() == []


def test_a_saver_lets_go_of_what_it_wrote(tmp_path: Path) -> None:
    """MONAI's keeps its last writer, which would hold somebody's result until the next one comes."""
    transform = SaveImaged(keys="pred", output_dir=tmp_path)
    kept = keep_in_memory(Compose([transform]))
    transform({"pred": volume()})
    (output,) = kept.take()
    assert output.array.any()
    assert transform.saver.writer_obj.data_obj is None


def test_a_saver_of_classes_is_silent(tmp_path: Path) -> None:
    """SaveClassificationd would collect every prediction of the server's life, and write them at its end."""
    transform = SaveClassificationd(keys="pred", output_dir=tmp_path, meta_keys="meta")
    keep_in_memory(Compose([transform]))
    transform({"pred": torch.tensor([0.1, 0.9]), "meta": {"filename_or_obj": "case.png"}})
    transform.get_saver().finalize()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_of_the_bundles_own_still_writes(tmp_path: Path) -> None:
    """What a bundle wrote itself is not ours to replace; its file is collected."""

    class OwnWriter:
        """Writes nothing that MONAI knows."""

        def __init__(self, **_: Any) -> None:
            """Take whatever SaveImage gives."""

    transform = SaveImaged(keys="pred", output_dir=tmp_path, writer=OwnWriter)
    keep_in_memory(transform)
    assert transform.saver.writers == (OwnWriter,)


def test_leaves_of_nested_transforms_are_found_in_order() -> None:
    """Compose in Compose is one sequence, and no transform is an empty one."""
    first, second, third = (Identityd(keys=key) for key in "abc")
    assert list(transforms_of(Compose([first, Compose([second]), third]))) == [first, second, third]
    assert list(transforms_of(None)) == []
