"""From files to a volume, in six numbered steps."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom.containers import Opener
from bedside.codecs.dicom.frames import Frame, frame_of_reference, frames_of
from bedside.codecs.dicom.guard import stack
from bedside.codecs.dicom.instances import Instance, read_instance
from bedside.codecs.dicom.pixels import frame_bytes, require_plausible
from bedside.codecs.dicom.selection import choose
from bedside.codecs.dicom.source import SourceSeries, headers_of, planes_of
from bedside.codecs.dicom.volume import build
from bedside.errors import DecompressedTooLarge, DicomRefused, NotDicom, TooManyInstances
from bedside.settings import LimitSettings
from bedside.types import DecodedImage

Part = bytes | Opener | Instance
"""One DICOM file."""


def read_series(
    parts: Iterable[Part],
    rules: DicomPolicy,
    limits: LimitSettings,
    *,
    name: str = "image",
) -> tuple[DecodedImage, SourceSeries]:
    """See :func:`bedside.codecs.dicom.read_series`."""
    with refusals_named(name):
        return _read(parts, rules, limits, name)


@contextmanager
def refusals_named(name: str) -> Iterator[None]:
    """Have refusals name the input."""
    try:
        yield
    except DicomRefused as refused:
        refused.field = refused.field or name
        raise


def _read(
    parts: Iterable[Part], rules: DicomPolicy, limits: LimitSettings, name: str
) -> tuple[DecodedImage, SourceSeries]:
    # (1) headers of everything that came
    instances = list(read_instances(parts, limits, name))
    # (2) the series that is meant
    series = choose(instances, rules, name)
    # (3) its frames, within bounds
    frames = _frames(series.instances, limits, name)
    # (4) the geometry guard
    stacked = stack(frames, rules)
    # (5) pixels, rescaled slice by slice
    payload, dtype, shape = build(stacked, rules)
    # (6) what results will refer to
    affine = np.asarray(np.asarray(stacked.affine, np.float32), np.float64)  # as NIfTI-1 holds it, and MONAI reads it
    first = stacked.frames[0].instance
    source = SourceSeries(
        name=name,
        headers=tuple(headers_of(stacked)),
        frames=tuple((frame.uid, frame.index + 1) for frame in stacked.frames),
        planes=planes_of(stacked),
        size=stacked.frames[0].size,
        affine=stacked.affine,
        frame_of_reference=frame_of_reference(first),
        study=first.study,
        series=first.series,
        modality=series.modality,
        in_place=stacked.offsets is None,
        digest=digest_of(payload, series.instances),
    )
    image = DecodedImage(
        name=name,
        payload=payload,
        suffix=".nii",
        shape=shape,
        spatial_dims=3,
        channels=1,
        dtype=dtype.newbyteorder("=").name,
        affine=affine,
        source=source,
    )
    return image, source


def read_instances(parts: Iterable[Part], limits: LimitSettings, name: str) -> Iterator[Instance]:
    """Yield the headers of everything that came. Raises DicomRefused, TooManyInstances."""
    count = 0
    for count, part in enumerate(islice(parts, limits.dicom_instances + 1), 1):
        if count > limits.dicom_instances:
            raise TooManyInstances(f"'{name}' holds more than {limits.dicom_instances} DICOM files", field=name)
        yield part if isinstance(part, Instance) else read_instance(_opener(part))
    if count == 0:
        raise NotDicom("no file came")


def _opener(part: bytes | Opener) -> Opener:
    return (lambda: part) if isinstance(part, bytes) else part


def _frames(instances: Iterable[Instance], limits: LimitSettings, name: str) -> list[Frame]:
    found: list[Frame] = []
    total = 0
    for instance in instances:
        frames = list(frames_of(instance))
        require_plausible(frames)
        # float32 where the stored type is smaller: what will be held
        total += sum(max(frame_bytes(frame), 4 * frame.size[0] * frame.size[1]) for frame in frames)
        if total > limits.decompressed_bytes:
            raise DecompressedTooLarge(f"'{name}' unpacks to more than {limits.decompressed_bytes} bytes", field=name)
        found += frames
    return found


def digest_of(payload: bytes, instances: Iterable[Instance]) -> str:
    """Return SHA-256 over an input's bytes and the UIDs of what it was made of, in hex."""
    digest = hashlib.sha256(payload)
    for uid in sorted(instance.uid for instance in instances):
        digest.update(f"\n{uid}".encode())
    return digest.hexdigest()
