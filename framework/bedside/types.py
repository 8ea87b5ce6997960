"""The nouns that travel along the spine (docs/architecture.md).

Trust is in the type: an :class:`UnverifiedToken` becomes a :class:`Principal` only in ``security``; a
:class:`RawPart` becomes a decoded input in ``codecs``, and decoded inputs become :class:`ValidatedInputs`
only where the contract has been checked (``bundle.validation``).

Those that every call makes anew are named tuples, which are made in a quarter of the time of a frozen dataclass.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, NewType, TypeAlias

import numpy as np
from numpy.typing import NDArray

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""A value that JSON can say (RFC 8259)."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})

UnverifiedToken = NewType("UnverifiedToken", str)
"""The credentials of an ``Authorization: Bearer`` header as they came (RFC 6750 §2.1)."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, after the token has been verified.

    ``subject`` and ``issuer`` are the token's ``sub`` and ``iss``; ``expires_at`` its ``exp`` in seconds since
    the epoch.
    """

    subject: str
    issuer: str
    scopes: frozenset[str]
    expires_at: float

    @property
    def owner(self) -> str:
        """Return the hash by which jobs and answers are a caller's: databases hold no names of staff."""
        return _owner(self.issuer, self.subject)


@lru_cache(maxsize=4096)
def _owner(issuer: str, subject: str) -> str:
    return hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RawPart:
    """One input as it came over the wire: bytes and a media type.

    ``name`` is None where the body is the only input and has no name. A file name sent by the caller is
    dropped by the transport: it often holds a patient's name.

    ``files`` is what the codec of a container has read of the files in it already, in their order; nothing to anybody
    else, and never shown.
    """

    name: str | None
    media_type: str
    data: bytes
    files: tuple[object, ...] = field(default=(), repr=False, compare=False)


class RawTensor(NamedTuple):
    """One tensor of the Open Inference Protocol ($request_input / RequestInput).

    ``data`` is the flattened JSON list, or the raw little-endian bytes of the binary tensor extension.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | list[Any]
    parameters: Mapping[str, Any] = _NOTHING


class RawRecord(NamedTuple):
    """A JSON document with named values (a tabular record), already parsed."""

    values: Mapping[str, Any]


RawInput = RawPart | RawTensor | RawRecord


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image file, decompressed, checked to be whole, and ready for the bundle's own reader.

    Attributes:
        name: input name of the contract.
        payload: the file's bytes without outer compression (NIfTI ``.nii``, PNG, JPEG, TIFF, ``.npy``).
        suffix: file suffix by which MONAI's ``LoadImage`` chooses its reader, for example ``.nii``.
        shape: array shape as the reader will see it: spatial axes, then channels where there are any.
        spatial_dims: number of spatial axes of ``shape``.
        channels: number of channels in the file, 1 where the array has no channel axis.
        dtype: NumPy name of the stored type.
        affine: voxel to RAS+ millimetres, shape (4, 4); None where the format has no geometry.
        finite: False where a stored floating-point value is NaN or infinite.
        source: what the codec that made it needs to answer in the input's own format (``codecs.dicom.SourceSeries``);
            nothing to anybody else, and never shown.
    """

    name: str
    payload: bytes
    suffix: str
    shape: tuple[int, ...]
    spatial_dims: int
    channels: int
    dtype: str
    affine: NDArray[np.float64] | None = None
    finite: bool = True
    source: object = field(default=None, repr=False, compare=False)


class DecodedRecord(NamedTuple):
    """A record of named numbers, in the contract's order.

    Attributes:
        name: the input under which the bundle expects the vector.
        values: float32, shape (features,); NaN where the caller said that the value is missing.
        record: what the caller sent, to be returned with the prediction.
    """

    name: str
    values: NDArray[np.float32]
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DecodedValue:
    """A JSON value that goes to the bundle's preprocessing as it is: points, clicks, class prompts, labels."""

    name: str
    value: Json


@dataclass(frozen=True, slots=True)
class DecodedArray:
    """An array that goes to the bundle's preprocessing as it is: a latent, for one."""

    name: str
    values: NDArray[Any]


DecodedInput = DecodedImage | DecodedRecord | DecodedValue | DecodedArray


class ValidatedInputs(NamedTuple):
    """Inputs that keep the model's contract, in its order; only ``bundle.validation`` makes these.

    Several files of one input are several items of one name, in the caller's order. What is optional may be absent.
    """

    items: tuple[DecodedInput, ...]


class OutputArray(NamedTuple):
    """One named result of a bundle, as its own postprocessing (and saver) left it.

    Attributes:
        name: of the result.
        stored: its numbers, maybe in fewer bytes than the bundle's own type takes: enough to count labels.
        affine: voxel to RAS+ millimetres, shape (4, 4), where the result has geometry.
        narrowed_from: the bundle's own type where ``stored`` is narrower.
    """

    name: str
    stored: NDArray[Any]
    affine: NDArray[np.float64] | None = None
    narrowed_from: np.dtype[Any] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the bundle's own type."""
        return self.stored.dtype if self.narrowed_from is None else self.narrowed_from

    @property
    def array(self) -> NDArray[Any]:
        """Return the numbers as the bundle's own type, bit for bit: a copy where ``stored`` is narrower."""
        return self.stored if self.narrowed_from is None else self.stored.astype(self.narrowed_from)


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a bundle writes by design; ``suffix`` chooses the media type.

    ``name`` is what the bundle called it, without folders and suffix; empty where that is not known.
    """

    suffix: str
    data: bytes
    name: str = ""


class Prediction(NamedTuple):
    """What one run of a bundle gave, with the seconds that each stage took.

    ``values`` are results that are no arrays, by name: a list of boxes with scores, a class, a landmark by its name.
    """

    arrays: tuple[OutputArray, ...]
    files: tuple[OutputFile, ...] = ()
    seconds: Mapping[str, float] = _NOTHING
    values: Mapping[str, Json] = _NOTHING


MOST_ML = 100_000.0
"""No part of a person has more millilitres: what does was measured by a made-up geometry."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number that an answer says: the volume of a label in millilitres, or the value of a result."""

    kind: Literal["volume", "value"]
    name: str
    number: float


class Finding(NamedTuple):
    """What one answer says, for those who watch answers; all names are the bundle's.

    Attributes:
        predicted: class that it names and its probability, where it names one.
        quantities: volumes and values.
    """

    predicted: tuple[str, float] | None = None
    quantities: tuple[Quantity, ...] = ()


class EncodedAnswer(NamedTuple):
    """Bytes and media type for a transport to send; ``finding`` where writing them told it."""

    media_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    finding: Finding | None = None


Outcome = Literal["success", "failure"]
