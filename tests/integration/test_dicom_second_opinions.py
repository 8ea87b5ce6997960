"""Other people's readers agree with ours, voxel for voxel and millimetre for millimetre, on real files."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom import read_series
from bedside.codecs.nifti import read_nifti
from bedside.errors import DicomRefused
from bedside.settings import LimitSettings

pydicom = pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")
sitk = pytest.importorskip("SimpleITK", reason="pip install simpleitk")

SERIES = ("study1_hippocampus_crop", "study2_hippocampus_crop", "study1_t1_post")
get_testdata_file = pytest.importorskip("pydicom.data").get_testdata_file
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(params=SERIES)
def folder(request: pytest.FixtureRequest, bedside_data: Path) -> Path:
    """Return the folder of one real series."""
    return bedside_data / "hippocampus_mr" / "dicom" / str(request.param)


def ours(paths: Sequence[Path]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return our volume and its affine."""
    image, _ = read_series([path.read_bytes for path in paths], DicomPolicy(), LimitSettings())
    assert image.affine is not None
    return read_nifti(image.payload), image.affine


def simpleitk(paths: Sequence[Path]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return SimpleITK's volume, with axes as ours, and its affine in RAS."""
    image = sitk.ReadImage([str(path) for path in paths])
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), LPS_TO_RAS @ affine


def aligned(data: NDArray[Any], affine: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return a volume with its axes nearest to right, anterior, superior."""
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(data.astype(np.float64), affine))
    return image.get_fdata(), image.affine


def assert_agree(left: tuple[Any, Any], right: tuple[Any, Any], millimetres: float) -> None:
    """Same voxels; and the corners of the volume lie at the same places, whatever the order of the axes."""
    (values, affine), (others, other) = aligned(*left), aligned(*right)
    np.testing.assert_array_equal(values, others)
    ends = [0, 1]
    corners = np.array([(i, j, k, 1) for i in ends for j in ends for k in ends], float).T
    corners[:3] *= np.array(values.shape)[:, None] - 1
    np.testing.assert_allclose(affine @ corners, other @ corners, atol=millimetres)


def test_simpleitk_agrees(folder: Path) -> None:
    """Sorted by ITK's own sorter."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    assert_agree(ours(list(folder.iterdir())), simpleitk([Path(name) for name in names]), 0.01)


def test_dcm2niix_agrees(folder: Path, tmp_path: Path) -> None:
    """Which most training data came through."""
    program = shutil.which("dcm2niix") or _wheel()
    subprocess.run(
        [program, "-z", "n", "-b", "n", "-o", tmp_path, "-f", "out", folder], check=True, capture_output=True
    )
    (path,) = tmp_path.glob("*.nii")
    image = nibabel.load(path)
    assert_agree(ours(list(folder.iterdir())), (image.get_fdata(), image.affine), 0.01)


def _wheel() -> str:
    package = pytest.importorskip("dcm2niix", reason="pip install dcm2niix")
    return str(package.bin)


def file_of_pydicom(name: str) -> Path:
    """Return a file that comes with pydicom or pydicom-data, or skip."""
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip("pip install pydicom-data")
    return Path(str(found))


def test_a_ct_series_of_pydicom() -> None:
    """Real geometry from a scanner, pixels thinned out."""
    folder = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    assert_agree(ours(list(folder.iterdir())), simpleitk([Path(name) for name in names]), 0.01)


def test_an_enhanced_ct_of_pydicom() -> None:
    """Two frames with functional groups of a real scanner; frames may come in the other order."""
    path = file_of_pydicom("eCT_Supplemental.dcm")
    volume, _ = ours([path])
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose(2, 1, 0)
    assert np.array_equal(volume, frames) or np.array_equal(volume, frames[:, :, ::-1])


def test_turning_projections_of_pydicom_are_refused() -> None:
    """Real angiograms from all sides are one series of one study, and no volume."""
    folder = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "98892003" / "MR700"
    with pytest.raises(DicomRefused) as caught:
        ours(list(folder.iterdir()))
    assert caught.value.reason() == "mixed-orientation"


def twice(source: Path, folder: Path) -> list[Path]:
    """Return a real slice and its double 5 mm above it, as files."""
    paths = []
    for number in (0, 1):
        dataset = pydicom.dcmread(source)
        uid = f"{dataset.SOPInstanceUID}.{number}"[-64:]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        across, down = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        moved = np.array(dataset.ImagePositionPatient, float) + 5 * number * np.cross(across, down)
        dataset.ImagePositionPatient = [round(float(value), 6) for value in moved]
        dataset.save_as(folder / f"{number}.dcm")
        paths.append(folder / f"{number}.dcm")
    return paths


SLICES = (
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "CT_small.dcm",
)


@pytest.mark.parametrize("name", SLICES)
def test_slices_of_pydicom(name: str, tmp_path: Path) -> None:
    """Real slices in every transfer syntax: the values that SimpleITK reads."""
    path = file_of_pydicom(name)
    volume, _ = ours(twice(path, tmp_path))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(file_of_pydicom(_native(name)))))[0].T
    np.testing.assert_array_equal(volume[:, :, 0], expected)
    np.testing.assert_array_equal(volume[:, :, 1], expected)


def _native(name: str) -> str:
    return "MR_small.dcm" if name.startswith("MR") else name


@pytest.mark.parametrize("options", [("+e1",), ("+el",)], ids=["lossless_sv1", "lossless"])
def test_jpeg_lossless_of_dcmtk(options: tuple[str, ...], tmp_path: Path) -> None:
    """The commonest compression in archives, by another's encoder."""
    if shutil.which("dcmcjpeg") is None:
        pytest.skip("apt-get install dcmtk")
    paths = twice(file_of_pydicom("MR_small.dcm"), tmp_path)
    expected, _ = ours(paths)
    for path in paths:
        subprocess.run(["dcmcjpeg", *options, "+un", path, path], check=True, capture_output=True)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_encapsulated
    volume, _ = ours(paths)
    np.testing.assert_array_equal(volume, expected)
