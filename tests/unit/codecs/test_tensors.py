"""Open Inference Protocol tensors in: every way to be wrong gets its name, both forms give the same input."""

import base64
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bedside.bundle.contract import (
    PLANE_MEDIA_TYPES,
    VOLUME_MEDIA_TYPES,
    FeatureSpec,
    InputSpec,
)
from bedside.codecs import Codecs
from bedside.codecs.elements import NUMPY_OF, read_bytes, read_numbers
from bedside.codecs.nifti import read_nifti
from bedside.codecs.plane import encode_png
from bedside.errors import (
    BadParameter,
    BedsideError,
    DecompressedTooLarge,
    MalformedPayload,
    MissingFeature,
    MissingInput,
    NonFiniteValue,
    PayloadTooLarge,
    UnknownInput,
    UnsupportedMediaType,
    WrongDatatype,
    WrongShape,
)
from bedside.settings import LimitSettings
from bedside.types import DecodedArray, DecodedImage, DecodedRecord, DecodedValue, RawTensor

VOLUME = InputSpec("scan", "image", VOLUME_MEDIA_TYPES, 3)
PLANE = InputSpec("scan", "image", PLANE_MEDIA_TYPES, 2)
ANY = InputSpec("scan", "image")
RECORD = InputSpec("patient", "record", features=(FeatureSpec("age"), FeatureSpec("thal", nullable=True)))
ONES = np.ones((2, 3, 4), "<f4").tobytes()
MM = {"spacing": [1, 2, 3]}


def image(codecs: Codecs, tensor: RawTensor, spec: InputSpec = VOLUME) -> DecodedImage:
    """Decode the one image of a request."""
    [[decoded]] = codecs.decode_tensors([tensor], [spec])
    assert isinstance(decoded, DecodedImage)
    return decoded


def records(codecs: Codecs, *tensors: RawTensor) -> list[list[float]]:
    """Decode the rows of a request."""
    rows = codecs.decode_tensors(tensors, [RECORD])
    assert all(isinstance(item, DecodedRecord) for row in rows for item in row)
    return [row[0].values.tolist() for row in rows if isinstance(row[0], DecodedRecord)]


@given(
    array=st.sampled_from(sorted(NUMPY_OF)).flatmap(
        lambda datatype: st.tuples(
            st.just(datatype),
            hnp.arrays(
                NUMPY_OF[datatype],
                hnp.array_shapes(max_dims=4, max_side=4),
                elements={"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else None,
            ),
        )
    )
)
def test_any_numbers_survive_both_forms(array: tuple[str, Any]) -> None:
    """Binary, flat JSON and nested JSON give the same array."""
    datatype, values = array
    for data in (values.tobytes(), values.ravel().tolist(), values.tolist()):
        read = read_numbers(RawTensor("x", datatype, values.shape, data))
        np.testing.assert_array_equal(read, values)
        assert read.dtype == values.dtype


@given(elements=st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_any_bytes_survive_the_binary_form(elements: list[bytes]) -> None:
    """Four bytes of length before each element."""
    data = b"".join(len(element).to_bytes(4, "little") + element for element in elements)
    assert read_bytes(RawTensor("x", "BYTES", (len(elements),), data)) == elements


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (RawTensor("x", "BF16", (1,), b"\0\0"), WrongDatatype),
        (RawTensor("x", "FLOAT", (1,), [1.0]), WrongDatatype),
        (RawTensor("x", "BOOL", (1,), [True]), WrongDatatype),
        (RawTensor("x", "FP32", (1,), [True]), WrongDatatype),
        (RawTensor("x", "FP32", (1,), ["1"]), WrongDatatype),
        (RawTensor("x", "INT32", (1,), [1.5]), WrongDatatype),
        (RawTensor("x", "INT8", (1,), [300]), WrongDatatype),
        (RawTensor("x", "UINT8", (1,), [-1]), WrongDatatype),
        (RawTensor("x", "INT64", (1,), [2**70]), WrongDatatype),
        (RawTensor("x", "FP64", (1,), [10**400]), WrongDatatype),
        (RawTensor("x", "FP32", (2,), [1.0]), WrongShape),
        (RawTensor("x", "FP32", (2,), b"\0\0\0\0"), WrongShape),
        (RawTensor("x", "FP32", (0,), []), WrongShape),
        (RawTensor("x", "FP32", (-1,), [1.0]), WrongShape),
        (RawTensor("x", "FP32", (), [1.0]), WrongShape),
        (RawTensor("x", "FP32", (2**62, 2**62), [1.0]), WrongShape),
        (RawTensor("x", "FP32", (2, 2), [[1.0, 2.0], 3.0]), WrongShape),
        (RawTensor("x", "FP32", (2, 3), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), WrongShape),
        (RawTensor("x", "FP32", (4,), [[1.0, 2.0], [3.0, 4.0]]), WrongShape),
    ],
)
def test_wrong_elements_are_named(tensor: RawTensor, error: type[BedsideError]) -> None:
    """Datatype, count and shape are all checked against each other."""
    with pytest.raises(error) as caught:
        read_numbers(tensor)
    assert (type(caught.value), caught.value.field) == (error, "x")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([1], WrongDatatype),
        (["a", "b"], WrongShape),
        (b"\x05\0\0\0abc", MalformedPayload),
        (b"\x05\0", MalformedPayload),
        (b"", WrongShape),
        (b"\0\0\0\0\0\0\0\0", WrongShape),
    ],
)
def test_wrong_bytes_are_named(data: Any, error: type[BedsideError]) -> None:
    """A length that runs past the end is found."""
    with pytest.raises(error):
        read_bytes(RawTensor("x", "BYTES", (1,), data))


