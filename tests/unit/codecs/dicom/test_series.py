"""From files to a volume: exact values, exact places."""

import copy
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import uid as uids
from tests.unit.codecs.dicom.cases import LIMITS, MAKE, read, voxels

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom import read_series
from bedside.errors import DecompressedTooLarge, NotDicom, TooManyInstances
from bedside.settings import LimitSettings


def _stored(made: Any) -> NDArray[Any]:
    return np.stack([dataset.pixel_array.T for dataset in made], axis=2)


def test_each_slice_is_rescaled() -> None:
    """The dtype of the first slice, all positive, must not become the volume's: 24 is -1000, not 64536."""
    image, _ = read(MAKE.flat([1124, 24, 24]))
    assert image.dtype == "float32"
    assert voxels(image)[0, 0].tolist() == [100, -1000, -1000]


def test_twelve_bits_become_int16() -> None:
    """Where the headers say that every value is a whole number within int16, nothing is rounded and nothing doubled."""
    image, _ = read(MAKE.flat([1124, 24, 24], BitsStored=12, HighBit=11))
    assert image.dtype == "int16"
    assert voxels(image)[1, 2].tolist() == [100, -1000, -1000]


def test_slopes_differ_from_slice_to_slice() -> None:
    """PET scales each slice by its own maximum; an empty first slice must not make integers of the rest."""
    made = MAKE.flat([0, 1234, 2500], Modality="PT", SOPClassUID=MAKE.PT, RescaleIntercept=0, RescaleType="BQML")
    for dataset, slope in zip(made, ("0.001", "0.001", "0.0013"), strict=True):
        dataset.RescaleSlope = slope
    image, _ = read(made)
    assert voxels(image)[0, 0].tolist() == [0, np.float32(1.234), 3.25]


def test_voxels_lie_where_the_slices_say() -> None:
    """Axes are columns, rows, slices; LPS becomes RAS; slices are sorted by place, whatever order they came in."""
    made = MAKE.series((5, 6, 7, 8))
    image, _ = read(made)
    np.testing.assert_array_equal(voxels(image), _stored(made) - 1024.0)
    expected = [[-0.75, 0, 0, 3], [0, -0.5, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]]
    assert image.affine is not None
    np.testing.assert_allclose(image.affine, np.array(expected, float), atol=1e-6)


def test_oblique_slices() -> None:
    """Every voxel lies where Image Position and Image Orientation put it (PS3.3 §C.7.6.2.1.1)."""
    made = MAKE.oblique()
    image, _ = read(made)
    assert image.affine is not None
    for number, dataset in enumerate(made):
        across, down = np.array(dataset.ImageOrientationPatient).reshape(2, 3)
        lps = np.array(dataset.ImagePositionPatient) + 2 * 0.75 * across + 3 * 0.5 * down
        found = image.affine @ (2, 3, number, 1)
        np.testing.assert_allclose(found[:3], lps * (-1, -1, 1), atol=1e-4)


def test_rounded_cosines_leave_the_spacing_as_it_is_stated() -> None:
    """Direction cosines of three digits are not quite of length 1; a voxel is as large as Pixel Spacing says."""
    made = MAKE.series()
    for dataset in made:
        dataset.ImageOrientationPatient = [0.707, 0.707, 0, -0.707, 0.707, 0]
    image, source = read(made)
    assert image.affine is not None
    np.testing.assert_allclose(np.linalg.norm(image.affine[:3, :2], axis=0), made[0].PixelSpacing[::-1], rtol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(source.planes[:, :, :2], axis=1)[0], made[0].PixelSpacing[::-1])


def test_descending_slices_are_turned_with_their_normal() -> None:
    """Feet first or head first, the volume is the same: the normal decides, not the order of the numbers."""
    up, _ = read(MAKE.series((0, 1, 2, 3)))
    made = MAKE.series((0, 1, 2, 3))
    for number, dataset in enumerate(made):
        dataset.InstanceNumber = 9 - number
    down, _ = read(made)
    assert up.payload == down.payload


def test_mr_needs_no_rescaling() -> None:
    """Rescale Slope and Intercept are no attributes of MR images; stored values are taken as they are."""
    made = MAKE.mr()
    image, source = read(made, modality="MR")
    np.testing.assert_array_equal(voxels(image), _stored(made))
    assert source.modality == "MR"


def test_signed_pixels_with_spare_bits() -> None:
    """Twelve bits in sixteen: what stands above them is no value (PS3.5 §8.1.2), and their sign is extended."""
    made = MAKE.mr(PixelRepresentation=1, BitsStored=12, HighBit=11)
    made[0].PixelData = np.full((5, 4), 0xF800, np.uint16).tobytes()
    made[1].PixelData = np.full((5, 4), 0x0FFF, np.uint16).tobytes()
    image, _ = read(made)
    assert voxels(image)[0, 0, :2].tolist() == [-2048, -1]


