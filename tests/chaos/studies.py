"""Studies whose answer is known beforehand, each another, and what the archive has of them."""

import io
from collections import Counter, defaultdict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pydicom
from tests.assets.dicom.make_series import ROOT, instance

from bedside.codecs.dicom import DICOM, RELATED
from bedside.codecs.encode import join
from bedside.types import EncodedAnswer

Voxels = frozenset[tuple[float, int, int]]
"""Slice position in mm, row, column."""


@dataclass(frozen=True)
class Study:
    """A series of four slices.

    Attributes:
        uid: its Study Instance UID.
        files: its instances.
        body: as a STOW-RS request.
        media_type: of the body.
        lesion: the voxels that are to be found.
    """

    uid: str
    files: tuple[bytes, ...]
    body: bytes
    media_type: str
    lesion: Voxels


def make_study(number: int) -> Study:
    """Return the study with this number; no other has the same lesion."""
    rng = np.random.default_rng(number)
    volume = np.where(rng.random((4, 8, 8)) < 0.25, 1000, 0).astype(np.uint16)
    volume[:, 0, 0] = [1000 if number >> bit & 1 else 0 for bit in range(4)]
    uid = f"{ROOT}.7.{number}"
    common = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "RescaleIntercept": 0}
    files = []
    for index, plane in enumerate(volume):
        dataset = instance(index + 1, plane, (0, 0, index), **common, SOPInstanceUID=f"{uid}.1.{index + 1}")
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    whole = join([EncodedAnswer(DICOM, data) for data in files], f'{RELATED}; type="{DICOM}"')
    found = frozenset((float(z), int(row), int(column)) for z, row, column in zip(*np.nonzero(volume), strict=True))
    return Study(uid, tuple(files), bytes(whole.body), whole.media_type, found)


class Received:
    """What an archive has kept.

    Attributes:
        of: by study, the kinds of objects that it was sent, each UID counted once.
        lesions: by study, the voxels of its segmentation.
        times: how often each object came.
        contents: by object, the hashes of what came under its UID.
    """

    def __init__(self, folder: Path) -> None:
        self.of: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.lesions: dict[str, Voxels] = {}
        self.times: Counter[str] = Counter()
        self.contents: defaultdict[str, set[str]] = defaultdict(set)
        for path in folder.glob("*.dcm"):
            data = path.read_bytes()
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            uid = str(dataset.SOPInstanceUID)
            if uid not in self.times:
                self.of[str(dataset.StudyInstanceUID)][str(dataset.Modality)] += 1
            self.times[uid] += 1
            self.contents[uid].add(sha256(data).hexdigest())
            if dataset.Modality == "SEG":
                self.lesions[str(dataset.StudyInstanceUID)] = _voxels(dataset)


def _voxels(segmentation: pydicom.Dataset) -> Voxels:
    segmentation.file_meta = pydicom.dataset.FileMetaDataset()
    segmentation.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    frames = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    places = segmentation.PerFrameFunctionalGroupsSequence
    return frozenset(
        (float(place.PlanePositionSequence[0].ImagePositionPatient[2]), int(row), int(column))
        for place, frame in zip(places, frames, strict=True)
        for row, column in zip(*np.nonzero(frame), strict=True)
    )