def test_volume_becomes_the_file_that_its_reader_would_read(codecs: Codecs) -> None:
    """Axis order is that of nibabel's array; spacing is a RAS affine."""
    array = np.arange(24, dtype="<i2").reshape(2, 3, 4)
    decoded = image(codecs, RawTensor("scan", "INT16", (2, 3, 4), array.tobytes(), MM))
    np.testing.assert_array_equal(read_nifti(decoded.payload), array)
    assert decoded.affine is not None
    np.testing.assert_array_equal(decoded.affine, np.diag([1, 2, 3, 1]))
    assert (decoded.suffix, decoded.dtype, decoded.channels) == (".nii", "int16", 1)


@pytest.mark.parametrize(
    "value",
    [
        [-1.5, 0, 0, 9, 0, 1, 0, 8, 0, 0, 2, 7, 0, 0, 0, 1],
        [[-1.5, 0, 0, 9], [0, 1, 0, 8], [0, 0, 2, 7], [0, 0, 0, 1]],
        "[-1.5,0,0,9,0,1,0,8,0,0,2,7,0,0,0,1]",
    ],
)
def test_affine_is_row_major(codecs: Codecs, value: object) -> None:
    """A flat list, a nested one, or JSON in a text, as the protocol's parameters are scalars."""
    decoded = image(codecs, RawTensor("scan", "FP32", (2, 3, 4), ONES, {"affine": value}))
    assert decoded.affine is not None
    assert decoded.affine[:3, 3].tolist() == [9, 8, 7]


def test_channels_are_last_and_half_precision_is_widened(codecs: Codecs) -> None:
    """NIfTI has no half precision."""
    decoded = image(codecs, RawTensor("scan", "FP16", (2, 3, 4, 2), bytes(2 * 48), MM))
    assert (decoded.channels, decoded.dtype, decoded.shape) == (2, "float32", (2, 3, 4, 2))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"spacing": [1, 2]},
        {"spacing": [1, 2, 0]},
        {"spacing": [1, 2, True]},
        {"spacing": "1 2 3"},
        {"spacing": {"x": 1}},
        {"spacing": [1, 2, 10**400]},
        {"spacing": [1e-300, 1, 1]},
        {"spacing": [1, 1, 1e300]},
        {"affine": [1, 0, 0, 1e30, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]},
        {"affine": [1] * 15},
        {"affine": [1] * 16},
        {"affine": [0] * 15 + [1]},
        {"affine": [float("nan")] * 16},
        {"affine": np.eye(4).ravel().tolist(), "spacing": [1, 2, 3]},
    ],
)
def test_a_volume_without_geometry_is_refused(codecs: Codecs, parameters: dict[str, object]) -> None:
    """A guess of 1 mm would give wrong volumes without a word."""
    with pytest.raises(BadParameter) as caught:
        image(codecs, RawTensor("scan", "FP32", (2, 3, 4), ONES, parameters))
    assert caught.value.field == "scan"


