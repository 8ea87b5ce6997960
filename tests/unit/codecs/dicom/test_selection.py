"""Which series of a study is meant, and what is said where that is not clear."""

from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.codecs.dicom.cases import MAKE, read

from bedside.bundle.dicom_policy import DicomPolicy, SeriesRule
from bedside.errors import AmbiguousSeries, DicomRefused, NoMatchingSeries, UnsupportedSopClass, WrongModality


def study(**second: Any) -> Any:
    """Return a study with two CT series, numbered 5 and 6; ``second`` changes the latter."""
    made = MAKE.DEFECTS["two_series"][1]()
    for dataset in made[4:]:
        for keyword, value in second.items():
            MAKE.change(dataset, keyword, value)
    return made


def chosen(made: Any, *rules: dict[str, Any], **policy: Any) -> str:
    """Return the UID of the series that was taken."""
    _, source = read(made, series=tuple(SeriesRule(**rule) for rule in rules), **policy)
    return source.series


SECOND = f"{MAKE.ROOT}.9"


@pytest.mark.parametrize(
    ("second", "rule"),
    [
        ({"SeriesDescription": "T1 post"}, {"description": "^t1"}),
        ({"BodyPartExamined": "HEAD"}, {"body_part": ["head", "neck"]}),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, {"orientation": "sagittal"}),
        ({"Modality": "MR", "SOPClassUID": MAKE.MR}, {"modality": "MR"}),
    ],
    ids=["description", "body_part", "orientation", "modality"],
)
def test_rules_find_by_what_they_name(second: dict[str, Any], rule: dict[str, Any]) -> None:
    """Each kind of rule, alone."""
    made = study(**second)
    if "ImageOrientationPatient" in second:
        for number, dataset in enumerate(made[4:]):
            dataset.ImagePositionPatient = [float(number), 0, 0]
    assert chosen(made, rule) == SECOND


def test_counts_choose() -> None:
    """A scout of three slices beside a series of four."""
    made = study()[:-1]
    assert chosen(made, {"min_instances": 4}) == MAKE.SERIES
    assert chosen(made, {"max_instances": 3}) == SECOND


def test_the_first_rule_that_matches_decides() -> None:
    """Later rules are asked only where earlier ones match nothing."""
    made = study(SeriesDescription="thin")
    assert chosen(made, {"description": "none"}, {"description": "thin"}, {"modality": "CT"}) == SECOND


def test_rules_of_another_input_are_not_asked() -> None:
    """A bundle with two inputs has rules for each."""
    made = study(SeriesDescription="thin")
    assert chosen(made, {"input": "label", "modality": "CT"}, {"input": "image", "description": "thin"}) == SECOND


def test_candidates_are_named_by_number() -> None:
    """Numbers are the scanner's; descriptions are free text, and people write names into them."""
    with pytest.raises(AmbiguousSeries) as caught:
        chosen(study(), {"modality": "CT"})
    assert caught.value.detail == "series 5, series 6 could be meant"
    assert len(caught.value.instances) == 2


def test_a_series_without_number_is_named_by_its_place() -> None:
    """Whatever stands in Series Number, only digits are repeated."""
    with pytest.raises(AmbiguousSeries) as caught:
        chosen(study(SeriesNumber=None))
    assert "series without number" in caught.value.detail


def test_no_rule_matches() -> None:
    """What came is named, and where the rules stand."""
    with pytest.raises(NoMatchingSeries, match=r"series 5") as caught:
        chosen(MAKE.series(), {"modality": "PT"})
    assert "dicom.series" in caught.value.detail


def test_a_chosen_series_must_still_suit_the_model() -> None:
    """A rule that is too wide does not open the model to another modality."""
    with pytest.raises(WrongModality):
        chosen(MAKE.mr(), {"description": ".*"}, modality="CT")


def test_the_modality_chooses_where_there_are_no_rules() -> None:
    """A CT beside an MR, and a model for MR."""
    made = study(Modality="MR", SOPClassUID=MAKE.MR, RescaleType="US")
    assert chosen(made, modality="MR") == SECOND


def test_a_scout_of_its_own_is_no_candidate() -> None:
    """Every CT study has one."""
    assert chosen(study(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])) == MAKE.SERIES


def test_reports_and_pictures_of_the_study_are_left_aside() -> None:
    """A study from an archive holds more than images of slices."""
    assert chosen(study(SOPClassUID=MAKE.uids.SecondaryCaptureImageStorage)) == MAKE.SERIES
    with pytest.raises(UnsupportedSopClass):
        read(MAKE.series(SOPClassUID=MAKE.uids.BasicTextSRStorage))


def test_an_absent_body_part_is_no_contradiction() -> None:
    """Body Part Examined is optional in CT and MR."""
    image, _ = read(MAKE.series(), body_part=("HEAD",))
    assert image.shape == (4, 5, 4)


def test_orientation_of_an_enhanced_object() -> None:
    """It stands in the functional groups there; where it stands nowhere, no plane matches."""
    _, source = read(MAKE.enhanced(), series=(SeriesRule(orientation="axial"),))
    assert source.series == MAKE.SERIES
    with pytest.raises(DicomRefused):
        read(MAKE.series(ImageOrientationPatient=None), series=(SeriesRule(orientation="axial"),))


def test_a_rule_that_is_no_regular_expression() -> None:
    """Told when the bundle is read, not when a patient waits."""
    with pytest.raises(ValidationError, match="regular expression"):
        DicomPolicy.model_validate({"series": [{"description": "("}]})
