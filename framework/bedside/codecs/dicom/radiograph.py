"""From files to one picture: a radiograph as the viewer of an archive shows it, for models that read PNG."""

from collections.abc import Iterable

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom.frames import StoredFrame, stored_frame
from bedside.codecs.dicom.hanging import turn_of
from bedside.codecs.dicom.instances import Instance
from bedside.codecs.dicom.pixels import require_plausible, stored_values
from bedside.codecs.dicom.selection import choose
from bedside.codecs.dicom.series import Part, digest_of, read_instances, refusals_named
from bedside.codecs.dicom.source import Source
from bedside.codecs.dicom.tags import integer, numbers
from bedside.codecs.dicom.voi import displayed
from bedside.codecs.plane import encode_png
from bedside.errors import DecompressedTooLarge, MultiFrame, NonSquarePixels
from bedside.settings import LimitSettings
from bedside.types import DecodedImage

_PICTURE_BYTES = 8  # per pixel, while values are float64
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio")
_SQUARE = 0.01  # of the spacing: over 3000 pixels, fewer than a viewer's rounding


def read_radiograph(
    parts: Iterable[Part], rules: DicomPolicy, limits: LimitSettings, *, name: str
) -> tuple[DecodedImage, Source]:
    """See :func:`bedside.codecs.dicom.read_radiograph`."""
    with refusals_named(name):
        # (1) headers of everything that came
        instances = list(read_instances(parts, limits, name))
        # (2) the image that is meant
        series = choose(instances, rules, name, planes=True)
        instance = series.instances[0]
        # (3) its one frame, within bounds
        frame = _frame(instance, limits, name)
        # (4) its pixels, as they are shown, hanging as the model expects
        turn = turn_of(instance, rules)
        ((_, stored),) = stored_values([frame])
        shown = displayed(frame, stored)
        pixels = shown if turn is None else turn.applied(shown)
        payload = encode_png(pixels)
        # (5) what results will refer to
        source = Source(
            name=name,
            headers=(instance.header,),
            study=instance.study,
            series=instance.series,
            modality=series.modality,
            digest=digest_of(payload, series.instances),
            turn=turn,
        )
    rows, columns = pixels.shape
    return DecodedImage(name, payload, ".png", (columns, rows), 2, 1, "uint8", source=source), source


def _frame(instance: Instance, limits: LimitSettings, name: str) -> StoredFrame:
    if integer(instance.header, "NumberOfFrames", instance.uid, 1) != 1:
        raise MultiFrame(instances=[instance.uid])
    _require_square(instance)
    frame = stored_frame(instance, ("MONOCHROME1", "MONOCHROME2"))
    pixels = frame.size[0] * frame.size[1]
    if pixels > limits.picture_pixels or _PICTURE_BYTES * pixels > limits.decompressed_bytes:
        raise DecompressedTooLarge(f"'{name}' has {pixels} pixels", field=name)
    require_plausible([frame])
    return frame


def _require_square(instance: Instance) -> None:
    """Refuse pixels that are not square; where nothing is stated, they are (PS3.3 §C.7.6.3.1.7)."""
    for keyword in _SPACINGS:
        if keyword in instance.header:
            high, wide = numbers(instance.header, keyword, 2, instance.uid)
            if min(high, wide) <= 0 or abs(high - wide) > _SQUARE * wide:
                raise NonSquarePixels(instances=[instance.uid])
