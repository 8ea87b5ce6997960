"""DICOM images in, DICOM results out (docs/dicom.md). Needs the extra ``dicom``; nothing is imported before it is used.

The surface for transports: :func:`read_series`, :func:`read_radiograph` and :func:`write_results`; :func:`files_of` and
:func:`received` for those that route studies before they are decoded.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bedside.bundle.contract import Contract, InputSpec
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.bundle.study import DICOM, RELATED
from bedside.errors import DicomNotInstalled
from bedside.settings import LimitSettings
from bedside.types import DecodedImage, Prediction, RawPart, ValidatedInputs

if TYPE_CHECKING:
    from bedside.codecs.dicom.incoming import ReceivedInstance
    from bedside.codecs.dicom.objects import DicomObject
    from bedside.codecs.dicom.source import Source, SourceSeries

ZIP = "application/zip"
MEDIA_TYPES = (DICOM, ZIP, RELATED)

__all__ = [
    "DICOM",
    "MEDIA_TYPES",
    "RELATED",
    "ZIP",
    "decode_dicom",
    "files_of",
    "is_dicom",
    "read_radiograph",
    "read_series",
    "received",
    "write_results",
]


def is_dicom(part: RawPart) -> bool:
    """Tell whether a part holds DICOM: by its media type, or, where that says nothing, by its first bytes."""
    media_type = part.media_type.partition(";")[0].strip().lower()
    undeclared = media_type in ("", "application/octet-stream")
    return media_type in MEDIA_TYPES or (undeclared and part.data[128:132] == b"DICM")


def decode_dicom(part: RawPart, spec: InputSpec, limits: LimitSettings) -> DecodedImage:
    """Decode one part (a DICOM file, a zip, or multipart/related of them) into an image that knows its source.

    A radiograph for an input with two spatial axes, else a volume.

    Raises:
        DicomRefused: one leaf per reason.
        MalformedPayload, PayloadTooLarge: the container is damaged or ambiguous, or beyond the limits.
        DicomNotInstalled: the extra is missing.
    """
    containers = _module("containers")
    with nullcontext(part.files) if part.files else containers.opened(part, spec.name, limits) as files:
        if spec.is_plane:
            return read_radiograph(files, spec.dicom, limits, name=spec.name)[0]
        return read_series(files, spec.dicom, limits, name=spec.name)[0]


def read_series(
    parts: Iterable[Any], rules: DicomPolicy, limits: LimitSettings, *, name: str = "image"
) -> "tuple[DecodedImage, SourceSeries]":
    """Choose a series, check its geometry, and build its volume.

    Args:
        parts: DICOM files as bytes, as functions that return bytes (called up to twice), or as instances whose headers
            were read before.
        rules: which series is meant, and what may be mended.
        limits: ``dicom_instances`` and ``decompressed_bytes`` bound what is built.
        name: the contract's input.

    Returns:
        The volume as NIfTI, int16 where every value is such a number, else float32; and what results refer to.

    Raises:
        DicomRefused, PayloadTooLarge, DicomNotInstalled.
    """
    image, source = _module("series").read_series(parts, rules, limits, name=name)
    return image, source


def read_radiograph(
    parts: Iterable[Any], rules: DicomPolicy, limits: LimitSettings, *, name: str = "image"
) -> "tuple[DecodedImage, Source]":
    """Choose a radiograph and return it as a viewer shows it.

    Args:
        parts: as for :func:`read_series`.
        rules: which image is meant.
        limits: ``dicom_instances``, ``picture_pixels`` and ``decompressed_bytes`` bound what is built.
        name: the contract's input.

    Returns:
        A PNG of 8 bits, shape (columns, rows); and what results refer to.

    Raises:
        DicomRefused, PayloadTooLarge, DicomNotInstalled.
    """
    image, source = _module("radiograph").read_radiograph(parts, rules, limits, name=name)
    return image, source


def write_results(
    source: object,
    contract: Contract,
    prediction: Prediction,
    policy: DicomPolicy,
    *,
    inputs: ValidatedInputs | None = None,
    created: datetime | None = None,
) -> "list[DicomObject]":
    """Write what a model found as DICOM objects that refer to their source; the first one is the main one.

    The same source, bundle and policy give the same UIDs; with the same ``created``, the same bytes.

    Args:
        source: what :func:`read_series` gave, which ``DecodedImage.source`` carries.
        contract: names, version and digest of the bundle.
        prediction: arrays on any grid with an affine, or on the grid of the input.
        policy: which objects, and how segments are coded.
        inputs: for the secondary capture, which is drawn over the image.
        created: when the result was made; now, where it is not given.

    Raises:
        RunFailed: a result has no place in the source's frame of reference, or cannot be written.
    """
    written: list[DicomObject] = _module("results").write_results(
        source, contract, prediction, policy, inputs=inputs, created=created
    )
    return written


def files_of(part: RawPart, limits: LimitSettings) -> list[bytes | memoryview]:
    """Return the DICOM files of a container. Raises MalformedPayload, PayloadTooLarge, DicomNotInstalled."""
    files: list[bytes | memoryview] = _module("incoming").files_of(part, limits)
    return files


def received(data: bytes | memoryview) -> "ReceivedInstance":
    """Return a DICOM file as an instance that says what it is. Raises DicomRefused, DicomNotInstalled."""
    instance: ReceivedInstance = _module("incoming").received(data)
    return instance


def _module(name: str) -> Any:
    try:
        return import_module(f"bedside.codecs.dicom.{name}")
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in {"pydicom", "highdicom"}:
            raise DicomNotInstalled from None
        raise