@pytest.mark.parametrize(
    ("datatype", "shape", "suffix", "described"),
    [
        ("UINT8", (2, 3), ".png", (3, 2)),
        ("UINT8", (2, 3, 1), ".png", (3, 2)),
        ("UINT8", (2, 3, 3), ".png", (3, 2, 3)),
        ("UINT16", (2, 3), ".png", (3, 2)),
        ("FP32", (2, 3), ".npy", (3, 2)),
    ],
)
def test_planes_are_height_by_width(
    codecs: Codecs, datatype: str, shape: tuple[int, ...], suffix: str, described: tuple[int, ...]
) -> None:
    """As picture libraries have them; the reader sees (width, height)."""
    data = bytes(math.prod(shape) * NUMPY_OF[datatype].itemsize)
    decoded = image(codecs, RawTensor("scan", datatype, shape, data), ANY)
    assert (decoded.suffix, decoded.shape) == (suffix, described)


def test_plane_for_a_nifti_reader_keeps_its_spacing(codecs: Codecs) -> None:
    """Spacing is per tensor axis, (row, column); the file's axes are (column, row)."""
    spec = InputSpec("scan", "image", VOLUME_MEDIA_TYPES, 2)
    decoded = image(codecs, RawTensor("scan", "FP32", (2, 3), bytes(24), {"spacing": [0.5, 0.25]}), spec)
    assert decoded.shape == (3, 2)
    assert decoded.affine is not None
    assert np.diag(decoded.affine).tolist() == [0.25, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("tensor", "spec", "error"),
    [
        (RawTensor("scan", "FP32", (3, 4), bytes(48), MM), VOLUME, WrongShape),
        (RawTensor("scan", "FP32", (2, 3, 4, 1, 1), ONES, MM), VOLUME, WrongShape),
        (RawTensor("scan", "FP32", (3, 4), bytes(48)), PLANE, WrongDatatype),
        (RawTensor("scan", "UINT8", (2, 3, 5), bytes(30)), PLANE, WrongDatatype),
        (RawTensor("scan", "BYTES", (2,), ["", ""]), PLANE, MalformedPayload),
        (RawTensor("scan", "BYTES", (2,), [""]), PLANE, WrongShape),
        (RawTensor("scan", "BYTES", (300,), [""] * 300), PLANE, PayloadTooLarge),
        (RawTensor("scan", "BYTES", (1,), ["%%%"]), PLANE, MalformedPayload),
        (RawTensor("scan", "BYTES", (1,), ["ä"]), PLANE, MalformedPayload),
        (RawTensor("scan", "BYTES", (1,), [""], {"content_type": 1}), PLANE, BadParameter),
        (RawTensor("image", "FP32", (2, 3, 4), ONES, MM), VOLUME, UnknownInput),
        (RawTensor("DOE^JOHN", "FP32", (2, 3, 4), ONES, MM), VOLUME, UnknownInput),
    ],
)
def test_wrong_images_are_named(codecs: Codecs, tensor: RawTensor, spec: InputSpec, error: type[BedsideError]) -> None:
    """Rank, datatype, encoding and name."""
    with pytest.raises(error) as caught:
        codecs.decode_tensors([tensor], [spec])
    assert type(caught.value) is error
    assert "DOE" not in caught.value.detail
    assert caught.value.field in {"scan", "image", None}


def test_encoded_image_is_base64_in_json_and_bytes_in_binary(codecs: Codecs) -> None:
    """Both give the file; the media type is optional."""
    png = encode_png(np.arange(6, dtype=np.uint8).reshape(2, 3))
    text = RawTensor("scan", "BYTES", (1,), [base64.b64encode(png).decode()], {"content_type": "image/png"})
    binary = RawTensor("scan", "BYTES", (1, 1), len(png).to_bytes(4, "little") + png)
    assert image(codecs, text, PLANE).payload == image(codecs, binary, PLANE).payload == png


def test_missing_and_doubled_inputs_are_named(codecs: Codecs) -> None:
    """Each input exactly once."""
    tensor = RawTensor("scan", "FP32", (2, 3, 4), ONES, MM)
    with pytest.raises(MissingInput):
        codecs.decode_tensors([], [VOLUME])
    with pytest.raises(MalformedPayload):
        codecs.decode_tensors([tensor, tensor], [VOLUME])
    with pytest.raises(MissingInput):
        codecs.decode_tensors([], [RECORD])
    assert codecs.decode_tensors([], []) == [()]


def png(value: int) -> str:
    """Return a small picture in base64."""
    return base64.b64encode(encode_png(np.full((3, 4), value, np.uint8))).decode()


