"""What other encoders made: the same voxels as before, within what they say they lost, or a refusal; never others."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid as uids
from tests.unit.codecs.dicom.cases import MAKE, picture, read, read_picture, voxels

from bedside.bundle.contract import Contract, InputSpec, OutputSpec
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom import received, write_results
from bedside.errors import PixelDataContradictsHeader, UnsupportedTransferSyntax
from bedside.types import OutputArray, Prediction, ValidatedInputs

ROWS, COLUMNS = 64, 80
HTJ2K = [uids.HTJ2KLossless, uids.HTJ2KLosslessRPCL]
FORMATS = [(8, "u1"), (12, "<u2"), (16, "<u2"), (8, "i1"), (12, "<i2"), (16, "<i2")]

Encode = Callable[[NDArray[Any]], bytes]


def smooth(bits: int = 16, dtype: str = "<u2", reach: float = 1.0) -> Any:
    """Return an MR series of waves that take ``reach`` of the range of ``bits``."""
    made, signed = MAKE.mr(rows=ROWS, columns=COLUMNS), dtype[-2] == "i"
    across, down = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
    for number, dataset in enumerate(made):
        waves = (np.sin(across / 9 + number) + np.cos(down / 7)) / 4 * reach  # from -0.5 to 0.5
        pixels = np.floor((waves + (0 if signed else 0.5)) * ((1 << bits) - 1)).astype(dtype)
        dataset.PixelData, dataset.PixelRepresentation = pixels.tobytes(), int(signed)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * pixels.itemsize, bits, bits - 1
        dataset["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
    return made


def encoded(made: Any, syntax: uids.UID, encode: Encode) -> Any:
    """Return a series whose frames somebody else's encoder has made."""
    for dataset in made:
        dataset.PixelData = MAKE.pydicom.encaps.encapsulate([encode(dataset.pixel_array)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = syntax
    return made


def compressed(made: Any, syntax: uids.UID, **options: Any) -> Any:
    """Return a series as pydicom compresses it."""
    for dataset in made:
        dataset.compress(syntax, generate_instance_uid=False, **options)
    return made


def openjph(pixels: NDArray[Any], **options: Any) -> bytes:
    """Encode by OpenJPH, the reference encoder of HTJ2K; nothing that Bedside needs can."""
    codecs = pytest.importorskip("imagecodecs", reason="pip install imagecodecs")
    return bytes(codecs.htj2k_encode(pixels, **options))


def jpeg(pixels: NDArray[Any]) -> bytes:
    """Encode by libjpeg: baseline, 8 bits."""
    file = io.BytesIO()
    Image.fromarray(pixels.view(np.uint8)).save(file, "JPEG", quality=95)
    return file.getvalue()


def off_by(made: Any, source: Any) -> float:
    """Return by how much the farthest voxel is off."""
    expected = np.stack([dataset.pixel_array for dataset in source], axis=-1).transpose(1, 0, 2)
    return float(np.abs(voxels(read(made)[0]).astype(np.float64) - expected).max())


@pytest.mark.parametrize("syntax", HTJ2K, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize(("bits", "dtype"), FORMATS)
def test_high_throughput_jpeg_2000_without_loss(syntax: uids.UID, bits: int, dtype: str) -> None:
    """1.2.840.10008.1.2.4.201 and .202, whose frames differ in the order of their packets alone."""
    made = encoded(smooth(bits, dtype), syntax, lambda pixels: openjph(pixels, reversible=True))
    assert off_by(made, smooth(bits, dtype)) == 0


@pytest.mark.parametrize("dtype", ["<u2", "<i2"])
def test_high_throughput_jpeg_2000_with_loss(dtype: str) -> None:
    """1.2.840.10008.1.2.4.203: quantised by a two-thousandth of the range, and off by no more than that."""
    made = encoded(smooth(16, dtype), uids.HTJ2K, lambda pixels: openjph(pixels, reversible=False, level=0.0005))
    assert 0 < off_by(made, smooth(16, dtype)) <= 0.0005 * 2**16


@pytest.mark.parametrize(("bits", "dtype"), FORMATS)
def test_jpeg_2000_with_loss(bits: int, dtype: str) -> None:
    """At an eighth of the size, waves are off by a few steps of the code."""
    assert 0 < off_by(compressed(smooth(bits, dtype), uids.JPEG2000, j2k_cr=[8]), smooth(bits, dtype)) <= 4


@pytest.mark.parametrize(("bits", "dtype"), FORMATS)
def test_jpeg_ls_near_lossless(bits: int, dtype: str) -> None:
    """Off by as much as its NEAR, also where the pixels have a sign, as long as they keep away from their ends."""
    made = compressed(smooth(bits, dtype, 0.9), uids.JPEGLSNearLossless, jls_error=3)
    assert 0 < off_by(made, smooth(bits, dtype, 0.9)) <= 3


def test_jpeg_baseline() -> None:
    """Eight bits, as a volume and as a radiograph."""
    made = encoded(smooth(8, "u1"), uids.JPEGBaseline8Bit, jpeg)
    assert 0 < off_by(made, smooth(8, "u1")) <= 4
    pixels = smooth(8, "u1")[0].pixel_array
    film = MAKE.radiograph(pixels, WindowCenter=None, WindowWidth=None)
    shown = picture(read_picture(encoded([film], uids.JPEGBaseline8Bit, jpeg))[0])
    assert np.abs(shown.astype(int) - pixels).max() <= 4


@pytest.mark.parametrize("vr", ["OW", "OL"])
@pytest.mark.parametrize("dtype", [">u4", ">i4"])
@pytest.mark.parametrize("bits", [24, 32])
def test_big_endian_words_of_32_bits(vr: str, dtype: str, bits: int) -> None:
    """The highest byte first, whether they are called words or longs (PS3.5 §7.3, §8.1.1)."""
    values = (np.arange(20) * 3001 - (30_000 if dtype == ">i4" else 0)).astype(dtype)
    made = MAKE.mr()
    for dataset in made:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 32, bits, bits - 1
        dataset.PixelRepresentation, dataset.PixelData = int(dtype == ">i4"), values.tobytes()
        dataset.file_meta.TransferSyntaxUID = uids.ExplicitVRBigEndian
        dataset["PixelData"].VR = vr
    assert voxels(read(made)[0])[:, :, 0].T.ravel().tolist() == values.tolist()


def test_loss_beyond_the_bits_that_are_stored() -> None:
    """A codestream of 16 bits for 12: what overshoots would be cut to 12, and white would be black."""
    made = encoded(smooth(12), uids.HTJ2K, lambda pixels: openjph(pixels, reversible=False, level=0.0005))
    with pytest.raises(PixelDataContradictsHeader, match=r"Bits Stored \(0028,0101\)"):
        read(made)


@pytest.mark.parametrize(
    "made",
    [
        lambda: compressed(smooth(12, "<i2"), uids.JPEGLSNearLossless, jls_error=3),
        lambda: encoded(smooth(8, "i1"), uids.JPEGBaseline8Bit, jpeg),
    ],
    ids=["jpeg_ls", "jpeg"],
)
def test_loss_at_the_ends_of_signed_pixels(made: Callable[[], Any]) -> None:
    """Codes without a sign: a step beyond the greatest value is the least one; the refusal says what to send."""
    with pytest.raises(UnsupportedTransferSyntax, match=r"signed pixels may have turned over.*send them without loss"):
        read(made())


def test_jpeg_ls_that_says_it_lost_nothing() -> None:
    """The syntax allows loss, NEAR is 0: signed pixels may reach the ends of their range."""
    made = compressed(smooth(12, "<i2"), uids.JPEGLSLossless)
    for dataset in made:
        dataset.file_meta.TransferSyntaxUID = uids.JPEGLSNearLossless
    assert off_by(made, smooth(12, "<i2")) == 0


@pytest.mark.parametrize(
    ("syntax", "named"),
    [(uids.DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.1.99"), (uids.MPEG2MPML, "1.2.840.10008.1.2.4.100")],
)
def test_what_is_not_read_is_named(syntax: uids.UID, named: str) -> None:
    """With what always is."""
    made = encoded(MAKE.mr(), syntax, bytes)
    with pytest.raises(UnsupportedTransferSyntax, match=rf"\({named}\) is not read here; Explicit VR Little Endian"):
        read(made)


def test_what_is_no_known_transfer_syntax_is_not_repeated() -> None:
    """Anything could stand in its place."""
    file = MAKE.written(MAKE.mr()[0]).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.4711.8.1.2\0\0")
    with pytest.raises(UnsupportedTransferSyntax) as caught:
        received(file)
    assert "4711" not in caught.value.detail


# What results say of it


def told(made: Any) -> set[tuple[str, str, bool]]:
    """Return what Segmentation and secondary capture say of loss: whether, by what, and whether by how much."""
    image, source = read(made)
    contract = Contract(
        model="spots",
        version="1.0.0",
        digest="sha256:" + "5c" * 32,
        task="",
        description="",
        inputs=(InputSpec("image", "image"),),
        outputs=(OutputSpec("pred", "segmentation", labels={1: "spot"}),),
        metrics={},
    )
    mask = np.ones(image.shape, np.uint8)
    objects = write_results(
        source,
        contract,
        Prediction((OutputArray("pred", mask, image.affine),)),
        DicomPolicy(results=("segmentation", "capture")),
        inputs=ValidatedInputs((image,)),
        created=datetime(2026, 11, 21, tzinfo=UTC),
    )
    found = [MAKE.pydicom.dcmread(io.BytesIO(each.data)) for each in objects]
    assert [each.kind for each in objects] == ["segmentation", "capture"]
    return {
        (
            each.get("LossyImageCompression", "00"),
            str(each.get("LossyImageCompressionMethod", "")),
            each.get("LossyImageCompressionRatio", 0) > 1,
        )
        for each in found
    }


@pytest.mark.parametrize(
    ("made", "method"),
    [
        (lambda: encoded(smooth(8, "u1"), uids.JPEGBaseline8Bit, jpeg), "ISO_10918_1"),
        (lambda: compressed(smooth(), uids.JPEGLSNearLossless, jls_error=3), "ISO_14495_1"),
        (lambda: compressed(smooth(), uids.JPEG2000, j2k_cr=[8]), "ISO_15444_1"),
        (lambda: encoded(smooth(), uids.HTJ2K, lambda pixels: openjph(pixels, reversible=False)), "ISO_15444_15"),
    ],
    ids=["jpeg", "jpeg_ls", "jpeg_2000", "htj2k"],
)
def test_loss_is_told_on(made: Callable[[], Any], method: str) -> None:
    """Though the sender's header does not (PS3.3 §C.7.6.1.1.5): what was lost once is lost for all that is derived."""
    series = made()
    for dataset in series:
        for keyword in ("LossyImageCompression", "LossyImageCompressionMethod", "LossyImageCompressionRatio"):
            MAKE.change(dataset, keyword, None)
    assert told(series) == {("01", method, True)}


def test_loss_of_old_is_told_on() -> None:
    """Compressed once, and sent as native pixels."""
    stated = {"LossyImageCompressionMethod": "ISO_10918_1", "LossyImageCompressionRatio": 12.5}
    assert told(MAKE.mr(LossyImageCompression="01", **stated)) == {("01", "ISO_10918_1", True)}


def test_no_loss_is_believed_where_it_can_be() -> None:
    """JPEG 2000 may be without loss, JPEG baseline never."""
    made = compressed(smooth(), uids.JPEG2000, j2k_cr=[1])
    for dataset in made:
        dataset.LossyImageCompression = "00"
    assert told(made) == {("00", "", False)}
    made = encoded(smooth(8, "u1"), uids.JPEGBaseline8Bit, jpeg)
    for dataset in made:
        dataset.LossyImageCompression = "00"
    assert told(made) == {("01", "ISO_10918_1", True)}


@pytest.mark.parametrize("syntax", [None, uids.JPEG2000Lossless, uids.RLELossless])
def test_without_loss_none_is_told(syntax: uids.UID | None) -> None:
    """Nor for compression that loses nothing."""
    assert told(smooth() if syntax is None else compressed(smooth(), syntax)) == {("00", "", False)}
