"""The contract: what a request must look like and what the answer will be.

Derived, never guessed, from three sources:

1. ``metadata.json``: names of channels, features and classes. Its ``network_data_format`` describes the
   *network's* tensors, so its ``spatial_shape`` binds no upload.
2. the bundle's own preprocessing: which keys it reads, with what reader (:class:`InputFact`);
3. one real run: the result's shape, type and channels (:class:`OutputFact`).

What none of them tells is ``None`` ("unknown" where people read it) and binds nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.bundle.media_types import media_type_of_suffix
from bedside.bundle.metadata import FeatureDescription, Metadata, TensorFormat
from bedside.errors import LoadFailed
from bedside.types import Json, OutputArray

InputKind = Literal["image", "record", "value", "tensor"]
OutputKind = Literal["segmentation", "probabilities", "image", "tensor", "value", "file"]

VOLUME_MEDIA_TYPES = ("application/x-nifti", "application/gzip")
DICOM_MEDIA_TYPES = ("application/dicom", "application/zip", "multipart/related")
PLANE_MEDIA_TYPES = ("image/png", "image/jpeg", "image/tiff")
SLIDE_MEDIA_TYPES = ("image/tiff",)
ARRAY_MEDIA_TYPES = ("application/x-npy",)
RECORD_MEDIA_TYPES = VALUE_MEDIA_TYPES = ("application/json",)


@dataclass(frozen=True, slots=True)
class InputFact:
    """What the built preprocessing tells about one key that a request must bring.

    Attributes:
        name: key in the item dictionary.
        kind: ``image`` where a reader consumes a file; ``record`` for a vector of named numbers; ``value`` for any JSON
            value and ``tensor`` for an array, both handed to the preprocessing as they are.
        files: number of files under this key; None for any number from one on.
        optional: True where the item may lack the key.
        example: a value that the bundle itself shows, of a ``value``; None where it shows none.
        shape: axis lengths of a ``tensor``, -1 for any; empty where not known.
        dtype: NumPy name of a ``tensor``'s elements; empty where not known.
        sample_channels: channels of a made-up file, where any number may come.
        spatial_dims: spatial axes of the file, where trying has shown that they are not the network's.
        reader: class name of the reader the bundle chose, None where MONAI chooses by suffix.
        converts: True where the reader converts the image, so that the file's channels are not the network's.
        adds_channel: True where a transform makes a channel axis for arrays that have none.
        channels: channel counts for which the preprocessing gave what the network takes; found by trying.
        nullable: for each number of a record, True where a run without it gave a finite result.
    """

    name: str
    kind: InputKind
    reader: str | None = None
    converts: bool = False
    adds_channel: bool = True
    channels: tuple[int, ...] = ()
    nullable: tuple[bool, ...] = ()
    files: int | None = 1
    optional: bool = False
    example: Any = None  # JSON
    shape: tuple[int, ...] = ()
    dtype: str = ""
    spatial_dims: int | None = None
    sample_channels: int | None = None

    @property
    def reads_file(self) -> bool:
        """Tell whether the preprocessing wants the path of a file."""
        return self.kind == "image"


@dataclass(frozen=True, slots=True)
class OutputFact:
    """What one real run tells about one result.

    Attributes:
        name: key of the result.
        dtype: NumPy name of the element type; empty for what is no array.
        shape: array shape as answered, channels last for images.
        has_geometry: True where the result carries an affine.
        like_input: name of the input whose spatial shape and affine the result has; None where it has neither.
        kind: ``array``; ``value`` for one of ``Prediction.values``; ``file`` for one of ``Prediction.files``, which are
            called ``file_0``, ``file_1`` ….
        suffix: of a file.
    """

    name: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    has_geometry: bool = False
    like_input: str | None = None
    kind: Literal["array", "value", "file"] = "array"
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One named number of a record.

    Attributes:
        name: name in the record.
        description: what it means.
        unit: its unit; ``code`` where ``codes`` lists the values that it may take.
        codes: meaning by value; empty where any number may come.
        seen: least and greatest value in the training data; outside it, the model extrapolates.
        nullable: True where it may be missing.
    """

    name: str
    description: str = ""
    unit: str = ""
    codes: Mapping[float, str] = field(default_factory=dict)
    seen: tuple[float, float] | None = None
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a request. ``None`` and the empty tuple mean unknown: nothing is checked.

    Attributes:
        name: input name.
        kind: ``image`` (an encoded file or the decoded array), ``record`` (named numbers), ``value`` (any JSON value)
            or ``tensor`` (an array that is no image).
        media_types: what the file may be; empty where unknown.
        spatial_dims: spatial axes of the image.
        channels: channel counts that the file may have.
        channel_names: by channel index, from ``channel_def``.
        features: the record's numbers in the network's order.
        extent_mm: least and greatest size along each spatial axis, from the bundle's policy; inf where unbounded.
        files: number of files, which is 1 for all but some images; None for any number from one on.
        optional: True where it may be left out.
        example: a value that the bundle itself shows.
        shape: axis lengths of a tensor, -1 for any; empty where unknown.
        dtype: NumPy name of a tensor's elements; empty where unknown.
        dicom: which series it takes, and how its results are coded, from the bundle's policy.
        sample_channels: channels of a made-up file, where any number may come.
    """

    name: str
    kind: InputKind
    media_types: tuple[str, ...] = ()
    spatial_dims: int | None = None
    channels: tuple[int, ...] = ()
    channel_names: tuple[str, ...] = ()
    features: tuple[FeatureSpec, ...] = ()
    extent_mm: tuple[float, float] | None = None
    files: int | None = 1
    optional: bool = False
    example: Json = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    dicom: DicomPolicy = field(default_factory=DicomPolicy)
    sample_channels: int | None = None

    @property
    def is_plane(self) -> bool:
        """Tell whether a picture is meant, not a volume."""
        volumes, planes = (set(types) <= set(self.media_types) for types in (VOLUME_MEDIA_TYPES, PLANE_MEDIA_TYPES))
        return self.spatial_dims == 2 or (planes and not volumes)

    @property
    def is_slide(self) -> bool:
        """Tell whether it is a whole slide, which the bundle reads region by region."""
        return self.kind == "image" and self.media_types == SLIDE_MEDIA_TYPES


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One result of an answer.

    Attributes:
        name: result name.
        kind: how people read it; ``tensor`` where nothing more is known of an array; ``value`` and ``file`` are none.
        dtype: NumPy name of the element type, None before the first run.
        shape: axis lengths, -1 where they follow the input; None before the first run.
        labels: class or label names by index, from ``channel_def``.
        like_input: the input on whose grid the result lies.
        media_type: of a file that the bundle wrote; empty for anything else.
    """

    name: str
    kind: OutputKind
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    like_input: str | None = None
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything a caller may rely on, of one version of one model.

    ``record`` is the record input where the model takes one, else None. ``shims`` names what the compatibility layer
    changed for the bundle (docs/compatibility.md).
    """

    model: str
    version: str
    digest: str
    task: str
    description: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    metrics: Mapping[str, float]
    intended_use: str = ""
    shims: tuple[str, ...] = ()
    record: InputSpec | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the record input once: every call of a tabular model asks for it several times."""
        object.__setattr__(self, "record", next((spec for spec in self.inputs if spec.kind == "record"), None))

    def input(self, name: str) -> InputSpec | None:
        """Return the input of that name, or None."""
        return next((spec for spec in self.inputs if spec.name == name), None)

    @property
    def only(self) -> InputSpec | None:
        """Return the input that a body without a name is meant for: the only one, or the only one that must come."""
        required = self.inputs if len(self.inputs) == 1 else [spec for spec in self.inputs if not spec.optional]
        return required[0] if len(required) == 1 else None

    @property
    def needs_input(self) -> bool:
        """Tell whether a request must bring anything at all."""
        return any(not spec.optional for spec in self.inputs)

    @property
    def takes_document(self) -> bool:
        """Tell whether a request can be one JSON object with a member per input: all that must come are JSON values."""
        return self.record is None and all(spec.kind == "value" or spec.optional for spec in self.inputs)


