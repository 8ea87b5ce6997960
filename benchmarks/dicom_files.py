"""Made-up DICOM series, requests that hold them, and the jobs that these become."""

import io
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import numpy as np

from benchmarks.processes import pause_until
from benchmarks.services import Running

RELATED = 'multipart/related; type="application/dicom"; boundary=cut'
SIDE, SMALL = 512, (20, 48, 40)
ROOT = "1.2.826.0.1.3680043.10.999"
WAIT_SECONDS = 120.0


def connected(running: Running) -> httpx.Client:
    """Return a client of a server, with its first token."""
    headers = {"Authorization": f"Bearer {running.tokens[0]}"} if running.tokens else {}
    headers["Accept"] = "application/dicom+json, application/json;q=0.9"
    return httpx.Client(base_url=f"http://127.0.0.1:{running.port}", headers=headers, timeout=WAIT_SECONDS)


def finished(client: httpx.Client, location: str) -> dict[str, Any]:
    """Return a job once it has succeeded. Raises RuntimeError: it fails, or is not done in time."""
    job: dict[str, Any] = until(lambda: _done(client.get(location).json()))
    return job


def _done(job: dict[str, Any]) -> dict[str, Any] | None:
    if job["state"] == "dead":
        raise RuntimeError(f"the job failed: {job['error']}")
    return job if job["state"] == "succeeded" else None


def until(condition: Callable[[], Any]) -> Any:
    """Return what a condition gives once it gives something. Raises RuntimeError: it does not in time."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        pause_until(deadline)
    raise RuntimeError("it did not happen in time")


def uids_below(root: str) -> tuple[str, str, str]:
    """Return the UIDs of a made-up study, its series and its frame of reference."""
    return f"{root}.1", f"{root}.2", f"{root}.3"


def made_series(shape: tuple[int, int, int], root: str, spacing: float, seed: int, modality: str = "MR") -> list[bytes]:
    """Return a made-up series as DICOM files: noise, which no compression helps; as thick as it is wide."""
    import pydicom  # noqa: PLC0415 - of the extra "dicom"

    study, series, frame = uids_below(root)
    step = round(spacing * shape[2] / shape[0], 4)
    noise = np.random.default_rng(seed)
    found = []
    for number in range(shape[0]):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        storage = pydicom.uid.CTImageStorage if modality == "CT" else pydicom.uid.MRImageStorage
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{series}.{number}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.Modality, dataset.PatientID, dataset.PatientName = modality, "BENCHMARK", "Benchmark"
        dataset.SeriesNumber, dataset.InstanceNumber = 1, number + 1
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, number * step], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [spacing, spacing], step
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
        dataset.Rows, dataset.Columns = shape[1:]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024 if modality == "CT" else 0
        dataset.PixelData = noise.integers(0, 4096, shape[1:], np.uint16).tobytes()
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        found.append(buffer.getvalue())
    return found


def related(files: Sequence[bytes]) -> bytes:
    """Return files as the body of one STOW-RS request."""
    return b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % data for data in files) + b"--cut--\r\n"
