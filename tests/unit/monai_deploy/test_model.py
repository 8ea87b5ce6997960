"""A bundle asked without a server: what an application's operators do, without the SDK."""

import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.unit.codecs.dicom.cases import MAKE

from bedside.errors import ConfigurationError, LoadFailed, MissingSlice, NotAdmitted, PayloadTooLarge, UnknownInput
from bedside.monai_deploy.model import LocalModel, ResultFile, bundle_in, read_folder
from bedside.settings import LimitSettings, RuntimeSettings, Settings

pydicom = pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")

LIMITS = LimitSettings()


@pytest.fixture(scope="module")
def model(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModel]:
    """Return a segmentation model, opened once for many inputs, as an application keeps it."""
    runtime = RuntimeSettings(device="cpu", staging_dir=tmp_path_factory.mktemp("staging"), forecast_seconds=0)
    with LocalModel(bundles / "volume_segmentation", Settings(env="test", runtime=runtime)) as opened:
        yield opened


def study(folder: Path, heights: object = range(12)) -> Path:
    """Write a made-up CT series as a gateway would: below folders, with its JSON headers."""
    files = MAKE.files(MAKE.series(heights, rows=16, columns=14))
    for number, data in enumerate(files):
        path = folder / "1.2.3" / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.with_suffix(".dcm.json").write_text("{}")
    return folder


def test_dicom_is_answered_with_dicom(model: LocalModel, tmp_path: Path) -> None:
    """A Segmentation and a Structured Report, in the study of the series, named after what they are."""
    results = model.answer(read_folder(study(tmp_path), LIMITS))
    assert [result.name for result in results] == ["segmentation.dcm", "report.dcm"]
    for result in results:
        assert pydicom.dcmread(io.BytesIO(result.data)).StudyInstanceUID == MAKE.STUDY


def test_a_file_is_answered_as_the_service_prefers(model: LocalModel, tmp_path: Path) -> None:
    """A NIfTI volume with a NIfTI mask on the same grid; what the caller called it is not repeated."""
    volume = nibabel.Nifti1Image(np.arange(4096, dtype=np.float32).reshape(16, 16, 16), np.diag([2.0, 2, 2, 1]))
    (tmp_path / "Doe^Jane.nii.gz").write_bytes(gzip.compress(volume.to_bytes()))
    (result,) = model.answer(read_folder(tmp_path, LIMITS))
    assert result.name == "result.nii.gz"
    mask = nibabel.Nifti1Image.from_bytes(gzip.decompress(result.data))
    np.testing.assert_array_equal(mask.affine, volume.affine)
    assert mask.shape == (16, 16, 16)


def test_a_series_with_a_hole_is_refused_and_the_next_one_answered(model: LocalModel, tmp_path: Path) -> None:
    """The geometry guard is the service's; a refusal costs nothing but itself."""
    with pytest.raises(MissingSlice):
        model.answer(read_folder(study(tmp_path / "bad", [*range(6), *range(7, 12)]), LIMITS))
    assert model.answer(read_folder(study(tmp_path / "good"), LIMITS))


def test_the_applications_file_stays_out_of_the_models_process(model: LocalModel) -> None:
    """While the model starts, multiprocessing finds no main module to import; afterwards everything is as it was."""
    main = sys.modules["__main__"]
    before = getattr(main, "__file__", None), main.__spec__
    seen = []

    async def look() -> None:
        seen.append((main.__file__, main.__spec__))

    model._run(look())
    assert seen == [(None, None)]
    assert (getattr(main, "__file__", None), main.__spec__) == before


def test_a_bundle_with_several_inputs_is_no_application(bundles: Path, settings: Settings, tmp_path: Path) -> None:
    """One folder is one input."""
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8b")
    with LocalModel(bundles / "image_with_mask", settings) as model, pytest.raises(UnknownInput) as refused:
        model.answer(read_folder(tmp_path, LIMITS))
    assert refused.value.field == "input"


def test_admission_comes_first(bundles: Path, settings: Settings) -> None:
    """A bundle with code of its own is not loaded, whoever starts it."""
    with pytest.raises(NotAdmitted), LocalModel(bundles / "scripts_adding_one", settings):
        pass


def test_a_bundle_that_cannot_be_built_says_why(bundles: Path, settings: Settings) -> None:
    """As it would for the service."""
    with pytest.raises(LoadFailed), LocalModel(bundles / "missing_weights", settings):
        pass


def test_a_study_is_one_archive_without_names(tmp_path: Path) -> None:
    """Whatever the files are called."""
    part = read_folder(study(tmp_path), LIMITS)
    assert (part.name, part.media_type) == (None, "application/zip")
    assert b"1.2.3/" not in part.data


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.png", "image/png"),
        ("a.json", "application/json"),
        ("a.dcm", "application/dicom"),
        ("1.2.3", "application/zip"),
    ],
)
def test_one_file_is_what_its_suffix_says(tmp_path: Path, name: str, media_type: str) -> None:
    """Without one that is known it may still be DICOM, whose files often have none."""
    (tmp_path / name).write_bytes(b"x")
    assert read_folder(tmp_path, LIMITS).media_type == media_type


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    """Nothing but what is left out counts as nothing; so does a folder that is not there."""
    (tmp_path / "DICOMDIR").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigurationError) as refused:
            read_folder(folder, LIMITS)
        assert refused.value.field == "input"


def test_a_folder_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    """The bound is that of a request's body."""
    study(tmp_path)
    with pytest.raises(PayloadTooLarge):
        read_folder(tmp_path, LimitSettings(body_bytes=100))


def test_the_first_place_with_a_bundle_wins(bundles: Path, tmp_path: Path) -> None:
    """The model path of the host, else the folder of the application; a ``models/`` of weights alone is neither."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"")
    assert bundle_in(tmp_path / "models", bundles / "volume_segmentation") == bundles / "volume_segmentation"
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "ct").symlink_to(bundles / "volume_segmentation")
    assert bundle_in(packed, bundles / "plane_classification") == packed / "ct"


def test_no_bundle_or_several_are_told(bundles: Path, tmp_path: Path) -> None:
    """Nobody guesses which one is meant."""
    for places in ((tmp_path,), (bundles, tmp_path)):
        with pytest.raises(ConfigurationError) as refused:
            bundle_in(*places)
        assert refused.value.field == "model"


def test_a_result_shows_no_data() -> None:
    """Its repr is its name."""
    assert repr(ResultFile("report.dcm", b"Doe")) == "ResultFile(name='report.dcm')"
