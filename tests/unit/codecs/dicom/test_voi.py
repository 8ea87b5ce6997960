"""Grey values as a viewer shows them, against the formulas of PS3.3 §C.11 worked out by hand."""

from typing import Any

import numpy as np
import pydicom
import pytest
from tests.unit.codecs.dicom.cases import MAKE, picture, read_picture

from bedside.errors import InvalidTag, MissingTag

TWELVE = {"BitsStored": 12, "HighBit": 11}


def shown(values: list[int], dtype: Any = np.uint16, **attributes: Any) -> list[int]:
    """Return the picture of one row of stored values."""
    pixels = np.array([values], dtype)
    image = picture(read_picture([MAKE.radiograph(pixels, **attributes)])[0])
    assert image.shape == (1, len(values))
    found: list[int] = image[0].tolist()
    return found


def table(entries: list[int], first: int, bits: int, keyword: str = "VOILUTSequence", vr: str = "US") -> dict[str, Any]:
    """Return a LUT as an attribute."""
    item = pydicom.Dataset()
    count = len(entries) % 65536
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [count, first, bits])
    data: Any = entries
    if vr == "OW":
        data = np.array(entries, "u1" if bits == 8 else "<u2").tobytes()
        data += bytes(len(data) % 2)
    item.add_new("LUTData", vr, data)
    return {keyword: [item], "WindowCenter": None, "WindowWidth": None}


def test_without_a_window_the_header_tells_the_range() -> None:
    """12 bits stored: 0 is black, 4095 white, whatever the pixels are."""
    assert shown([0, 2048, 4095], **TWELVE, WindowCenter=None, WindowWidth=None) == [0, 128, 255]


def test_signed_values_have_their_own_range() -> None:
    """-2048 is black."""
    signed = {**TWELVE, "WindowCenter": None, "WindowWidth": None}
    assert shown([-2048, 0, 2047], np.int16, **signed) == [0, 128, 255]


def test_monochrome1_is_inverted() -> None:
    """The least value is shown white (PS3.3 §C.7.6.3.1.2)."""
    plain = shown([0, 1024, 4095], **TWELVE, WindowCenter=None, WindowWidth=None)
    inverted = shown(
        [0, 1024, 4095],
        **TWELVE,
        WindowCenter=None,
        WindowWidth=None,
        PhotometricInterpretation="MONOCHROME1",
        PresentationLUTShape="INVERSE",
    )
    assert inverted == [255 - value for value in plain] == [255, 191, 0]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # x <= c - 0.5 - (w-1)/2 is black, > c - 0.5 + (w-1)/2 white, else ((x - c + 0.5) / (w-1) + 0.5): §C.11.2.1.2.1
        (None, [0, 0, 85, 170, 255, 255]),
        ("LINEAR", [0, 0, 85, 170, 255, 255]),
        # x <= c - w/2 is black, > c + w/2 white, else (x - c) / w + 0.5: §C.11.2.1.3.2
        ("LINEAR_EXACT", [0, 0, 64, 128, 191, 255]),
        # 1 / (1 + exp(-4 (x - c) / w)): §C.11.2.1.3.1
        ("SIGMOID", [5, 30, 69, 128, 186, 225]),
    ],
)
def test_window_functions(function: str | None, expected: list[int]) -> None:
    """Centre 100, width 4, at 97 to 102 (SIGMOID: at 96, 98 … with width 4), each by its formula."""
    values = [96, 98, 99, 100, 101, 102]
    assert shown(values, WindowCenter=100, WindowWidth=4, VOILUTFunction=function) == expected


def test_sigmoid_by_hand() -> None:
    """At centre and at centre ± width: 1/2, 1/(1+e^-4), 1/(1+e^4); far away nothing overflows."""
    values = shown([0, 60, 100, 140, 65535], WindowCenter=100, WindowWidth=40, VOILUTFunction="SIGMOID")
    by_hand = [255 / (1 + np.exp(-4 * (value - 100) / 40)) for value in (0, 60, 100, 140)]
    assert values == [*(int(value + 0.5) for value in by_hand), 255]


def test_a_window_of_one_is_a_threshold() -> None:
    """LINEAR, width 1: black up to centre - 0.5, white above (§C.11.2.1.2.1)."""
    assert shown([99, 100, 101], WindowCenter=100.5, WindowWidth=1) == [0, 0, 255]


