"""Memory that a CT takes: to be decoded, and to be a whole job in a server, from STOW-RS to its Segmentation.

Each process is told by itself, as the peak of what it holds over what it held before (proc(5): VmHWM, VmRSS).
"""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import httpx

from benchmarks.bundles import THRESHOLD, threshold_bundle
from benchmarks.dicom_files import RELATED, ROOT, SIDE, SMALL, connected, finished, made_series, related
from benchmarks.processes import Peak, tree
from benchmarks.services import REPOSITORY, Service, Workspace, bedside, start, wait_ready


def measure(workspace: Workspace, slices: int) -> dict[str, float]:
    """Return bytes of a CT's volume as it is stored, and of the peaks above what processes held before."""
    folder = workspace.root / "dicom_memory"
    folder.mkdir()
    about = {"slices": slices, "volume_bytes": 2 * SIDE * SIDE * slices}
    return about | _decoding(folder, slices) | _job(Workspace(folder, workspace.peers), slices)


def _decoding(folder: Path, slices: int) -> dict[str, float]:
    """Decode a CT in a process of its own, request and all."""
    body = folder / "ct"
    body.write_bytes(_ct((slices, SIDE, SIDE), 1))
    run = [sys.executable, "-m", "benchmarks.dicom_memory", str(body)]
    told = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=600)
    peak, seconds = map(float, told.stdout.split())
    return {"decoding_bytes": peak, "decoding_seconds": seconds}


def _decode(path: Path) -> None:
    from bedside.bundle.contract import InputSpec  # noqa: PLC0415 - of the child alone
    from bedside.codecs.dicom import decode_dicom  # noqa: PLC0415
    from bedside.settings import LimitSettings  # noqa: PLC0415
    from bedside.types import RawPart  # noqa: PLC0415

    spec, limits = InputSpec("image", "image", spatial_dims=3), LimitSettings()
    decode_dicom(RawPart(None, RELATED, _ct(SMALL, 2)), spec, limits)
    peak = Peak(os.getpid())
    begin = perf_counter()
    decode_dicom(RawPart(None, RELATED, path.read_bytes()), spec, limits)
    print(peak.bytes(), perf_counter() - begin)


def _job(workspace: Workspace, slices: int) -> dict[str, float]:
    """Have a server take a CT and write its Segmentation and report; the server's peak and that of the model's."""
    running = start(_service(), workspace)
    try:
        wait_ready(running)
        with connected(running) as client:
            _send(client, _ct(SMALL, 3))  # what is imported stays, and is no part of a study
            server, *others = [Peak(pid) for pid in tree(running.server.pid)]
            _send(client, _ct((slices, SIDE, SIDE), 4))
            return {"server_bytes": server.bytes(), "model_bytes": max(other.bytes() for other in others)}
    finally:
        running.server.end()


def _send(client: httpx.Client, study: bytes) -> None:
    answer = client.post(f"/dicomweb/models/{THRESHOLD}/studies", content=study, headers={"Content-Type": RELATED})
    answer.raise_for_status()
    finished(client, answer.headers["location"])


def _service() -> Service:
    return bedside("Bedside memory", lambda workspace: [threshold_bundle(workspace.root)])


def _ct(shape: tuple[int, int, int], number: int) -> bytes:
    return related(made_series(shape, f"{ROOT}.4.{number}", 0.7, number, modality="CT"))


if __name__ == "__main__":
    _decode(Path(sys.argv[1]))
