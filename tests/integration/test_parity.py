"""The served answer is the file that ``python -m monai.bundle run`` writes, voxel for voxel.

Each bundle is run by MONAI once, over several inputs, and its files are compared with what a model's process answers to
the same inputs, decoded as a request's are. What is trained takes longest and is slow: ``test_reference.py`` holds its
golden cases against MONAI's run each time.
"""

import csv
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bedside.bundle.contract import Contract
from bedside.bundle.folder import open_bundle
from bedside.bundle.media_types import media_type_of_suffix
from bedside.bundle.validation import validate
from bedside.codecs import Codecs
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.types import DecodedInput, OutputArray, RawPart, RawRecord

APPS = Path(__file__).resolve().parents[2] / "apps"

OBLIQUE = np.array([[-0.9, 0.2, 0.1, 12], [0.2, 1.1, -0.3, -7], [0.1, 0.3, 1.5, 3], [0, 0, 0, 1]], dtype=np.float64)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
ANISOTROPIC = np.diag([0.8, 1.3, 2.5, 1.0])
PERMUTED = np.array([[0, 0, 1.2, 0], [-1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def body(shape: tuple[int, ...], scale: float) -> NDArray[np.float64]:
    """Return a bright body in noise, in the range of one scanner or another."""
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    noise = np.random.default_rng(0).normal(0, 0.05, shape)
    return np.asarray(scale * np.clip(np.exp(-2 * sum(axis**2 for axis in axes)) + noise, 0, None))


def write_volume(path: Path, affine: NDArray[np.float64], dtype: Any, scale: float, slope: float | None = None) -> None:
    """Write a volume as one scanner or another would."""
    image = nibabel.Nifti1Image(body((34, 41, 29), scale).astype(np.float64 if slope else dtype), affine)
    image.set_data_dtype(dtype)
    if slope:
        image.header.set_slope_inter(slope, 10.0)
    nibabel.save(image, path)


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return a folder with volumes of several kinds, and a real one where public data are at hand."""
    folder = tmp_path_factory.mktemp("volumes")
    write_volume(folder / "a_oblique_slope.nii", OBLIQUE, np.int16, 1000.0, slope=0.5)
    write_volume(folder / "b_lps.nii.gz", LPS, np.uint8, 200.0)
    write_volume(folder / "c_anisotropic.nii", ANISOTROPIC, np.float32, 1e5)
    write_volume(folder / "d_permuted_big_endian.nii.gz", PERMUTED, np.dtype(">i2"), 3000.0)
    try:
        data: Path = request.getfixturevalue("bedside_data")
    except pytest.skip.Exception:
        return folder
    for path in sorted((data / "hippocampus_mr" / "images").glob("*.nii*"))[:1]:
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with pictures of several sizes and modes."""
    folder = tmp_path_factory.mktemp("pictures")
    grey = body((28, 28), 200.0).clip(0, 255).astype(np.uint8)
    wide = np.stack([body((40, 61), 180.0 + 20 * channel).clip(0, 255) for channel in range(3)], -1).astype(np.uint8)
    Image.fromarray(grey).save(folder / "a_grey.png")
    Image.fromarray(wide).save(folder / "b_colour.jpg", quality=90)
    Image.fromarray(np.dstack([wide, np.full((40, 61), 255, np.uint8)])).save(folder / "c_alpha.png")
    return folder


def run_by_monai(root: Path, data: Path, output: Path) -> Path:
    """Run a bundle as its README says, with the data and the output elsewhere."""
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    command += ["--meta_file", "configs/metadata.json", "--bundle_root", str(root)]
    command += ["--dataset_dir", str(data), "--output_dir", str(output)]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return output


class Served:
    """A bundle in a process of its own."""

    def __init__(self, executor: ProcessExecutor, contract: Contract, codecs: Codecs) -> None:
        self._executor, self.contract, self._codecs = executor, contract, codecs

    async def file(self, path: Path) -> OutputArray:
        """Answer a file."""
        part = RawPart(None, media_type_of_suffix(path.suffix), path.read_bytes())  # noqa: ASYNC240 - nothing else runs here
        return await self._run(self._codecs.decode_part(part, self.contract.inputs[0]))

    async def record(self, values: Mapping[str, Any]) -> OutputArray:
        """Answer a record."""
        return await self._run(self._codecs.decode_record(RawRecord(values), self.contract.inputs[0]))

    async def _run(self, decoded: DecodedInput) -> OutputArray:
        inputs = validate(self.contract, [decoded])
        (output,) = (await self._executor.run(inputs, timeout_seconds=60.0)).arrays
        return output


@asynccontextmanager
async def serving(root: Path, settings: Settings) -> AsyncIterator[Served]:
    """Serve a bundle in a process of its own."""
    staging = Staging(settings.runtime.staging_dir)
    executor = ProcessExecutor(open_bundle(root), settings.runtime, staging)
    try:
        yield Served(executor, await executor.load(), Codecs(settings.limits))
    finally:
        await executor.close()
        staging.close()


def rows_of(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the name and the numbers of each row of a bundle's own predictions.csv."""
    with path.open(newline="") as stream:
        for name, *values in csv.reader(stream):
            yield Path(name).name, np.array(values, dtype=np.float32)


def app(name: str) -> Path:
    """Return a bundle of apps/, or skip where it has not been trained here."""
    if (
        not (APPS / name / "models" / "model.pt").is_file()
        or not (APPS / name / "configs" / "inference.json").is_file()
    ):
        pytest.skip(f"apps/{name} has no weights yet: train it with its configs/train.json")
    return APPS / name


async def compare_masks(root: Path, volumes: Path, settings: Settings, tmp_path: Path) -> None:
    """Compare every mask that MONAI writes with the served one."""
    written = run_by_monai(root, volumes, tmp_path / "eval")
    labels: set[int] = set()
    async with serving(root, settings) as served:
        for path in sorted(volumes.iterdir()):  # noqa: ASYNC240 - nothing else runs here
            (reference,) = written.rglob(f"{path.name.partition('.')[0]}_*.nii.gz")
            expected = nibabel.load(reference)
            output = await served.file(path)
            assert output.affine is not None
            assert output.array.dtype == expected.get_data_dtype() == np.uint8
            np.testing.assert_array_equal(output.array, np.asanyarray(expected.dataobj), err_msg=path.name)
            np.testing.assert_allclose(output.affine, expected.affine, atol=1e-5)
            np.testing.assert_allclose(output.affine, nibabel.load(path).affine, atol=1e-4)
            labels |= set(np.unique(output.array).tolist())
    assert len(labels) > 1  # an empty mask equals an empty mask


async def compare_pictures(root: Path, pictures: Path, settings: Settings, tmp_path: Path) -> None:
    """Compare every row of MONAI's predictions.csv with the served probabilities."""
    rows = dict(rows_of(run_by_monai(root, pictures, tmp_path / "eval") / "predictions.csv"))
    assert len(rows) == 3
    async with serving(root, settings) as served:
        for name, expected in rows.items():
            output = await served.file(pictures / name)
            np.testing.assert_array_max_ulp(output.array, expected, maxulp=2)


async def test_the_small_volume_bundle_answers_as_monai_writes(
    bundles: Path, volumes: Path, settings: Settings, tmp_path: Path
) -> None:
    """Orientation, spacing and their inversion, on every kind of volume."""
    await compare_masks(bundles / "volume_segmentation", volumes, settings, tmp_path)


@pytest.mark.slow
async def test_hippocampus_mr_answers_as_monai_writes(volumes: Path, settings: Settings, tmp_path: Path) -> None:
    """The trained 3-D segmentation."""
    await compare_masks(app("hippocampus_mr"), volumes, settings, tmp_path)


@pytest.mark.slow
async def test_the_small_plane_bundle_answers_as_monai_writes(
    bundles: Path, pictures: Path, settings: Settings, tmp_path: Path
) -> None:
    """Grey, colour and alpha, of any size."""
    await compare_pictures(bundles / "plane_classification", pictures, settings, tmp_path)


@pytest.mark.slow
async def test_chest_xray_pneumonia_answers_as_monai_writes(pictures: Path, settings: Settings, tmp_path: Path) -> None:
    """The trained 2-D classification."""
    await compare_pictures(app("chest_xray_pneumonia"), pictures, settings, tmp_path)


async def test_heart_disease_answers_as_monai_writes(settings: Settings, tmp_path: Path) -> None:
    """The trained tabular model, with missing values; MONAI runs the rows as one batch."""
    root = app("heart_disease")
    rows: list[list[float | None]] = [
        [63, 1, 1, 145, 233, 1, 2, 150, 0, 2.3, 3, 0, 6],
        [67, 1, 4, 160, 286, 0, 2, 108, 1, 1.5, 2, 3, 3],
        [41, 0, 2, 130, 204, 0, 2, 172, 0, 1.4, 1, None, None],
    ]
    data = tmp_path / "data"
    data.mkdir()
    lines = [",".join("?" if value is None else str(value) for value in [*row, 0]) for row in rows]
    (data / "processed.cleveland.data").write_text("\n".join(lines) + "\n")
    written = [values for _, values in rows_of(run_by_monai(root, data, tmp_path / "eval") / "predictions.csv")]
    async with serving(root, settings) as served:
        names = [feature.name for feature in served.contract.inputs[0].features]
        for row, expected in zip(rows, written, strict=True):
            output = await served.record(dict(zip(names, row, strict=True)))
            np.testing.assert_allclose(output.array, expected, rtol=1e-5, atol=1e-8)
