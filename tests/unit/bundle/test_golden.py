"""Golden cases: inputs with expected outputs, beside a bundle."""

import importlib.machinery
import importlib.util
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from bedside.bundle.golden import GoldenCase, PackageMissing, dice, read_golden
from bedside.bundle.media_types import media_type_of_suffix
from bedside.errors import InvalidBundle
from bedside.types import OutputArray, RawPart, RawRecord

LABELS = {"pred": {0: "no disease", 1: "disease"}}


def case(folder: Path, *, inputs: Any = None, expected: Any = None) -> GoldenCase:
    """Return a case in a folder."""
    return GoldenCase("case", inputs or {}, expected or {}, folder)


def mask(folder: Path, array: Any) -> Path:
    """Write a mask."""
    path = folder / "mask.nii"
    nibabel.save(nibabel.Nifti1Image(np.asarray(array, np.uint8), np.eye(4)), path)
    return path


def outputs(array: Any) -> dict[str, OutputArray]:
    """Return one output."""
    return {"pred": OutputArray("pred", np.asarray(array))}


def test_a_bundle_without_cases_has_none(tmp_path: Path) -> None:
    """They are optional."""
    assert read_golden(tmp_path) == []


def test_cases_are_read_in_order(tmp_path: Path) -> None:
    """With their folder, where their files lie."""
    (tmp_path / "golden").mkdir()
    content: list[dict[str, object]] = [{"name": name, "inputs": {}, "expected": {}} for name in ("b", "a")]
    (tmp_path / "golden" / "cases.json").write_text(json.dumps(content))
    assert [(c.name, c.folder) for c in read_golden(tmp_path)] == [(n, tmp_path / "golden") for n in ("b", "a")]


@pytest.mark.parametrize("content", ["{", "3", '["case"]', '[{"name": "a"}]', '{"name": "a"}', "\x00"])
def test_a_file_that_is_no_list_of_cases_is_refused(tmp_path: Path, content: str) -> None:
    """The file is named."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "cases.json").write_text(content)
    with pytest.raises(InvalidBundle) as caught:
        read_golden(tmp_path)
    assert caught.value.field == "golden/cases.json"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('[{"name": "a",}]', "is no JSON (line 1, column 15: "),
        (
            '[{"name": "a", "inputs": {}, "expected": {}}, {"name": "b", "input": {}}]',
            "case 2 lacks 'inputs', 'expected'",
        ),
        (
            '[{"name": "a", "inputs": {}, "expected": {"pred": {"file": "mask.nii.gz"}}}]',
            "case 1: expected.pred needs 'file' and 'min_dice', or 'probabilities' and 'tolerance'",
        ),
    ],
)
def test_what_a_case_lacks_is_told(tmp_path: Path, content: str, text: str) -> None:
    """With its number: a name may be what is missing."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "cases.json").write_text(content)
    with pytest.raises(InvalidBundle) as caught:
        read_golden(tmp_path)
    assert text in caught.value.detail


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.nii", "application/x-nifti"),
        ("a.nii.gz", "application/gzip"),
        ("a.PNG", "image/png"),
        ("a.jpeg", "image/jpeg"),
        ("a.npy", "application/x-npy"),
        ("a.unknown", "application/octet-stream"),
    ],
)
def test_the_media_type_follows_the_suffix(name: str, media_type: str) -> None:
    """As a caller would send it."""
    assert media_type_of_suffix(Path(name).suffix) == media_type


def test_a_file_is_an_input(tmp_path: Path) -> None:
    """Its bytes, as they are."""
    (tmp_path / "a.png").write_bytes(b"picture")
    for described in ("a.png", {"file": "a.png"}):  # the second as it stands in what is expected
        assert case(tmp_path, inputs={"image": described}).raw_inputs() == [RawPart("image", "image/png", b"picture")]


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    """As a fault of the bundle, which it is."""
    with pytest.raises(InvalidBundle, match=r"a\.png"):
        case(tmp_path, inputs={"image": "a.png"}).raw_inputs()


def test_a_record_is_an_input(tmp_path: Path) -> None:
    """Named numbers, null where one is missing."""
    assert case(tmp_path, inputs={"features": {"age": 63, "ca": None}}).raw_inputs() == [
        RawRecord({"age": 63, "ca": None})
    ]


