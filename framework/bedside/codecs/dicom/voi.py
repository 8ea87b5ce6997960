"""Stored values of a grey image to what a viewer shows: Modality LUT, VOI LUT, polarity (PS3.4 §N.2).

Written here although pydicom has it: its 8-bit VOI LUT wraps at 256 stored values, its windows answer in a range that
depends on the header, and its Presentation LUT asks for attributes that most radiographs lack (docs/decisions/0101).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.codecs.dicom.frames import StoredFrame
from bedside.codecs.dicom.instances import BROKEN, Instance
from bedside.codecs.dicom.pixels import padding_of
from bedside.codecs.dicom.tags import first_number, item, numbers, text, value_of
from bedside.errors import InvalidTag, NotDicom

_READ = (
    "BitsAllocated",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PresentationLUTShape",
)
_POLARITY = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}  # PS3.3 §C.8.11.3.1.2

Values = NDArray[np.float64]


def displayed(frame: StoredFrame, stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what a viewer shows: 0 is black, 255 white, in the shape of ``stored``.

    Of several windows or LUTs, alternatives by the standard, the first is taken, and a LUT before a window. An image
    without either is shown over the whole range that its header allows, which hangs on no pixel. What is padding is
    black.

    Raises:
        InvalidTag, MissingTag, NotDicom: an attribute of the pipeline cannot be true.
    """
    instance = frame.instance
    try:
        dataset = instance.attributes(_READ)
    except BROKEN:
        raise NotDicom(instances=[instance.uid]) from None
    values, low, high = _modality(frame, dataset, stored)
    shown = _voi(instance, dataset, values, (low, high))
    if _is_inverted(instance, dataset):
        shown = 1 - shown
    padding = padding_of(frame, stored)
    if padding is not None:
        shown[padding] = 0
    return np.floor(shown * 255 + 0.5).astype(np.uint8)


def _modality(frame: StoredFrame, dataset: Any, stored: NDArray[Any]) -> tuple[Values, float, float]:
    """Return values with the least and the greatest that there may be (PS3.3 §C.11.1)."""
    uid, bounds = frame.uid, frame.pixels.bounds
    table = item(dataset, "ModalityLUTSequence")
    if table is not None:
        values, most = _looked_up(frame.instance, table, stored, signed=frame.pixels.signed)
        return values, 0.0, most
    (slope,) = numbers(dataset, "RescaleSlope", 1, uid, 1.0)
    (intercept,) = numbers(dataset, "RescaleIntercept", 1, uid, 0.0)
    if slope == 0:
        raise InvalidTag("Rescale Slope (0028,1053) is zero", instances=[uid])
    low, high = sorted(slope * bound + intercept for bound in bounds)
    return stored * np.float64(slope) + intercept, low, high


def _voi(instance: Instance, dataset: Any, values: Values, bounds: tuple[float, float]) -> Values:
    """Return values from 0 to 1 (PS3.3 §C.11.2)."""
    table = item(dataset, "VOILUTSequence")
    if table is not None:
        found, most = _looked_up(instance, table, np.rint(values), signed=bounds[0] < 0)
        return found / most
    centre = first_number(dataset, "WindowCenter", instance.uid)
    width = first_number(dataset, "WindowWidth", instance.uid)
    if centre is None or width is None:
        return (values - bounds[0]) / (bounds[1] - bounds[0])
    return _windowed(values, centre, width, text(dataset, "VOILUTFunction").strip().upper() or "LINEAR", instance.uid)


def _windowed(values: Values, centre: float, width: float, function: str, uid: str) -> Values:
    if function not in {"LINEAR", "LINEAR_EXACT", "SIGMOID"}:
        raise InvalidTag("VOI LUT Function (0028,1056) is none of the standard's", instances=[uid])
    if width < 1 if function == "LINEAR" else width <= 0:
        raise InvalidTag("Window Width (0028,1051) is too small", instances=[uid])
    if function == "SIGMOID":  # §C.11.2.1.3.1, written so that nothing overflows
        return np.asarray(0.5 + 0.5 * np.tanh(2 * ((values - centre) / width)))
    if function == "LINEAR":  # §C.11.2.1.2.1
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return np.where(values > centre, 1.0, 0.0)
    return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1))


def _looked_up(instance: Instance, table: Any, values: NDArray[Any], *, signed: bool) -> tuple[Values, float]:
    """Return what a LUT makes of values, and the greatest that it may make (PS3.3 §C.11.1.1, §C.11.2.1.1)."""
    count, first, bits = (int(number) for number in numbers(table, "LUTDescriptor", 3, instance.uid))
    count = count & 0xFFFF or 1 << 16  # 0 means 65536
    first = (first & 0xFFFF) - (1 << 16 if signed and first & 0x8000 else 0)
    entries = _entries(instance, value_of(table, "LUTData"), count)
    most = (1 << bits) - 1 if 8 <= bits <= 16 else 0
    if len(entries) != count or int(entries.max()) > most:
        raise InvalidTag("LUT Data (0028,3006) is not what LUT Descriptor (0028,3002) says", instances=[instance.uid])
    return entries[np.clip(values - first, 0, count - 1).astype(np.int64)].astype(np.float64), float(most)


def _entries(instance: Instance, data: Any, count: int) -> NDArray[Any]:
    if isinstance(data, bytes):  # OW, one byte for each entry of 8 bits, padded to an even length
        order = ">" if instance.big_endian else "<"
        packed = len(data) == count + count % 2
        return np.frombuffer(data[:count] if packed else data[: len(data) // 2 * 2], "u1" if packed else f"{order}u2")
    try:
        return np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF  # US; SS by mistake has the same bits
    except (TypeError, ValueError, OverflowError):
        return np.empty(0, np.int64)


def _is_inverted(instance: Instance, dataset: Any) -> bool:
    interpretation, shape = text(instance.header, "PhotometricInterpretation"), text(dataset, "PresentationLUTShape")
    if shape not in ("", _POLARITY[interpretation]):
        raise InvalidTag(
            "Presentation LUT Shape (2050,0020) contradicts Photometric Interpretation", instances=[instance.uid]
        )
    return interpretation == "MONOCHROME1"
