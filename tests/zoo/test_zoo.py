"""Every bundle of a folder answers twice over HTTP, unmodified, with random weights; the second answer reads none.

``BEDSIDE_ZOO=/path/to/model-zoo/models pytest tests/zoo -m slow`` prints a table, and appends it to
``BEDSIDE_ZOO_TABLE``; ``BEDSIDE_ZOO_ONLY=name,name`` chooses bundles, ``BEDSIDE_ZOO_THREADS=2`` gives each two threads.
Nothing of the Model Zoo is in this repository, and nothing here knows a bundle by its name.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from bedside.bootstrap import mint_token
from bedside.bundle.contract import InputKind, InputSpec
from bedside.bundle.metadata import read_metadata
from bedside.bundle.sample import sample_inputs
from bedside.delivery.processes import free_port
from bedside.settings import load_settings
from bedside.types import DecodedArray, DecodedImage, DecodedInput, DecodedValue

# Read before the fixture that hides the settings of whoever runs the tests.
ZOO = os.environ.get("BEDSIDE_ZOO", "")
TABLE = Path(os.environ.get("BEDSIDE_ZOO_TABLE", os.devnull))
ADDED_PACKAGES = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
THREADS = os.environ.get("BEDSIDE_ZOO_THREADS", "1")
WEIGHTS = Path(__file__).with_name("random_weights.py")
LOAD_SECONDS = 1800
ANSWER_SECONDS = 7200
FRAMES = 8
_MEDIA_TYPES = {".nii": "application/x-nifti", ".png": "image/png", ".tiff": "image/tiff", ".npy": "application/x-npy"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(LOAD_SECONDS + 2 * ANSWER_SECONDS),
    pytest.mark.skipif(not ZOO, reason="set BEDSIDE_ZOO to the folder models/ of Project-MONAI/model-zoo"),
]


def _bundles() -> list[str]:
    chosen = os.environ.get("BEDSIDE_ZOO_ONLY", "").split(",")
    names = sorted(path.parents[1].name for path in Path(ZOO).glob("*/configs/metadata.json")) if ZOO else []
    return [name for name in names if name in chosen or chosen == [""]]


@dataclass
class Server:
    """One server with one bundle."""

    root: Path
    url: str
    process: subprocess.Popen[bytes]
    client: httpx.Client

    def state(self) -> dict[str, Any]:
        """Return the bundle's line of the repository's index."""
        (model,) = self.client.post("/v2/repository/index").json()
        return dict(model)

    def wait(self) -> dict[str, Any]:
        """Wait until the bundle is ready, or could not be loaded."""
        deadline = time.monotonic() + LOAD_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(httpx.TransportError, ValueError):
                state = self.state()
                if state.get("state") in {"READY", "UNAVAILABLE"}:
                    return state
            time.sleep(0.2)  # a server that starts has nothing to wait on but its port
        raise AssertionError("the server did not come up")


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Serve a copy of a bundle, to which random weights have been added."""
    root = tmp_path / str(request.param)
    shutil.copytree(Path(ZOO) / str(request.param), root)
    written = subprocess.run(
        [sys.executable, WEIGHTS, root, tmp_path], capture_output=True, text=True, check=False, timeout=LOAD_SECONDS
    )
    port = free_port()
    settings = {
        "BEDSIDE_ADMISSION": "warn",
        "BEDSIDE_RUNTIME__STATE_DIR": str(tmp_path / "state"),
        "BEDSIDE_RUNTIME__THREADS": THREADS,
        "BEDSIDE_RUNTIME__LOAD_SECONDS": str(LOAD_SECONDS),
        "BEDSIDE_RUNTIME__READABLE_PATHS": orjson.dumps(ADDED_PACKAGES).decode(),
        "BEDSIDE_LIMITS__REQUEST_SECONDS": str(ANSWER_SECONDS),
    }
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bedside", "serve", str(root), "--port", str(port)],
            env={**os.environ, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + LOAD_SECONDS
        while not (tmp_path / "state").is_dir() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)  # its key is made when it starts
        token = mint_token(
            load_settings(runtime={"state_dir": tmp_path / "state"}),
            subject="zoo",
            scopes=("bedside.infer", "bedside.admin"),
            seconds=LOAD_SECONDS + 2 * ANSWER_SECONDS,
        )
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=ANSWER_SECONDS) as client:
            yield Server(root, url, process, client)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        if written.returncode:
            sys.stderr.write(written.stderr[-500:])