def test_encoded_images_are_rows(codecs: Codecs) -> None:
    """Two pictures in one tensor are two items; each goes through the model by itself."""
    rows = codecs.decode_tensors([RawTensor("scan", "BYTES", (2,), [png(1), png(2)])], [PLANE])
    assert [len(row) for row in rows] == [1, 1]
    assert rows[0] != rows[1]


def test_several_files_of_one_input_are_one_row(codecs: Codecs) -> None:
    """Where an item has several files under one key, they are on the first axis, in order."""
    spec = InputSpec("scan", "image", PLANE_MEDIA_TYPES, 2, files=2)
    tensor = RawTensor("scan", "BYTES", (2,), [png(1), png(2)])
    [row] = codecs.decode_tensors([tensor], [spec])
    assert [item.name for item in row] == ["scan", "scan"]


def test_files_are_bounded_together(codecs: Codecs) -> None:
    """A limit for one file is none for a hundred."""
    large = Codecs(LimitSettings(decompressed_bytes=200))
    one = RawTensor("scan", "BYTES", (1,), [png(1)])
    assert large.decode_tensors([one], [PLANE])
    with pytest.raises(DecompressedTooLarge):
        large.decode_tensors([RawTensor("scan", "BYTES", (4,), [png(1)] * 4)], [PLANE])
    assert codecs.decode_tensors([one], [PLANE])


POINTS = InputSpec("points", "value")
LATENT = InputSpec("latent", "tensor")


@pytest.mark.parametrize("data", [["[[1,2,3]]"], b"\x09\x00\x00\x00[[1,2,3]]"], ids=["json", "binary"])
def test_a_json_value_is_text(codecs: Codecs, data: Any) -> None:
    """In both forms of the protocol."""
    [[item]] = codecs.decode_tensors([RawTensor("points", "BYTES", (1,), data)], [POINTS])
    assert item == DecodedValue("points", [[1, 2, 3]])


def test_an_array_goes_as_it_is(codecs: Codecs) -> None:
    """Shape and type of the tensor are those of the array."""
    [[item]] = codecs.decode_tensors([RawTensor("latent", "FP32", (1, 2), [0.5, -1.5])], [LATENT])
    assert isinstance(item, DecodedArray)
    assert (item.values.dtype.name, item.values.tolist()) == ("float32", [[0.5, -1.5]])


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (RawTensor("points", "BYTES", (1,), ["[[1,"]), MalformedPayload),
        (RawTensor("points", "INT64", (1,), [1]), WrongDatatype),
        (RawTensor("points", "BYTES", (1,), ["1"], {"content_type": "image/png"}), UnsupportedMediaType),
        (RawTensor("points", "BYTES", (1,), b"\x01\x00\x00\x00\xff"), MalformedPayload),
        (RawTensor("latent", "BYTES", (1,), ["AAAA"]), WrongDatatype),
    ],
)
def test_wrong_values_and_arrays_are_named(codecs: Codecs, tensor: RawTensor, error: type[BedsideError]) -> None:
    """By the name of the input."""
    specs = [spec for spec in (POINTS, LATENT) if spec.name == tensor.name]
    with pytest.raises(error) as caught:
        codecs.decode_tensors([tensor], specs)
    assert caught.value.field == tensor.name


def test_what_is_optional_may_be_left_out(codecs: Codecs) -> None:
    """Then nothing takes its place; what is left tells the number of rows."""
    specs = [InputSpec("points", "value", optional=True), PLANE, InputSpec("age", "record", optional=True)]
    rows = codecs.decode_tensors([RawTensor("scan", "BYTES", (2,), [png(1), png(2)])], specs)
    assert [[item.name for item in row] for row in rows] == [["scan"], ["scan"]]


@pytest.mark.parametrize(
    "tensors",
    [
        [RawTensor("age", "FP32", (2,), [63, 64.0]), RawTensor("thal", "INT64", (2, 1), [[6], [7]])],
        [RawTensor("age", "UINT8", (2,), b"\x3f\x40"), RawTensor("thal", "FP64", (2, 1), [6, 7])],
        [RawTensor("patient", "FP32", (2, 2), [[63, 6], [64, 7]])],
        [RawTensor("patient", "FP32", (2, 2), [63.0, 6.0, 64.0, 7.0])],
        [RawTensor("patient", "FP64", (2, 2), [63.0, 6, 64.0, 7])],
        [RawTensor("patient", "INT64", (2, 2), [63, 6, 64, 7])],
        [RawTensor("patient", "FP64", (2, 2), np.array([[63, 6], [64, 7.0]]).tobytes())],
    ],
)
def test_records_come_packed_or_by_feature(codecs: Codecs, tensors: list[RawTensor]) -> None:
    """Either form, any numeric datatype, JSON or binary: the same rows."""
    assert records(codecs, *tensors) == [[63, 6], [64, 7]]


