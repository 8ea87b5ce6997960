"""Makes the input files of the tests, each named after its property or its defect: ``python make_inputs.py``."""

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
AFFINE = np.array([[-1.5, 0, 0, 10], [0, 2.0, 0, -20], [0, 0, 3.0, 5], [0, 0, 0, 1.0]])

_UNCODED_SFORM = {
    "sform_code": 0,
    "qform_code": 1,
    "srow_x": [1.5, 0, 0, 0],
    "srow_y": [0, 2.0, 0, 0],
    "srow_z": [0, 0, 3.0, 0],
}


def volume(array: Any, affine: Any = AFFINE, **fields: Any) -> bytes:
    """Return a NIfTI-1 file; ``fields`` overwrite header fields in the finished file, consistent or not."""
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm", "sec")
    data = bytearray(image.to_bytes())
    header = nibabel.Nifti1Header(bytes(data[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    data[:348] = header.binaryblock
    return bytes(data)


def ramp(*shape: int, dtype: str = "int16") -> Any:
    """Return 0, 1, 2, ... in the given shape."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def picture(array: Any, kind: str, mode: str | None = None, **options: Any) -> bytes:
    """Return an encoded picture."""
    image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def saved(array: Any, **options: Any) -> bytes:
    """Return a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sound_volumes() -> dict[str, bytes]:
    """Return the NIfTI files that can be read, and say what they hold."""
    good = volume(ramp(4, 5, 6))
    big_endian = nibabel.Nifti1Image(ramp(4, 5, 6, dtype=">i2"), AFFINE, nibabel.Nifti1Header(endianness=">"))
    packed = gzip.compress(good, mtime=0)
    return {
        "volume.nii": good,
        "volume.nii.gz": packed,
        "volume_two_gzip_members.nii.gz": gzip.compress(good[:400], mtime=0) + gzip.compress(good[400:], mtime=0),
        "volume_zero_padded.nii.gz": packed + bytes(512),
        "volume_nifti2.nii": bytes(nibabel.Nifti2Image(ramp(4, 5, 6), AFFINE).to_bytes()),
        "volume_big_endian.nii": bytes(big_endian.to_bytes()),
        "volume_no_form_codes.nii": volume(ramp(4, 5, 6), sform_code=0, qform_code=0),
        "volume_four_channels.nii": volume(ramp(4, 5, 6, 4)),
        "volume_one_channel_axis.nii": volume(ramp(4, 5, 6, 1)),
        "volume_qform_contradicts_sform.nii": volume(ramp(4, 5, 6), srow_x=[9, 0, 0, 0]),
        "channels_uncoded_sform_agrees.nii": volume(ramp(4, 5, 6, 2), **_UNCODED_SFORM),
        "volume_scaled.nii": volume(ramp(4, 5, 6), scl_slope=2.0, scl_inter=-7.0),
        "volume_slope_nan.nii": volume(ramp(4, 5, 6), scl_slope=np.nan, scl_inter=0.0),
        "plane.nii": volume(ramp(7, 5)),
        "plane_one_voxel_thick.nii": volume(ramp(7, 5, 1)),
        "plane_of_both_versions.nii": of_both_versions(),
    }


def of_both_versions() -> bytes:
    """Return a file that is a plane of 16 x 16 as NIfTI-1, and one of 8 x 8 as NIfTI-2: readers choose."""
    data = bytearray(volume(np.zeros((16, 16), "uint8"), np.eye(4)))
    data[4:16] = b"n+2\0\r\n\x1a\n" + struct.pack("<hh", 2, 8)  # nifti2.h: magic, datatype, bitpix
    data[16:40] = struct.pack("<3q", 2, 8, 8)  # dim
    data[112:136] = struct.pack("<3d", 1, 1, 1)  # pixdim; as NIfTI-1 a slope of 0, which is none
    data[168:176] = struct.pack("<q", 544)  # vox_offset
    return bytes(data)


def defective_volumes() -> dict[str, bytes]:
    """Return the NIfTI files that contradict themselves, are damaged, or hold what no model takes."""
    good = volume(ramp(4, 5, 6))
    nan = ramp(4, 5, 6, dtype="float32")
    nan[1, 2, 3] = np.nan
    rgb = np.zeros((4, 5, 6), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    packed = gzip.compress(good, mtime=0)
    return {
        "gzip_truncated.nii.gz": packed[:-20],
        "gzip_trailing_garbage.nii.gz": packed + b"garbage",
        "gzip_wrong_checksum.nii.gz": packed[:-8] + b"\0\0\0\0" + packed[-4:],
        "gzip_damaged.nii.gz": packed[:20] + b"\xff" * 20 + packed[40:],
        "gzip_of_text.nii.gz": gzip.compress(b"not an image", mtime=0),
        "voxels_truncated.nii": good[:-10],
        "voxels_trailing_bytes.nii": good + bytes(10),
        "header_truncated.nii": good[:348],
        "axis_without_length.nii": volume(ramp(4, 5, 6), dim=[3, 4, 0, 6, 1, 1, 1, 1]),
        "axis_negative.nii": volume(ramp(4, 5, 6), dim=[3, 4, -5, 6, 1, 1, 1, 1]),
        "rank_nine.nii": volume(ramp(4, 5, 6), dim=[9, 4, 5, 6, 1, 1, 1, 1]),
        "axes_huge.nii": volume(ramp(4, 5, 6), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
        "offset_inside_header.nii": volume(ramp(4, 5, 6), vox_offset=100),
        "datatype_unknown.nii": volume(ramp(4, 5, 6), datatype=9999),
        "datatype_rgb.nii": volume(rgb),
        "datatype_complex.nii": volume(ramp(4, 5, 6, dtype="complex64")),
        "affine_singular.nii": volume(ramp(4, 5, 6), srow_z=[0, 0, 0, 0], sform_code=1, qform_code=0),
        "affine_nan.nii": volume(ramp(4, 5, 6), srow_x=[np.nan, 0, 0, 0], sform_code=1, qform_code=0),
        "affine_far_away.nii": volume(ramp(4, 5, 6), srow_x=[-1.5, 0, 0, 1e30]),
        "form_unknown.nii": volume(ramp(4, 5, 6), sform_code=77),
        "voxel_size_zero.nii": volume(ramp(4, 5, 6), pixdim=[1, 0, 2, 3, 1, 1, 1, 1]),
        "voxel_size_nan.nii": volume(ramp(4, 5, 6), pixdim=[1, np.nan, 2, 3, 1, 1, 1, 1]),
        "quaternion_impossible.nii": volume(ramp(4, 5, 6), quatern_b=5.0, sform_code=0, qform_code=1),
        "quaternion_impossible_and_needed.nii": volume(ramp(4, 5, 6), srow_x=[9, 0, 0, 0], quatern_b=5.0),
        "unit_micrometre.nii": volume(ramp(4, 5, 6), xyzt_units=3),
        "intercept_infinite.nii": volume(ramp(4, 5, 6), scl_slope=1.0, scl_inter=np.inf),
        "header_of_pair.hdr": volume(ramp(4, 5, 6), magic=b"ni1")[:348],
        "voxel_nan.nii": volume(nan),
        "voxel_overflows_when_scaled.nii": volume(ramp(4, 5, 6), scl_slope=3e38, scl_inter=0.0),
        "voxel_overflows_float32.nii": volume(ramp(4, 5, 6, dtype="float64") * 1e300),
    }


def pictures() -> dict[str, bytes]:
    """Return the PNG, JPEG and TIFF files."""
    grey, colour = ramp(5, 7, dtype="uint8"), ramp(5, 7, 3, dtype="uint8")
    deep = (ramp(5, 7, dtype="uint16") * 1000).astype("uint16")
    png = picture(grey, "PNG")
    jpeg = picture(np.kron(grey, np.ones((16, 16), "uint8")), "JPEG", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6
    second = [Image.fromarray(255 - grey)]
    broken = bytearray(png)
    broken[-20] ^= 0xFF
    bomb = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    return {
        "grey.png": png,
        "grey_16_bit.png": picture(deep, "PNG"),
        "grey_alpha.png": picture(np.stack([grey, grey], -1), "PNG"),
        "colour.png": picture(colour, "PNG"),
        "colour_alpha.png": picture(ramp(5, 7, 4, dtype="uint8"), "PNG"),
        "palette.png": picture(colour, "PNG", "P"),
        "palette_transparent.png": picture(colour, "PNG", "P", transparency=0),
        "one_bit.png": picture(grey * 7, "PNG", "1"),
        "grey.jpg": jpeg,
        "colour.jpg": picture(np.kron(colour, np.ones((8, 8, 1), "uint8")), "JPEG", quality=95),
        "cmyk.jpg": picture(colour, "JPEG", "CMYK"),
        "exif_turned.jpg": picture(np.kron(grey, np.ones((16, 16), "uint8")), "JPEG", exif=turned),
        "exif_turned.png": picture(grey, "PNG", exif=turned),
        "grey.tiff": picture(grey, "TIFF"),
        "grey_16_bit.tiff": picture(deep, "TIFF", compression="tiff_lzw"),
        "grey_16_bit_big_endian.tiff": _big_endian_tiff(deep),
        "white_is_zero_16_bit.tiff": picture(deep, "TIFF", tiffinfo={262: 0}),
        "colour.tiff": picture(colour, "TIFF"),
        "float.tiff": picture(grey.astype("float32"), "TIFF"),
        "two_pages.tiff": picture(grey, "TIFF", save_all=True, append_images=second),
        "animated.png": picture(grey, "PNG", save_all=True, append_images=second),
        "lab.tiff": _lab_tiff(),
        "truncated.png": png[:-30],
        "wrong_checksum.png": bytes(broken),
        "header_only.png": png[:33],
        "bomb.png": b"\x89PNG\r\n\x1a\n" + bomb + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""),
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "truncated.tiff": picture(np.kron(grey, np.ones((16, 16), "uint8")), "TIFF")[:200],
    }


def _lab_tiff() -> bytes:
    buffer = io.BytesIO()
    Image.frombytes("LAB", (7, 5), bytes(105)).save(buffer, "TIFF")
    return buffer.getvalue()


def _big_endian_tiff(array: Any) -> bytes:
    height, width = array.shape
    entries = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 122), (277, 3, 1)]
    entries += [(278, 3, height), (279, 4, array.nbytes)]
    directory = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in entries
    )
    head = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", len(entries)) + directory + bytes(4)
    return bytes(head + array.astype(">u2").tobytes())


def arrays() -> dict[str, bytes]:
    """Return the NumPy files."""
    good = saved(ramp(7, 5, dtype="float32"))
    archive = io.BytesIO()
    np.savez(archive, image=ramp(7, 5))
    nan = ramp(7, 5, dtype="float32")
    nan[0, 0] = np.inf
    return {
        "array.npy": good,
        "array_fortran.npy": saved(np.asfortranarray(ramp(7, 5, dtype="float32"))),
        "array_infinite.npy": saved(nan),
        "array_truncated.npy": good[:-4],
        "array_trailing_bytes.npy": good + bytes(4),
        "array_header_truncated.npy": good[:30],
        "array_complex.npy": saved(ramp(7, 5, dtype="complex64")),
        "array_text.npy": saved(np.array(["a", "b"])),
        "array_pickled.npy": saved(np.array([{"a": 1}], object), allow_pickle=True),
        "array_negative_axis.npy": good.replace(b"(7, 5)", b"(7,-5)"),
        "array_huge.npy": good.replace(b"(7, 5), }" + b" " * 7, b"(70000,90000), }"),
        "archive.npz": archive.getvalue(),
    }


def main() -> None:
    """Write everything beside this script."""
    for name, data in {**sound_volumes(), **defective_volumes(), **pictures(), **arrays()}.items():
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