@pytest.mark.parametrize("server", _bundles(), indirect=True)
def test_a_bundle_answers_twice_and_reads_its_weights_once(server: Server) -> None:
    """Loaded, or refused with what is missing; the second request finds no weights, and starts no process."""
    begin = time.monotonic()
    state = server.wait()
    loaded = time.monotonic() - begin
    name = server.root.name
    if state["state"] != "READY":
        _tell(name, "refused", loaded, 0.0, 0.0, str(state.get("reason", "")))
        assert "needs" in str(state.get("reason", "")), state
        return
    first = _timed(server)
    (server.root / "models").rename(server.root / "hidden")
    children = _processes(server.process.pid)
    second = _timed(server)
    assert first[0] == second[0] == httpx.codes.OK, (first, second)
    assert _processes(server.process.pid) <= children
    _tell(name, "served", loaded, first[1], second[1], "")


def _tell(name: str, result: str, loaded: float, first: float, second: float, reason: str) -> None:
    line = f"| {name} | {result} | {loaded:.1f} | {first:.2f} | {second:.2f} | {reason} |\n"
    sys.__stdout__.write(line)  # type: ignore[union-attr]
    with TABLE.open("a") as table:
        table.write(line)


def _timed(server: Server) -> tuple[int, float, str]:
    answer = None
    for channels in (None, FRAMES):
        parts = _parts(server, channels)
        begin = time.monotonic()
        answer = server.client.post(f"/v1/models/{server.root.name}/predict", files=parts or None)
        if answer.status_code == httpx.codes.OK:
            return answer.status_code, time.monotonic() - begin, ""
    assert answer is not None
    return answer.status_code, 0.0, answer.text[:300]


def _parts(server: Server, channels: int | None) -> list[tuple[str, tuple[None, bytes, str]]]:
    described = server.client.get(f"/v2/models/{server.root.name}").json()["inputs"]
    specs = [_spec(tensor, channels) for tensor in described]
    return [_part(item) for item in sample_inputs(specs, read_metadata(server.root)).items]


def _spec(tensor: dict[str, Any], channels: int | None) -> InputSpec:
    """Return what the server says of an input."""
    told = tensor["parameters"]
    kind: InputKind = "image" if "spatial_dims" in told else "value" if tensor["datatype"] == "BYTES" else "tensor"
    media_types = str(told.get("media_types", ""))
    known = str(told.get("channels", "unknown"))
    return InputSpec(
        tensor["name"],
        kind,
        media_types=() if media_types in {"", "unknown"} else tuple(media_types.split(",")),
        spatial_dims=told["spatial_dims"] if isinstance(told.get("spatial_dims"), int) else None,
        channels=() if known == "unknown" else tuple(int(count) for count in known.split(",")),
        files=tensor["shape"][0] if kind == "image" and tensor["shape"] != [-1] else 1,
        optional=bool(told.get("optional")),
        example=orjson.loads(told["example"]) if "example" in told else None,
        shape=tuple(tensor["shape"]) if kind == "tensor" else (),
        dtype="float32" if kind == "tensor" else "",
        sample_channels=channels if known == "unknown" else None,
    )


def _part(item: DecodedInput) -> tuple[str, tuple[None, bytes, str]]:
    if isinstance(item, DecodedImage):
        return item.name, (None, item.payload, _MEDIA_TYPES[item.suffix])
    if isinstance(item, DecodedValue):
        return item.name, (None, orjson.dumps(item.value), "application/json")
    assert isinstance(item, DecodedArray)
    buffer = io.BytesIO()
    np.save(buffer, item.values)
    return item.name, (None, buffer.getvalue(), "application/x-npy")


def _processes(pid: int) -> set[int]:
    """Return the ids of a process and of whatever it started."""
    found = {pid}
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found |= _processes(int(child))
    return found
