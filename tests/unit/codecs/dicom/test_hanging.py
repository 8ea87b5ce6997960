"""Radiographs that were stored lying on their side or mirrored: refused, turned exactly, or taken as they are."""

import gzip
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from tests.unit.codecs.dicom.cases import MAKE, picture, read_picture

from bedside.bundle.contract import Contract, InputSpec, OutputSpec
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs import Answers
from bedside.codecs.nifti import read_nifti
from bedside.codecs.turning import Turn, inputs_as_sent, results_as_sent
from bedside.errors import DicomRefused, InvalidTag, UnexpectedOrientation
from bedside.types import OutputArray, Prediction, ValidatedInputs

UPRIGHT = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
"""A chest as it hangs: rows run to the patient's left, columns to the feet."""

STORED: dict[str, tuple[str, NDArray[Any]]] = {
    "upright": ("L\\F", UPRIGHT),
    "mirrored": ("R\\F", UPRIGHT[:, ::-1]),
    "upside_down": ("L\\H", UPRIGHT[::-1]),
    "turned_by_half": ("R\\H", UPRIGHT[::-1, ::-1]),
    "turned_to_the_left": ("F\\R", np.rot90(UPRIGHT)),
    "turned_to_the_right": ("H\\L", np.rot90(UPRIGHT, -1)),
    "transposed": ("F\\L", UPRIGHT.T),
    "transposed_about_the_other_diagonal": ("H\\R", UPRIGHT[::-1, ::-1].T),
}
"""By defect: Patient Orientation, and the pixels as they were stored."""


def stored(name: str, **attributes: Any) -> Any:
    """Return the chest as it was stored."""
    orientation, pixels = STORED[name]
    return MAKE.radiograph(
        np.ascontiguousarray(pixels), **{"PatientOrientation": orientation.split("\\"), **attributes}
    )


def upright() -> NDArray[Any]:
    """Return the picture that every one of them is."""
    shown: NDArray[Any] = picture(read_picture([stored("upright")])[0])
    return shown


@pytest.mark.parametrize("name", STORED)
def test_each_way_to_lie_is_turned_to_the_same_picture(name: str) -> None:
    """Pixel by pixel: nothing is interpolated."""
    image, source = read_picture([stored(name)], orientation="turn")
    np.testing.assert_array_equal(picture(image), upright())
    assert image.shape == (4, 3)
    assert (source.turn is None) == (name == "upright")


@pytest.mark.parametrize("name", [name for name in STORED if name != "upright"])
def test_what_hangs_in_another_way_is_refused(name: str) -> None:
    """Unless the bundle says otherwise: nobody knows whether its model bears it."""
    with pytest.raises(UnexpectedOrientation) as caught:
        read_picture([stored(name)])
    assert (caught.value.field, caught.value.instances) == ("image", (f"{MAKE.SERIES}.1",))


@pytest.mark.parametrize("name", STORED)
def test_a_bundle_may_take_everything_as_it_is_stored(name: str) -> None:
    """As models do that were trained so."""
    image, source = read_picture([stored(name)], orientation="keep")
    assert image.shape == STORED[name][1].shape[::-1]
    assert source.turn is None


