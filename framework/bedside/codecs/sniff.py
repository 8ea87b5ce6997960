"""What the bytes are: by declared media type, by magic number, and whether the two agree.

A server that believes the declared type hands a PNG to a NIfTI parser; one that believes only the bytes
lets ``text/html`` through. Both are asked, and they must agree.
"""

from typing import Literal

from bedside.bundle.contract import InputSpec
from bedside.errors import MalformedPayload, UnsupportedMediaType

FileKind = Literal["nifti", "gzip", "png", "jpeg", "tiff", "npy", "npz", "json", "pair", "unknown"]

_DECLARED: dict[str, tuple[FileKind, ...]] = {
    "application/gzip": ("gzip",),
    "application/x-gzip": ("gzip",),
    # There is no registered media type for NIfTI; viewers and clients use all of these, compressed or not.
    "application/x-nifti": ("nifti", "gzip"),
    "application/nifti": ("nifti", "gzip"),
    "application/vnd.unknown.nifti-1": ("nifti", "gzip"),
    "image/nii": ("nifti", "gzip"),
    "image/nifti": ("nifti", "gzip"),
    "image/x-nifti": ("nifti", "gzip"),
    "image/nii.gz": ("gzip",),
    "image/png": ("png",),
    "image/jpeg": ("jpeg",),
    "image/jpg": ("jpeg",),
    "image/tiff": ("tiff",),
    "application/x-npy": ("npy", "npz"),
    "application/json": ("json",),
}
_UNDECLARED = ("application/octet-stream", "")

_ACCEPTED_AS: dict[FileKind, tuple[str, ...]] = {
    "nifti": ("application/x-nifti", "application/gzip"),
    "gzip": ("application/gzip", "application/x-nifti"),
    "png": ("image/png",),
    "jpeg": ("image/jpeg",),
    "tiff": ("image/tiff",),
    "npy": ("application/x-npy",),
    "json": ("application/json",),
}

_TITLES: dict[FileKind, str] = {
    "nifti": "a NIfTI file",
    "gzip": "a gzip file",
    "png": "a PNG file",
    "jpeg": "a JPEG file",
    "tiff": "a TIFF file",
    "npy": "a NumPy .npy file",
    "npz": "a ZIP archive (.npz)",
    "json": "JSON text",
    "pair": "the header of a NIfTI .hdr/.img pair",
    "unknown": "of no known kind",
}

_MAGIC: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"\x1f\x8b", "gzip"),  # RFC 1952 §2.3.1
    (0, b"\x89PNG\r\n\x1a\n", "png"),  # PNG (W3C, third edition) §5.2
    (0, b"\xff\xd8\xff", "jpeg"),  # ITU-T T.81 §B.1.1.3: SOI and the next marker
    (0, b"II*\x00", "tiff"),  # TIFF 6.0 §2
    (0, b"MM\x00*", "tiff"),
    (0, b"\x93NUMPY", "npy"),  # NEP 1
    (0, b"PK\x03\x04", "npz"),
    (4, b"n+2\x00\r\n\x1a\n", "nifti"),  # NIfTI-2
    (344, b"n+1\x00", "nifti"),  # NIfTI-1
    (344, b"ni1\x00", "pair"),
    (4, b"ni2\x00", "pair"),
)


def sniff(data: bytes) -> FileKind:
    """Return what the first bytes say that ``data`` is."""
    for offset, magic, kind in _MAGIC:
        if data.startswith(magic, offset):
            return kind
    return "json" if data[:64].lstrip(b" \t\r\n")[:1] in (b"{", b"[") else "unknown"


def identify(data: bytes, media_type: str, spec: InputSpec) -> FileKind:
    """Return the kind of file that ``data`` is, once declaration, bytes and contract agree.

    Parameters of the media type (``; charset=utf-8``) say nothing that the bytes do not and are ignored.

    Raises:
        UnsupportedMediaType: the declared type is not known here, or the model's input does not take it.
        MalformedPayload: the bytes are empty, or are not what was declared.
    """
    declared = media_type.partition(";")[0].strip().lower()
    kinds = _DECLARED.get(declared)
    if kinds is None and declared not in _UNDECLARED:
        raise unsupported(spec)
    if not data:
        raise MalformedPayload(f"'{spec.name}' is empty", field=spec.name)
    kind = sniff(data)
    if kinds is None:
        kinds = (kind,)
    _require_accepted(kinds, spec)
    if kind not in kinds:
        raise MalformedPayload(f"'{spec.name}' was declared as {declared}, but is {_TITLES[kind]}", field=spec.name)
    return kind


def _require_accepted(kinds: tuple[FileKind, ...], spec: InputSpec) -> None:
    offered = [media_type for kind in kinds for media_type in _ACCEPTED_AS.get(kind, ())]
    if spec.kind == "record" and kinds != ("json",):
        raise unsupported(spec)
    if spec.kind != "record" and (kinds == ("json",) or not offered + [k for k in kinds if k in {"npz", "pair"}]):
        raise unsupported(spec)
    if spec.media_types and offered and not set(offered) & set(spec.media_types):
        raise unsupported(spec)


def unsupported(spec: InputSpec) -> UnsupportedMediaType:
    """Return the error that names what an input may be sent as."""
    accepted = ", ".join(spec.media_types) or ", ".join(sorted(_DECLARED))
    return UnsupportedMediaType(f"'{spec.name}' must be sent as one of: {accepted}", field=spec.name)