def test_the_first_of_several_windows() -> None:
    """They are alternatives (§C.11.2.1.2)."""
    windows = {"WindowCenter": [50, 9], "WindowWidth": [100, 2], "VOILUTFunction": "LINEAR_EXACT"}
    assert shown([0, 50, 100], **windows) == [0, 128, 255]


def test_the_window_is_in_rescaled_values() -> None:
    """Slope 2, intercept -100: stored 50 to 100 is the window 0 to 100."""
    window = {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}
    assert shown([50, 75, 100], RescaleSlope=2, RescaleIntercept=-100, **window) == [0, 128, 255]


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_voi_lut(vr: str) -> None:
    """Below its first value the first entry, above its last the last one (§C.11.2.1.1)."""
    attributes = table([0, 4095, 2048], 10, 12, vr=vr)
    assert shown([0, 10, 11, 12, 4000], **TWELVE, **attributes) == [0, 0, 255, 128, 128]


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_an_8_bit_lut_of_more_than_256_entries(vr: str) -> None:
    """Pydicom's own starts again from 0 at the 257th."""
    attributes = table([number // 4 for number in range(1024)], 0, 8, vr=vr)
    assert shown([0, 255, 256, 511, 1023], **attributes) == [0, 63, 64, 127, 255]


def test_a_lut_of_65536_entries() -> None:
    """Its number of entries is written as 0."""
    assert shown([0, 32768, 65535], **table(list(range(65536)), 0, 16, vr="OW")) == [0, 128, 255]


def test_a_lut_that_begins_below_zero() -> None:
    """Where the values are signed, so is the first value mapped."""
    assert shown([-3, -2, -1, 0], np.int16, **table([0, 128, 255], -2, 8)) == [0, 0, 128, 255]


def test_a_voi_lut_goes_before_a_window() -> None:
    """Where both are there, the LUT says more."""
    attributes = {**table([255, 0], 0, 8), "WindowCenter": 1, "WindowWidth": 2}
    assert shown([0, 1], **attributes) == [255, 0]


def test_modality_lut_then_window() -> None:
    """The Modality LUT takes the place of slope and intercept (§C.11.1)."""
    attributes = table([0, 100, 50], 0, 16, "ModalityLUTSequence")
    window = {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}
    assert shown([0, 1, 2], **{**attributes, **window}) == [0, 255, 128]


def test_modality_lut_alone() -> None:
    """Its bits tell the range."""
    assert shown([0, 1], **table([0, 255], 0, 8, "ModalityLUTSequence")) == [0, 255]


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(interpretation: str) -> None:
    """What lies outside of the image is no part of it (§C.7.5.1.1.2), whichever way the image is stored."""
    attributes = {"WindowCenter": None, "WindowWidth": None, "PhotometricInterpretation": interpretation}
    assert shown([7, 65535, 0], PixelPaddingValue=7, **attributes)[0] == 0


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": 1, "WindowWidth": 0},
        {"WindowCenter": 1, "WindowWidth": 0.5},
        {"WindowCenter": 1, "WindowWidth": -3, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 1, "WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 1, "WindowWidth": 5, "VOILUTFunction": "CUBIC"},
        {"WindowCenter": float("nan"), "WindowWidth": 5},
        {"RescaleSlope": 0},
        {"PresentationLUTShape": "INVERSE"},
        table([1, 2, 300], 0, 8),
        table([1, 2, 3], 0, 4),
        table([1, 2, 3], 0, 17),
    ],
)
def test_what_cannot_be_true_is_refused(attributes: dict[str, Any]) -> None:
    """By the attribute's name; nothing is guessed."""
    with pytest.raises(InvalidTag):
        shown([0, 1, 2], **attributes)


@pytest.mark.parametrize("data", [[1, 2], "text", None])
def test_lut_data_that_are_not_what_is_announced(data: Any) -> None:
    """Another number of entries, or no numbers."""
    attributes = table([1, 2, 3], 0, 8)
    attributes["VOILUTSequence"][0].add_new("LUTData", "LO" if isinstance(data, str) else "US", data)
    with pytest.raises(InvalidTag):
        shown([0, 1, 2], **attributes)


def test_a_lut_without_descriptor() -> None:
    """Its first value and its bits cannot be known."""
    attributes = table([1, 2, 3], 0, 8)
    del attributes["VOILUTSequence"][0].LUTDescriptor
    with pytest.raises(MissingTag):
        shown([0, 1, 2], **attributes)