@pytest.mark.parametrize(("crop", "shape"), [([[1, 3], [0, 2], [2, 4]], (2, 2, 2)), (None, (4, 4, 4))])
def test_a_crop_of_an_image_in_a_package_is_an_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crop: Any, shape: tuple[int, ...]
) -> None:
    """With the geometry of the crop, for images whose licence does not let us copy them."""
    nibabel.save(nibabel.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4)), tmp_path / "a.nii")
    spec = importlib.machinery.ModuleSpec("made_up", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    described = {"package": "made_up", "path": "a.nii", **({"crop": crop} if crop else {})}
    (part,) = case(tmp_path, inputs={"image": described}).raw_inputs()
    assert isinstance(part, RawPart)
    image = nibabel.Nifti1Image.from_bytes(part.data)
    assert (image.shape, part.media_type) == (shape, "application/x-nifti")
    np.testing.assert_array_equal(image.affine[:3, 3], [1, 0, 2] if crop else [0, 0, 0])


def test_a_package_that_is_not_installed_is_told_with_its_command(tmp_path: Path) -> None:
    """The case is skipped, not failed."""
    with pytest.raises(PackageMissing, match="pip install surely_not_installed"):
        case(tmp_path, inputs={"image": {"package": "surely_not_installed", "path": "a"}}).raw_inputs()


def test_a_mask_as_expected_has_no_differences(tmp_path: Path) -> None:
    """Label by label."""
    array = np.zeros((3, 3, 3), np.uint8)
    array[0], array[1] = 1, 2
    mask(tmp_path, array)
    expected = {"pred": {"file": "mask.nii", "min_dice": 1.0}}
    assert case(tmp_path, expected=expected).differences(outputs(array), {}) == []


def test_each_label_that_overlaps_too_little_is_told(tmp_path: Path) -> None:
    """A label that nobody expected counts too."""
    array = np.zeros((3, 3, 3), np.uint8)
    array[0], array[1] = 1, 2
    mask(tmp_path, array)
    other = array.copy()
    other[1], other[2] = 0, 3
    expected = {"pred": {"file": "mask.nii", "min_dice": 0.9}}
    found = case(tmp_path, expected=expected).differences(outputs(other), {})
    assert [text.split(",")[0] for text in found] == [
        "pred: Dice of label 2 is 0.0000",
        "pred: Dice of label 3 is 0.0000",
    ]


def test_another_shape_is_told(tmp_path: Path) -> None:
    """Instead of an error of NumPy's."""
    mask(tmp_path, np.zeros((3, 3, 3)))
    expected = {"pred": {"file": "mask.nii", "min_dice": 0.9}}
    found = case(tmp_path, expected=expected).differences(outputs(np.zeros((2, 2, 2))), {})
    assert found == ["pred: shape (2, 2, 2), expected (3, 3, 3)"]


@pytest.mark.parametrize(
    ("values", "remarks"),
    [
        ([0.7, 0.3], 0),
        ([0.705, 0.295], 0),
        ([0.6, 0.4], 2),
        ([float("nan"), 0.3], 1),
    ],
)
def test_probabilities_are_compared_within_their_tolerance(tmp_path: Path, values: list[float], remarks: int) -> None:
    """By the name of the class; NaN is never as expected."""
    expected = {"pred": {"probabilities": {"no disease": 0.7, "disease": 0.3}, "tolerance": 0.01}}
    assert len(case(tmp_path, expected=expected).differences(outputs(values), LABELS)) == remarks


def test_a_class_or_output_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Renaming a class is a difference."""
    expected = {"pred": {"probabilities": {"flu": 0.7}, "tolerance": 0.01}, "other": {}}
    found = case(tmp_path, expected=expected).differences(outputs([0.7, 0.3]), LABELS)
    assert found == ["pred: probability of flu is nan, expected 0.7 ± 0.01", "other: no such output"]


def test_dice_of_a_label_in_neither_is_one() -> None:
    """And of the same mask, and half of it."""
    full, half = np.ones((2, 2)), np.array([[1, 1], [0, 0]])
    assert (dice(full, full, 2), dice(full, full, 1)) == (1.0, 1.0)
    assert dice(full, half, 1) == pytest.approx(2 / 3)


def test_cases_nested_beyond_the_parser_are_refused(tmp_path: Path) -> None:
    """A sentence, not a stack trace."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "cases.json").write_text("[" * 100_000)
    with pytest.raises(InvalidBundle, match="list of cases"):
        read_golden(tmp_path)