REFUSED: dict[str, tuple[type[DicomRefused], Any, dict[str, Any]]] = {
    "one_direction": (InvalidTag, "L", {}),
    "the_same_axis_twice": (InvalidTag, ["L", "R"], {}),
    "no_letters_of_a_biped": (InvalidTag, ["LE", "CR"], {}),
    "a_name": (InvalidTag, ["Doe", "Jane"], {}),
    "three": (InvalidTag, ["L", "F", "A"], {}),
    "half_stated": (InvalidTag, ["L", ""], {}),
    "a_lateral_that_calls_itself_pa": (UnexpectedOrientation, ["A", "F"], {}),
    "a_lateral_that_is_to_be_turned": (UnexpectedOrientation, ["A", "F"], {"orientation": "turn"}),
    "unstated": (UnexpectedOrientation, None, {"orientation_unstated": "refuse"}),
    "empty": (UnexpectedOrientation, "", {"orientation_unstated": "refuse", "orientation": "turn"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_hung(name: str) -> None:
    """Each by its reason; what stood in the tag is not repeated."""
    error, orientation, policy = REFUSED[name]
    with pytest.raises(error) as caught:
        read_picture([stored("upright", PatientOrientation=orientation)], **policy)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("orientation", [None, "", ["", ""]])
def test_what_says_nothing_is_taken_as_it_is(orientation: Any) -> None:
    """Many CR images leave it empty (type 2); no way to hang is assumed, and none is turned."""
    for rule in ("refuse", "turn"):
        image, source = read_picture([stored("transposed", PatientOrientation=orientation)], orientation=rule)
        assert (image.shape, source.turn) == ((3, 4), None)


@pytest.mark.parametrize(
    "attributes",
    [{"BodyPartExamined": "HAND"}, {"ViewPosition": "LL"}, {"ViewPosition": None}, {"BodyPartExamined": None}],
)
def test_of_what_has_no_usual_way_nothing_is_expected(attributes: dict[str, Any]) -> None:
    """A hand may point up or down; only the bundle knows how its own hung."""
    image, _ = read_picture([stored("turned_by_half", **attributes)])
    np.testing.assert_array_equal(picture(image), upright()[::-1, ::-1])


def test_a_model_for_chests_expects_one_where_the_image_names_no_body_part() -> None:
    """Body Part Examined is optional; View Position says that it is frontal."""
    with pytest.raises(UnexpectedOrientation):
        read_picture([stored("mirrored", BodyPartExamined=None)], body_part=("CHEST",))


def test_a_bundle_may_expect_another_way() -> None:
    """Hands with their fingers up, of which a few are stored with their fingers down; oblique by a little."""
    hand = {"BodyPartExamined": "HAND", "ViewPosition": "PA"}
    rules: dict[str, Any] = {"hanging": ("L", "H"), "orientation": "turn"}
    image, _ = read_picture([stored("upright", **hand, PatientOrientation=["LF", "FRA"])], **rules)
    np.testing.assert_array_equal(picture(image), upright()[::-1])


@pytest.mark.parametrize("hanging", [["L", "R"], ["F", "F"], ["L"], ["L", "X"]])
def test_no_way_to_hang(hanging: Any) -> None:
    """Two directions at right angles, by their letters."""
    with pytest.raises(ValidationError):
        DicomPolicy(hanging=hanging)


turns = st.builds(Turn, st.booleans(), st.booleans(), st.booleans())


@given(turns, st.integers(1, 4), st.integers(1, 4))
def test_what_is_turned_can_be_turned_back(turn: Turn, rows: int, columns: int) -> None:
    """Bit for bit, with channels or without."""
    pixels = np.arange(rows * columns * 2).reshape(rows, columns, 2)
    np.testing.assert_array_equal(turn.undone(turn.applied(pixels)), pixels)
    np.testing.assert_array_equal(turn.undone(turn.applied(pixels[..., 0])), pixels[..., 0])


SPEC = InputSpec("image", "image", ("application/dicom",), 2)
MASK = OutputSpec("mask", "segmentation", labels={0: "background", 1: "lung"}, like_input="image")
CONTRACT = Contract("lungs", "1", "sha256:0", "", "", (SPEC,), (MASK, OutputSpec("x", "tensor")), {})


@pytest.mark.parametrize("name", STORED)
def test_a_mask_lies_as_the_image_that_was_sent(name: str) -> None:
    """In the file and under the overlay; what is not on the picture's grid stays as the model made it."""
    image, _ = read_picture([stored(name)], orientation="turn")
    seen = picture(image)
    found = np.ascontiguousarray((seen > 100).astype(np.uint8).T)  # the model's answer, columns first
    other = OutputArray("x", np.arange(3.0))
    inputs, prediction = ValidatedInputs((image,)), Prediction((OutputArray("mask", found), other))
    data = Answers().encode("application/gzip", CONTRACT, inputs, prediction).body
    mask = np.squeeze(read_nifti(gzip.decompress(data)))
    as_stored = picture(read_picture([stored(name)], orientation="keep")[0])
    np.testing.assert_array_equal(mask.T, as_stored > 100)
    sent, laid = inputs_as_sent(inputs), results_as_sent(CONTRACT, inputs, prediction)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(sent.items[0].payload))), as_stored)  # type: ignore[union-attr]
    assert laid.arrays[1] is other
    bare = inputs_as_sent(Answers().needed("application/json", CONTRACT, inputs)).items[0]
    assert (bare.payload, bare.shape) == (b"", sent.items[0].shape)  # type: ignore[union-attr]