@pytest.mark.parametrize(
    ("packed", "refused"),
    [
        (RawTensor("patient", "INT64", (1, 2), [63, 2**63]), WrongDatatype),
        (RawTensor("patient", "INT64", (1, 2), [-(2**63) - 1, 6]), WrongDatatype),
        (RawTensor("patient", "INT64", (1, 2), [63.0, 6.0]), WrongDatatype),
        (RawTensor("patient", "FP64", (1, 2), [True, False]), WrongDatatype),
        (RawTensor("patient", "FP64", (2, 2), [63.0, 6.0]), WrongShape),
        (RawTensor("patient", "BF16", (1, 2), [63.0, 6.0]), WrongDatatype),
        (RawTensor("patient", "FP32", (1, 2), [63.0, 1e39]), NonFiniteValue),
    ],
)
def test_packed_numbers_that_are_not_of_their_datatype(
    codecs: Codecs, packed: RawTensor, refused: type[Exception]
) -> None:
    """A flat list is read the short way only where every number is of its datatype, and of its shape."""
    with pytest.raises(refused):
        records(codecs, packed)


@pytest.mark.parametrize(
    "thal",
    [
        RawTensor("thal", "BYTES", (1,), ["?"]),
        RawTensor("thal", "BYTES", (1,), [""]),
        RawTensor("thal", "BYTES", (1,), b"\x01\0\0\0?"),
        RawTensor("thal", "FP32", (1,), np.array([np.nan], "<f4").tobytes()),
        RawTensor("thal", "FP32", (1,), [None]),
    ],
)
def test_missing_values_where_they_may_be(codecs: Codecs, thal: RawTensor) -> None:
    """Text, NaN in binary and null in JSON all say "missing"."""
    [[age, value]] = records(codecs, RawTensor("age", "INT64", (1,), [63]), thal)
    assert age == 63
    assert math.isnan(value)


AGE = RawTensor("age", "INT64", (1,), [63])


@pytest.mark.parametrize(
    ("tensors", "error", "field"),
    [
        ([AGE], MissingFeature, "thal"),
        ([AGE, RawTensor("thal", "FP32", (2,), [6, 7])], WrongShape, "thal"),
        ([AGE, RawTensor("thal", "FP32", (1, 2), [6, 7])], WrongShape, "thal"),
        ([AGE, RawTensor("thal", "BYTES", (1,), ["6"])], WrongDatatype, "thal"),
        ([AGE, RawTensor("thal", "BOOL", (1,), [True])], WrongDatatype, "thal"),
        ([AGE, RawTensor("thall", "FP32", (1,), [6])], UnknownInput, "thall"),
        ([AGE, RawTensor("patient", "FP32", (1, 2), [63, 6])], MalformedPayload, "patient"),
        ([RawTensor("age", "FP32", (1,), [None])], NonFiniteValue, "age"),
        ([RawTensor("patient", "FP32", (1, 2), [None, 6])], NonFiniteValue, "age"),
        ([RawTensor("patient", "FP32", (1, 2), [1e39, 6])], NonFiniteValue, "age"),
        ([RawTensor("patient", "FP32", (1, 3), [1, 2, 3])], WrongShape, "patient"),
        ([RawTensor("patient", "FP32", (2,), [1, 2])], WrongShape, "patient"),
        ([RawTensor("patient", "FP32", (9, 2), [1.0] * 18)], PayloadTooLarge, "patient"),
        ([RawTensor("age", "FP32", (9,), [1.0] * 9)], PayloadTooLarge, "age"),
    ],
)
def test_wrong_records_are_named(
    codecs: Codecs, tensors: list[RawTensor], error: type[BedsideError], field: str
) -> None:
    """The field is the feature where one is to blame, the input otherwise."""
    with pytest.raises(error) as caught:
        records(codecs, *tensors)
    assert (type(caught.value), caught.value.field) == (error, field)


def test_rows_beside_an_image_are_refused(codecs: Codecs) -> None:
    """An image is one row."""
    scan = RawTensor("scan", "FP32", (2, 3, 4), ONES, MM)
    packed = RawTensor("patient", "FP32", (2, 2), [63, 6, 64, 7])
    with pytest.raises(WrongShape):
        codecs.decode_tensors([scan, packed], [VOLUME, RECORD])