@pytest.mark.parametrize(("dtype", "sign"), [("u1", 0), ("i1", 1), ("<i2", 1), ("<u4", 0), ("<i4", 1)])
def test_every_width(dtype: str, sign: int) -> None:
    """Eight, sixteen and thirty-two bits, with and without sign."""
    made = MAKE.mr()
    bits = 8 * np.dtype(dtype).itemsize
    for dataset in made:
        values = np.arange(20).astype(dtype) - (5 * sign)
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = bits - 1, sign, values.tobytes()
    image, _ = read(made)
    assert voxels(image)[:, :, 2].T.ravel().tolist() == list(range(-5 * sign, 20 - 5 * sign))


def test_big_endian_bytes_in_words() -> None:
    """Pixels of eight bits as OW: two to a word, the second one first (PS3.5 §8.1.1)."""
    made = MAKE.mr()
    for dataset in made:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = np.arange(20, dtype=np.uint8).view(np.uint16).byteswap().tobytes()
        dataset.file_meta.TransferSyntaxUID = uids.ExplicitVRBigEndian
        dataset["PixelData"].VR = "OW"
    image, _ = read(made)
    assert voxels(image)[:, :, 0].T.ravel().tolist() == list(range(20))


def test_big_endian() -> None:
    """Retired, and still in archives."""
    made = MAKE.mr()
    expected = _stored(made)
    for dataset in made:
        dataset.PixelData = dataset.pixel_array.byteswap().tobytes()
        dataset.file_meta.TransferSyntaxUID = uids.ExplicitVRBigEndian
        dataset["PixelData"].VR = "OW"
    image, _ = read(made)
    np.testing.assert_array_equal(voxels(image), expected)


@pytest.mark.parametrize(
    "syntax", [uids.RLELossless, uids.JPEGLSLossless, uids.JPEG2000Lossless], ids=lambda syntax: syntax.name
)
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_compression_changes_nothing(syntax: uids.UID, signed: bool) -> None:  # noqa: FBT001 - a case
    """The same voxels from compressed transfer syntaxes as from native ones."""
    made = MAKE.mr(rows=80, columns=64, PixelRepresentation=int(signed))
    expected = _stored(made)
    for dataset in made:
        dataset.compress(syntax, generate_instance_uid=False)
    image, _ = read(made)
    np.testing.assert_array_equal(voxels(image), expected)


def test_enhanced_multiframe() -> None:
    """Frames of one object are slices with their own place and slope; their order in the object does not matter."""
    classic = _stored(MAKE.mr())
    image, source = read(MAKE.enhanced())
    np.testing.assert_array_equal(voxels(image), classic * [1, 2, 3, 4])
    assert [number for _, number in source.frames] == [4, 3, 2, 1]
    assert source.is_multiframe


def test_padding_may_be_kept_or_replaced() -> None:
    """The bundle's policy decides; the number is one after rescaling."""
    made = MAKE.series(PixelPaddingValue=103)
    kept, _ = read(made, padding="keep")
    replaced, _ = read(made, padding=-2000)
    where = voxels(kept) == 103 - 1024
    assert where.sum() == 1
    assert np.array_equal(voxels(replaced), np.where(where, -2000, voxels(kept)))


def test_padding_range_of_signed_pixels_written_unsigned() -> None:
    """Some scanners write -2000 as US 63536; it means the same bits."""
    made = MAKE.series(PixelRepresentation=1)
    for dataset in made:
        dataset.add_new("PixelPaddingValue", "US", 63536)
        dataset.PixelData = np.full((5, 4), -2000, np.int16).tobytes()
    image, _ = read(made, padding=0)
    assert not voxels(image).any()


def test_padding_of_mr_is_background() -> None:
    """Its scale has no unit: nothing wrong can be read from it."""
    image, _ = read(MAKE.mr(PixelPaddingValue=103))
    assert (voxels(image) == 103).sum() == 1


def test_uneven_slices_are_evened_out_where_allowed() -> None:
    """A ramp along the normal stays a ramp."""
    made = MAKE.flat([1000, 2000, 3300, 4000])
    for dataset, height in zip(made, (0.0, 1.0, 2.3, 3.0), strict=True):
        dataset.ImagePositionPatient = [0, 0, height]
    image, source = read(made, resample=("uneven-spacing",), spacing_tolerance=0.05)
    np.testing.assert_allclose(voxels(image)[0, 0], np.array([1000, 2000, 3000, 4000]) - 1024, rtol=1e-5)
    assert not source.in_place


def test_a_tilted_gantry_is_straightened_where_allowed() -> None:
    """What lies at one height of the patient lies in one row of the volume afterwards."""
    made = MAKE.tilted(degrees=20.0)
    for dataset in made:
        height = float(dataset.ImagePositionPatient[1]) + 0.5 * np.arange(12)
        dataset.PixelData = np.repeat(np.rint(1000 + 100 * height), 10).astype(np.uint16).tobytes()
    image, _ = read(made, resample=("gantry-tilt",))
    assert image.affine is not None
    inner = voxels(image)[5, 5:11]
    height = -(image.affine[1, 1] * np.arange(5, 11) + image.affine[1, 3])
    np.testing.assert_allclose(inner, np.repeat((1000 + 100 * height - 1024)[:, None], 6, axis=1), atol=1.1)
    np.testing.assert_allclose(image.affine[:3, 2], [0, 0, 1], atol=1e-6)


