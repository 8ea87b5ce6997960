"""NIfTI in: what is read, and what is refused before a model sees it. NIfTI out: exact and repeatable."""

import gzip
from collections.abc import Callable
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tests.unit.codecs.conftest import INPUTS

from bedside.codecs import Codecs
from bedside.codecs.nifti import compress, decode_nifti, encode_nifti, read_nifti
from bedside.errors import BedsideError, DecompressedTooLarge, MalformedPayload, WrongDatatype
from bedside.settings import LimitSettings
from bedside.types import DecodedImage, RawPart

Decode = Callable[..., DecodedImage]
LIMIT = 1 << 24


@pytest.mark.parametrize(
    ("name", "shape", "spatial_dims", "channels"),
    [
        ("volume.nii", (4, 5, 6), 3, 1),
        ("volume.nii.gz", (4, 5, 6), 3, 1),
        ("volume_two_gzip_members.nii.gz", (4, 5, 6), 3, 1),
        ("volume_zero_padded.nii.gz", (4, 5, 6), 3, 1),
        ("volume_nifti2.nii", (4, 5, 6), 3, 1),
        ("volume_big_endian.nii", (4, 5, 6), 3, 1),
        ("volume_no_form_codes.nii", (4, 5, 6), 3, 1),
        ("volume_four_channels.nii", (4, 5, 6, 4), 3, 4),
        ("volume_one_channel_axis.nii", (4, 5, 6, 1), 3, 1),
        ("channels_uncoded_sform_agrees.nii", (4, 5, 6, 2), 3, 2),
        ("plane.nii", (7, 5), 2, 1),
        ("plane_one_voxel_thick.nii", (7, 5, 1), 3, 1),
        ("plane_of_both_versions.nii", (16, 16), 2, 1),
    ],
)
def test_sound_files_are_described(
    decode: Decode, name: str, shape: tuple[int, ...], spatial_dims: int, channels: int
) -> None:
    """Shape, rank and channels are those that MONAI's reader will see."""
    image = decode(name)
    assert (image.shape, image.spatial_dims, image.channels) == (shape, spatial_dims, channels)
    assert image.suffix == ".nii"
    assert image.finite
    assert image.affine is not None
    assert nibabel.load(INPUTS / name).shape == shape


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("gzip_truncated.nii.gz", MalformedPayload),
        ("gzip_trailing_garbage.nii.gz", MalformedPayload),
        ("gzip_wrong_checksum.nii.gz", MalformedPayload),
        ("gzip_damaged.nii.gz", MalformedPayload),
        ("gzip_of_text.nii.gz", MalformedPayload),
        ("voxels_truncated.nii", MalformedPayload),
        ("voxels_trailing_bytes.nii", MalformedPayload),
        ("header_truncated.nii", MalformedPayload),
        ("axis_without_length.nii", MalformedPayload),
        ("axis_negative.nii", MalformedPayload),
        ("rank_nine.nii", MalformedPayload),
        ("axes_huge.nii", DecompressedTooLarge),
        ("offset_inside_header.nii", MalformedPayload),
        ("datatype_unknown.nii", MalformedPayload),
        ("datatype_rgb.nii", WrongDatatype),
        ("datatype_complex.nii", WrongDatatype),
        ("affine_singular.nii", MalformedPayload),
        ("affine_nan.nii", MalformedPayload),
        ("affine_far_away.nii", MalformedPayload),
        ("form_unknown.nii", MalformedPayload),
        ("voxel_size_zero.nii", MalformedPayload),
        ("voxel_size_nan.nii", MalformedPayload),
        ("quaternion_impossible.nii", MalformedPayload),
        ("quaternion_impossible_and_needed.nii", MalformedPayload),
        ("unit_micrometre.nii", MalformedPayload),
        ("intercept_infinite.nii", MalformedPayload),
        ("header_of_pair.hdr", MalformedPayload),
    ],
)
def test_defective_files_are_refused_by_name(decode: Decode, name: str, error: type[BedsideError]) -> None:
    """Each defect gets its error, and the error names the input."""
    with pytest.raises(error) as caught:
        decode(name)
    assert type(caught.value) is error
    assert caught.value.field == "scan"


