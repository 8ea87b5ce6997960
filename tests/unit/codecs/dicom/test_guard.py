"""Every defect has a name, and nothing of the patient is in what is told about it."""

import logging
import tracemalloc
from typing import Any

import pytest
from tests.unit.codecs.dicom.cases import MAKE, read

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom import read_series
from bedside.errors import DicomRefused, RequestError
from bedside.settings import LimitSettings
from bedside.transports.rest.problems import problem_reply

POLICY: dict[str, Any] = {"modality": "CT", "body_part": ("HEAD", "CHEST")}


def refusal(name: str, **policy: Any) -> DicomRefused:
    """Return what is said about a defective series."""
    _, make = MAKE.DEFECTS[name]
    with pytest.raises(DicomRefused) as caught:
        read(make(), **{**POLICY, **policy})
    return caught.value


@pytest.mark.parametrize("name", MAKE.DEFECTS)
def test_every_defect_is_refused_by_its_name(name: str) -> None:
    """The reason is the one that the script says."""
    error = refusal(name)
    assert error.reason() == MAKE.DEFECTS[name][0]
    assert error.field == "image"


@pytest.mark.parametrize("name", MAKE.DEFECTS)
def test_refusals_tell_nothing_of_the_patient(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error, its causes, its answer nor any log line repeats what stood in the files."""
    with caplog.at_level(logging.DEBUG):
        error = refusal(name)
    told = f"{error!r} {error} {error.__cause__!r} {problem_reply(error, 'id').body!r} {caplog.text}"
    assert not [secret for secret in MAKE.SECRETS if secret in told]


def test_every_reason_has_a_case() -> None:
    """A reason that no defect leads to would be untested; these need other files than a series (test_radiograph)."""
    reasons = {leaf.reason() for leaf in DicomRefused.__subclasses__()}
    elsewhere = {"not-dicom", "no-matching-series", "multi-frame", "non-square-pixels"}
    elsewhere.add("unexpected-orientation")
    assert reasons - elsewhere == {reason for reason, _ in MAKE.DEFECTS.values()}


def test_the_instances_at_fault_are_told() -> None:
    """Both sides of a gap; the one that differs; the ones at the same place."""
    series = MAKE.SERIES
    assert set(refusal("missing_slice").instances) == {f"{series}.2", f"{series}.3"}
    assert refusal("mixed_orientation").instances == (f"{series}.3",)
    assert set(refusal("duplicate_position").instances) == {f"{series}.2", f"{series}.3"}
    assert refusal("rows_lie").instances != ()


def test_uids_are_for_the_caller_alone() -> None:
    """They stand in the problem, not in the text, which a log might take."""
    error = refusal("missing_slice")
    assert MAKE.SERIES not in f"{error} {error!r}"
    assert f"{MAKE.SERIES}.2".encode() in problem_reply(error, "id").body


@pytest.mark.parametrize("name", ["rows_lie", "frames_lie", "frames_of_multiframe_lie"])
def test_a_lying_header_allocates_nothing(name: str) -> None:
    """What the header promises is checked against the file before there is room for it."""
    files = MAKE.files(MAKE.DEFECTS[name][1]())
    tracemalloc.start()
    try:
        with pytest.raises(RequestError):
            read_series(files, DicomPolicy(), LimitSettings())  # which would allow gigabytes
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_missing_slice_is_never_invented() -> None:
    """Interpolation may move slices; it may not make anatomy that nobody scanned."""
    assert refusal("missing_slice", resample=("uneven-spacing", "gantry-tilt")).reason() == "missing-slice"


def test_rounded_positions_are_no_defect() -> None:
    """Scanners round to a hundredth of a millimetre and less."""
    made = MAKE.series((0.0, 1.004, 1.998, 3.001))
    made[1].ImagePositionPatient[0] += 0.01
    image, _ = read(made)
    assert image.shape[2] == 4