def test_localizers_may_be_left_out() -> None:
    """Where the policy says so, the images alone are the series."""
    made = MAKE.DEFECTS["localizer_mixed_in"][1]()
    image, source = read(made, drop_localizers=True)
    assert image.shape[2] == len(source.frames) == 3


def test_volume_counts_against_the_limit() -> None:
    """What would be held is bounded before it is allocated."""
    with pytest.raises(DecompressedTooLarge):
        read_series(MAKE.files(MAKE.series()), DicomPolicy(), LimitSettings(decompressed_bytes=300))


def test_instances_are_counted() -> None:
    """One more than the limit is refused without reading on."""
    with pytest.raises(TooManyInstances, match="more than 3"):
        read_series(MAKE.files(MAKE.series()), DicomPolicy(), LimitSettings(dicom_instances=3))


def test_nothing_is_no_series() -> None:
    """An empty request has its own words."""
    with pytest.raises(NotDicom, match="no file"):
        read_series([], DicomPolicy(), LIMITS)


def test_a_source_shows_nothing_of_the_patient() -> None:
    """Neither its repr nor that of the image or a file tells more than numbers, and it cannot be pickled."""
    image, source = read(MAKE.series())
    shown = f"{source!r} {image.source!r} {source}"
    assert shown == "SourceSeries(4 files) SourceSeries(4 files) SourceSeries(4 files)"
    assert "source" not in repr(image)
    with pytest.raises(TypeError):
        pickle.dumps(source)
    with pytest.raises(TypeError):
        copy.deepcopy(source)


def test_the_digest_is_that_of_the_input() -> None:
    """The same files in another order have the same; another pixel changes it."""
    first, again = read(MAKE.series())[1], read(MAKE.series()[::-1])[1]
    made = MAKE.series()
    made[0].PixelData = made[0].PixelData[:-1] + b"\x01"
    assert first.digest == again.digest != read(made)[1].digest


def test_implicit_little_endian() -> None:
    """The default transfer syntax (PS3.5 §10.1)."""
    made = MAKE.mr()
    expected = _stored(made)
    for dataset in made:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    image, _ = read(made)
    np.testing.assert_array_equal(voxels(image), expected)


def test_headers_do_not_keep_their_files() -> None:
    """Five hundred slices would otherwise be in memory twice."""
    _, source = read(MAKE.series())
    assert all(getattr(header, "buffer", None) is None for header in source.headers)
    assert not any("PixelData" in header for header in source.headers)


def test_the_volume_is_held_once() -> None:
    """Beside it there are the headers and a slice or two: three times the volume, with the request, is the budget."""
    made = [MAKE.instance(place, np.full((256, 256), place, np.uint16), (0, 0, place)) for place in range(1, 41)]
    files = MAKE.files(made)
    read_series(files, DicomPolicy(), LimitSettings())  # what is imported on first use is not the series'
    tracemalloc.start()
    try:
        image, _ = read_series(files, DicomPolicy(), LimitSettings())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(image.payload)


def test_what_follows_the_pixels_is_nothing_to_them() -> None:
    """Data Set Trailing Padding and private elements may come after Pixel Data."""
    expected = voxels(read(MAKE.mr())[0])
    made = MAKE.mr(DataSetTrailingPadding=bytes(64))
    for dataset in made:
        dataset.add_new(0x7FE1_0010, "LO", "A VENDOR'S")
    np.testing.assert_array_equal(voxels(read(made)[0]), expected)


def test_frames_are_found_by_their_tables() -> None:
    """Extended Offset Table (PS3.5 §A.4) stands between the header and the pixels."""
    (made,) = MAKE.enhanced()
    expected = voxels(read([made])[0])
    frames = [np.asarray(frame) for frame in made.pixel_array]
    encoded = [MAKE.pydicom.pixels.encoders.RLELosslessEncoder.encode(frame, **_format(made)) for frame in frames]
    made.PixelData, table, lengths = MAKE.pydicom.encaps.encapsulate_extended(encoded)
    made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = table, lengths
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    made.file_meta.TransferSyntaxUID = uids.RLELossless
    np.testing.assert_array_equal(voxels(read([made])[0]), expected)


def _format(made: Any) -> dict[str, Any]:
    keywords = {"rows": "Rows", "columns": "Columns", "bits_allocated": "BitsAllocated", "bits_stored": "BitsStored"}
    return {name: made[keyword].value for name, keyword in keywords.items()} | {
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "pixel_representation": made.PixelRepresentation,
        "photometric_interpretation": "MONOCHROME2",
    }