@pytest.mark.parametrize("name", ["voxel_nan.nii", "voxel_overflows_when_scaled.nii", "voxel_overflows_float32.nii"])
def test_values_that_are_not_finite_as_float32_are_found(decode: Decode, name: str) -> None:
    """NaN, and values that become infinite when MONAI makes float32 of them, are told."""
    assert not decode(name).finite


@pytest.mark.parametrize("name", ["volume_slope_nan.nii", "volume_scaled.nii"])
def test_scaling_that_leaves_values_finite_is_accepted(decode: Decode, name: str) -> None:
    """A slope of NaN means "not scaled" to nibabel; integers stay finite with it."""
    assert decode(name).finite


def test_limit_counts_bytes_before_inflating() -> None:
    """A gzip bomb costs the limit, not its size."""
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 1)
    codecs = Codecs(LimitSettings(decompressed_bytes=1024 * 1024))
    from bedside.bundle.contract import InputSpec  # noqa: PLC0415

    with pytest.raises(DecompressedTooLarge):
        codecs.decode_part(RawPart(None, "application/gzip", bomb), InputSpec("scan", "image"))


affines = hnp.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32)).map(
    lambda rows: np.vstack([rows + 200 * np.eye(3, 4), [0, 0, 0, 1]]).astype(np.float32).astype(np.float64)
)
dtypes = st.sampled_from(
    ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)


@given(
    array=dtypes.flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=3, max_dims=4, max_side=6),
            elements={"allow_nan": False, "min_value": -1e6, "max_value": 1e6} if dtype.startswith("float") else None,
        )
    ),
    affine=affines,
)
def test_any_volume_survives_encoding_and_decoding(array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Type, values and affine come back as they went."""
    image = decode_nifti(encode_nifti(array, affine), name="scan", limit=LIMIT)
    assert image.dtype == array.dtype.name
    assert image.affine is not None
    np.testing.assert_array_equal(image.affine, affine)
    np.testing.assert_array_equal(read_nifti(image.payload), array)


def test_answers_are_millimetres_and_repeatable() -> None:
    """The header says mm; the same mask gives the same bytes; a plain axis-aligned affine has both forms."""
    mask = np.zeros((4, 5, 6), np.uint8)
    data = encode_nifti(mask, np.diag([1.0, 2.0, 3.0, 1.0]))
    image = nibabel.Nifti1Image.from_bytes(data)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header.get_zooms() == (1.0, 2.0, 3.0)
    np.testing.assert_allclose(image.get_qform(), image.get_sform())
    assert compress(data) == compress(data)
    assert gzip.decompress(compress(data)) == data


@pytest.mark.parametrize(("given_type", "written"), [("bool", "uint8"), ("float16", "float32")])
def test_types_that_nifti_lacks_are_widened(given_type: str, written: str) -> None:
    """Booleans and half precision become the next type that holds them exactly."""
    data = encode_nifti(np.ones((2, 2, 2), given_type), None)
    assert decode_nifti(data, name="scan", limit=LIMIT).dtype == written


def test_long_axes_need_nifti2() -> None:
    """NIfTI-1 counts axes in int16; a longer one is written as NIfTI-2 instead of overflowing."""
    image = decode_nifti(encode_nifti(np.zeros((40000, 1, 1), np.uint8), None), name="scan", limit=LIMIT)
    assert image.shape == (40000, 1, 1)
    assert image.payload[4:7] == b"n+2"


def test_mended_headers_do_not_fill_the_log(decode: Decode, capfd: pytest.CaptureFixture[str]) -> None:
    """Nibabel would print a line on stderr for each odd field, between the lines of the JSON log."""
    with pytest.raises(MalformedPayload):
        decode("offset_inside_header.nii")
    assert capfd.readouterr().err == ""