def derive_inputs(metadata: Metadata, facts: Sequence[InputFact]) -> tuple[InputSpec, ...]:
    """Put the request together from the preprocessing's facts and the metadata's names."""
    return tuple(_input(fact, _format_of(metadata, fact, facts), metadata) for fact in facts)


def derive_outputs(metadata: Metadata, facts: Sequence[OutputFact]) -> tuple[OutputSpec, ...]:
    """Put the answer together from one real run and the metadata's names."""
    return tuple(_output(fact, metadata.outputs.get(_tensor_name(metadata, fact, facts))) for fact in facts)


def require_one_per_class(metadata: Metadata, facts: Sequence[OutputFact], arrays: Sequence[OutputArray]) -> None:
    """Refuse metadata that name other classes than the probabilities of one real run are of.

    Only rows of floats without a place in space, which ``type`` or ``format`` call probabilities or classes, are held
    against ``channel_def``. ``num_channels`` binds nothing: postprocessing may change it. One whole number may be the
    index of any class (argmax).

    Args:
        metadata: of the bundle.
        facts: what the run told.
        arrays: what it gave.

    Raises:
        LoadFailed: the classes and the numbers are not as many.
    """
    by_name = {array.name: array.array for array in arrays}
    for fact in facts:
        name = _tensor_name(metadata, fact, facts)
        tensor = metadata.outputs.get(name)
        if tensor is None or not _has_class_probabilities(fact, tensor):
            continue
        count, classes = prod(fact.shape), len(tensor.channel_def)
        if _is_one_per_class(fact.shape, classes) or (count == 1 and float(by_name[fact.name].item()).is_integer()):
            continue
        where = f"network_data_format.outputs.{name}.channel_def"
        raise LoadFailed(
            f"{where} names {classes} classes, and the model gave {count} {'number' if count == 1 else 'numbers'}",
            field="metadata.json",
        )


def _format_of(metadata: Metadata, fact: InputFact, facts: Sequence[InputFact]) -> TensorFormat | None:
    # A bundle with one input and one network tensor means the same thing by both, whatever the names.
    only = next(iter(metadata.inputs.values())) if len(metadata.inputs) == len(facts) == 1 else None
    return metadata.inputs.get(fact.name, only)


def _input(fact: InputFact, tensor: TensorFormat | None, metadata: Metadata) -> InputSpec:
    if fact.kind == "image":
        return _image_input(fact, tensor)
    if fact.kind == "record":
        return _record_input(fact, tensor, metadata)
    if fact.kind == "value":
        return InputSpec(fact.name, "value", VALUE_MEDIA_TYPES, optional=fact.optional, example=fact.example)
    return InputSpec(fact.name, "tensor", ARRAY_MEDIA_TYPES, optional=fact.optional, shape=fact.shape, dtype=fact.dtype)


def _image_input(fact: InputFact, tensor: TensorFormat | None) -> InputSpec:
    network_dims = len(tensor.spatial_shape) if tensor and tensor.spatial_shape else None
    spatial_dims = fact.spatial_dims or network_dims
    names = tuple(tensor.channel_def.values()) if tensor else ()
    # Until preprocessing has been tried, the network's count is the best guess, and none where the reader converts.
    network = (tensor.num_channels,) if tensor and tensor.num_channels and fact.adds_channel else ()
    channels = fact.channels or (() if fact.converts else network)
    return InputSpec(
        name=fact.name,
        kind="image",
        media_types=_image_media_types(fact.reader, spatial_dims, channels),
        spatial_dims=spatial_dims,
        channels=channels,
        channel_names=names,
        files=fact.files,
        optional=fact.optional,
        dicom=DicomPolicy(modality=tensor.dicom_modality if tensor else ""),
        sample_channels=fact.sample_channels,
    )


def _image_media_types(reader: str | None, spatial_dims: int | None, channels: tuple[int, ...]) -> tuple[str, ...]:
    # A radiograph becomes a PNG with one channel, so what reads that takes the other.
    planes = PLANE_MEDIA_TYPES if channels and 1 not in channels else (*PLANE_MEDIA_TYPES, *DICOM_MEDIA_TYPES)
    by_reader = {
        "NibabelReader": VOLUME_MEDIA_TYPES,
        "PILReader": planes,
        "NumpyReader": ARRAY_MEDIA_TYPES,
        "WSIReader": SLIDE_MEDIA_TYPES,
    }
    # A DICOM series becomes a NIfTI volume, so what reads the one takes the other.
    volumes = VOLUME_MEDIA_TYPES if spatial_dims == 2 else (*VOLUME_MEDIA_TYPES, *DICOM_MEDIA_TYPES)
    if reader in by_reader:
        return volumes if reader == "NibabelReader" else by_reader[reader]
    if spatial_dims == 3:
        # No bare array: without an affine, orientation, spacing and every volume in the answer would be invented.
        return volumes
    if spatial_dims == 2:
        return (*PLANE_MEDIA_TYPES, *volumes, *ARRAY_MEDIA_TYPES, *planes[len(PLANE_MEDIA_TYPES) :])
    return (*volumes, *PLANE_MEDIA_TYPES, *ARRAY_MEDIA_TYPES)


def _record_input(fact: InputFact, tensor: TensorFormat | None, metadata: Metadata) -> InputSpec:
    names = tuple(tensor.channel_def.values()) if tensor else ()
    nullable = fact.nullable if len(fact.nullable) == len(names) else (False,) * len(names)
    features = tuple(
        _feature(name, metadata.feature_descriptions.get(name), nullable=may_miss)
        for name, may_miss in zip(names, nullable, strict=True)
    )
    return InputSpec(fact.name, "record", RECORD_MEDIA_TYPES, features=features, optional=fact.optional)


def _feature(name: str, described: FeatureDescription | None, *, nullable: bool) -> FeatureSpec:
    if described is None:
        return FeatureSpec(name, nullable=nullable)
    codes = {float(code): meaning for code, meaning in described.codes.items()}
    return FeatureSpec(name, described.meaning, described.unit, codes, described.seen, nullable=nullable)


def _output(fact: OutputFact, tensor: TensorFormat | None) -> OutputSpec:
    if fact.kind == "file":
        return OutputSpec(fact.name, "file", media_type=media_type_of_suffix(fact.suffix))
    if fact.kind == "value":
        return OutputSpec(fact.name, "value")
    shape = tuple(-1 for _ in fact.shape) if _is_on_grid(fact) else fact.shape
    labels = {int(index): name for index, name in tensor.channel_def.items()} if tensor else {}
    return OutputSpec(
        name=fact.name,
        kind=_kind(fact, tensor, labels),
        dtype=fact.dtype,
        shape=shape,
        labels=labels,
        like_input=fact.like_input,
    )


def _tensor_name(metadata: Metadata, fact: OutputFact, facts: Sequence[OutputFact]) -> str:
    # As for inputs: one result and one network tensor are the same thing, whatever they are called.
    arrays = [other for other in facts if other.kind == "array"]
    only = next(iter(metadata.outputs)) if len(metadata.outputs) == len(arrays) == 1 else fact.name
    return fact.name if fact.name in metadata.outputs else only


def _has_class_probabilities(fact: OutputFact, tensor: TensorFormat) -> bool:
    is_row = fact.dtype.startswith("float") and prod(fact.shape) == max(fact.shape, default=1) > 0
    return is_row and not _is_on_grid(fact) and tensor.means_probabilities and bool(tensor.channel_def)


def _is_on_grid(fact: OutputFact) -> bool:
    return fact.has_geometry or fact.like_input is not None


def _is_one_per_class(shape: tuple[int, ...], classes: int) -> bool:
    # One number stands for two classes: it is the second one's. Axes of length 1 are a batch that nobody took away.
    count = prod(shape)
    return max(shape, default=1) == count and (count == classes or (count == 1 and classes == 2))


def _kind(fact: OutputFact, tensor: TensorFormat | None, labels: Mapping[int, str]) -> OutputKind:
    on_grid = _is_on_grid(fact)
    if not on_grid and _is_one_per_class(fact.shape, len(labels)):
        return "probabilities" if tensor and tensor.means_probabilities else "tensor"
    if len(fact.shape) >= 2 and (on_grid or tensor is None or tensor.means_grid):
        means_labels = tensor is not None and tensor.means_segmentation and (on_grid or _ends_in_channels(fact, tensor))
        return "segmentation" if means_labels else "image"
    return "tensor"


def _ends_in_channels(fact: OutputFact, tensor: TensorFormat) -> bool:
    """Tell whether an array without geometry is known to be a label map, or masks stacked on its last axis.

    Channels that come first would be counted as voxels along the last axis: then nothing is counted.
    """
    rank = len(tensor.spatial_shape)
    return len(fact.shape) == rank or (len(fact.shape) == rank + 1 and fact.shape[-1] == tensor.num_channels)
