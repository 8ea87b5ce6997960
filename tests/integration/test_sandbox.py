"""A bundle that tries to get out, in a real process: connects, reads keys, writes, signals. It gets nowhere."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bedside.bundle.folder import open_bundle
from bedside.errors import LoadFailed
from bedside.runtime import sandbox
from bedside.runtime.landlock import version
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings, Settings
from bedside.types import DecodedRecord, Prediction, ValidatedInputs

pytestmark = pytest.mark.skipif(not version(), reason="needs Landlock: Linux 5.13 or newer with it in CONFIG_LSM")

SECRET = "kept-by-the-server"

_INTRUDER = """
import ctypes, json, os, pathlib, socket, subprocess
from monai.transforms import MapTransform

T = json.loads((pathlib.Path(__file__).parent / "targets.json").read_text())

def tcp():
    socket.create_connection(("127.0.0.1", T["port"]), 5).close()

def tcp6():
    socket.socket(socket.AF_INET6).close()

def udp():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", T["port"]))

def local():
    socket.socket(socket.AF_UNIX).connect(T["socket"])

def datagram():
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.close()

def key_file():
    assert pathlib.Path(T["secret"]).read_text()

def through_a_link():
    link = pathlib.Path(T["_output"], "link")
    link.symlink_to(T["secret"])
    try:
        assert link.read_text()
    finally:
        link.unlink()

def another_models_input():
    assert pathlib.Path(T["other"]).read_bytes()

def staging_folder():
    assert os.listdir(T["staging"])

def shared_memory():
    assert os.listdir("/dev/shm")

def write_outside():
    pathlib.Path(T["outside"]).write_text("was here")

def write_into_the_bundle():
    pathlib.Path(__file__).with_name("later.py").write_text("was here")

def delete():
    os.unlink(T["victim"])

def environment():
    assert T["value"] in str(os.environ)

def first_environment():
    assert T["value"].encode() in pathlib.Path("/proc/self/environ").read_bytes()

def servers_environment():
    assert pathlib.Path(f"/proc/{T['server']}/environ").read_bytes()

def servers_memory():
    assert pathlib.Path(f"/proc/{T['server']}/maps").read_text()

def signal_the_server():
    os.kill(T["server"], 0)

def trace_the_server():
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(0x4206, T["server"], 0, 0) == 0  # PTRACE_SEIZE
    libc.ptrace(17, T["server"], 0, 0)

def limit_the_server():
    import resource
    resource.prlimit(T["server"], resource.RLIMIT_CORE)

def fork():
    if os.fork() == 0:
        os._exit(0)

def run_a_command():
    subprocess.run(["true"], check=True)

def inherited_descriptors():
    names = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if int(n) > 2]
    assert [n for n in names if n.startswith("pipe:")][1:]  # one is the parent's sentinel

ATTEMPTS = [tcp, tcp6, udp, local, datagram, key_file, through_a_link, another_models_input, staging_folder,
            shared_memory, write_outside, write_into_the_bundle, delete, environment, first_environment,
            servers_environment, servers_memory, signal_the_server, trace_the_server, limit_the_server, fork,
            run_a_command, inherited_descriptors]

def outcome(attempt):
    try:
        attempt()
    except BaseException as error:
        return type(error).__name__
    return "done"

T["_output"] = os.environ["HOME"]
AT_IMPORT = {attempt.__name__: outcome(attempt) for attempt in ATTEMPTS}

class SaveText(MapTransform):
    def __init__(self, keys, output_dir):
        super().__init__(keys)
        self.output_dir = output_dir
    def __call__(self, data):
        T["_output"] = self.output_dir
        found = {"import": AT_IMPORT, "run": {attempt.__name__: outcome(attempt) for attempt in ATTEMPTS}}
        pathlib.Path(self.output_dir, "answer.txt").write_text(json.dumps(found))
        return data
"""


class Surroundings:
    """What there is to be reached: a listening port and socket, a key, another model's image, a folder."""

    def __init__(self, folder: Path, staging: Path) -> None:
        self.canaries = [folder / "outside", folder / "intruding" / "scripts" / "later.py"]
        self.victim = folder / "victim"
        self.victim.write_text("still here")
        (folder / "key.pem").write_text(SECRET)
        other = staging / "input0.nii"
        other.write_bytes(b"somebody else's voxels")
        self.connections = 0
        self._listeners = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        self._listeners[1].bind(str(folder / "socket"))
        self._listeners[1].listen()
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        self.targets = {
            "port": self._listeners[0].getsockname()[1],
            "socket": str(folder / "socket"),
            "secret": str(folder / "key.pem"),
            "other": str(other),
            "staging": str(staging),
            "outside": str(self.canaries[0]),
            "victim": str(self.victim),
            "value": SECRET,
            "server": os.getpid(),
        }

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return
            self.connections += 1

    def close(self) -> None:
        """Stop listening."""
        for listener in self._listeners:
            listener.close()


@pytest.fixture
def intruding(bundles: Path, tmp_path: Path) -> Path:
    """Return a bundle that answers with what it could do, at import and at run."""
    root = tmp_path / "intruding"
    shutil.copytree(bundles / "writing_files", root)
    (root / "scripts" / "network.py").write_text(_INTRUDER)
    return root


@pytest.fixture
def surroundings(intruding: Path, tmp_path: Path, settings: Settings) -> Iterator[Surroundings]:
    """Return what it tries to reach; it knows the addresses."""
    surroundings = Surroundings(tmp_path, settings.runtime.staging_dir)
    (intruding / "scripts" / "targets.json").write_text(json.dumps(surroundings.targets))
    yield surroundings
    surroundings.close()


async def answer(root: Path, runtime: RuntimeSettings) -> tuple[tuple[str, ...], Prediction]:
    """Load a record bundle, run it once; return what confined it and what it said."""
    staging = Staging(runtime.staging_dir)
    executor = ProcessExecutor(open_bundle(root), runtime, staging)
    record = ValidatedInputs((DecodedRecord("features", np.array([5, 1, 1], np.float32), {}),))
    try:
        await executor.load()
        return executor.layers, await executor.run(record, timeout_seconds=60)
    finally:
        await executor.close()
        staging.close()


async def test_a_bundle_that_tries_to_get_out_gets_nowhere(
    intruding: Path, surroundings: Surroundings, settings: Settings
) -> None:
    """Whatever it tries fails, when its code is imported and when it runs; the canaries prove it, and it is served."""
    runtime = settings.runtime.model_copy(update={"sandbox": "require"})
    layers, prediction = await answer(intruding, runtime)
    told = json.loads(prediction.files[0].data)
    assert set(layers) >= set(sandbox.REQUIRED)
    for when in ("import", "run"):
        assert len(told[when]) == 23
        assert [name for name, outcome in told[when].items() if outcome == "done"] == []
    assert surroundings.connections == 0
    assert [canary for canary in surroundings.canaries if canary.exists()] == []
    assert surroundings.victim.read_text() == "still here"
    assert prediction.arrays[0].array.shape == (2,)


async def test_the_same_bundle_without_a_sandbox_gets_out(
    intruding: Path, surroundings: Surroundings, settings: Settings
) -> None:
    """So the test above can fail: nothing but the sandbox is in the way. The environment is reduced all the same."""
    runtime = settings.runtime.model_copy(update={"sandbox": "off"})
    layers, prediction = await answer(intruding, runtime)
    told = json.loads(prediction.files[0].data)["run"]
    kept = {"environment", "first_environment", "inherited_descriptors"}  # this server's environment holds no secret
    assert layers == ()
    refused = {name for name, outcome in told.items() if outcome != "done"}
    assert refused - {"delete", "trace_the_server", "tcp6"} == kept  # deleted at import; tracing and IPv6 as one may
    assert surroundings.connections > 0
    assert all(canary.exists() for canary in surroundings.canaries)


_THREADED = """
import torch
from multiprocessing import Lock
from multiprocessing.pool import Pool, ThreadPool

class Net(torch.nn.Linear):
    def forward(self, x):
        with ThreadPool(2) as pool, Lock():
            squares = sum(pool.map(lambda n: n * n, range(4)))
        try:
            Pool(1)
            alone = 0.0
        except AssertionError:
            alone = 1.0
        return super().forward(x) * 0 + torch.tensor([[float(squares), 13.0 + alone]])
"""


async def test_a_confined_bundle_has_pools_of_threads_and_none_of_processes(
    bundles: Path, tmp_path: Path, settings: Settings
) -> None:
    """Its locks need no ``/dev/shm``; a process that it would start is refused with an error that says so."""
    root = tmp_path / "threaded"
    shutil.copytree(bundles / "scripts_adding_one", root)
    (root / "scripts" / "network.py").write_text(_THREADED)
    layers, prediction = await answer(root, settings.runtime.model_copy(update={"sandbox": "require"}))
    assert "files" in layers
    np.testing.assert_allclose(prediction.arrays[0].array, [0.5, 0.5])  # the softmax of 14 and 14


_SERVER = """
import asyncio, sys
from pathlib import Path
import numpy as np
from bedside.bundle.folder import open_bundle
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings
from bedside.types import DecodedRecord, ValidatedInputs

async def main(bundle, staging_dir, mode):
    runtime = RuntimeSettings(device="cpu", staging_dir=Path(staging_dir), sandbox=mode)
    staging = Staging(runtime.staging_dir)
    executor = ProcessExecutor(open_bundle(Path(bundle)), runtime, staging)
    contract = await executor.load()
    print(*executor.layers, flush=True)
    if contract.record:
        record = ValidatedInputs((DecodedRecord("features", np.array([5, 1, 1], np.float32), {}),))
        print((await executor.run(record, timeout_seconds=60)).files[0].data.decode(), flush=True)
    await executor.close()
    staging.close()

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("mode", ["require", pytest.param("off", marks=pytest.mark.slow)])
def test_secrets_of_the_servers_environment_are_not_in_the_models(
    intruding: Path, surroundings: Surroundings, tmp_path: Path, mode: str
) -> None:
    """Neither in its variables nor in what the kernel keeps of its start, with the sandbox off as well."""
    (tmp_path / "server.py").write_text(_SERVER)
    command = [sys.executable, "-W", "ignore", str(tmp_path / "server.py"), str(intruding), str(tmp_path), mode]
    secrets = {"AWS_SECRET_ACCESS_KEY": SECRET, "BEDSIDE_LOG__PSEUDONYM_KEY": SECRET}
    done = subprocess.run(command, env={**os.environ, **secrets}, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[1])["run"]
    assert (told["environment"], told["first_environment"]) == ("AssertionError", "AssertionError")


def test_a_server_without_any_capability_confines_as_well(bundles: Path, tmp_path: Path) -> None:
    """As in a pod of a restricted name space: all dropped, no new privileges; the network is denied by the filter."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv: apt-get install util-linux")
    (tmp_path / "server.py").write_text(_SERVER)
    drop = [setpriv, "--no-new-privs", *(["--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else [])]
    command = [*drop, sys.executable, "-W", "ignore", str(tmp_path / "server.py")]
    done = subprocess.run(
        [*command, str(bundles / "volume_segmentation"), str(tmp_path), "require"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) >= set(sandbox.REQUIRED)
    assert "network_namespace" not in done.stdout


async def test_a_platform_that_lacks_a_layer_loads_nothing_where_all_are_required(
    intruding: Path, surroundings: Surroundings, settings: Settings, tmp_path: Path
) -> None:
    """The fork server's children ask the kernel; here one is told that it is of another architecture."""
    script = tmp_path / "server.py"
    script.write_text("import platform\nplatform.machine = lambda: 'riscv64'\n" + _SERVER)
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        [sys.executable, "-W", "ignore", str(script), str(intruding), str(settings.runtime.staging_dir), "require"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{LoadFailed.__name__}: runtime.sandbox is 'require', and this platform lacks: system_calls" in done.stderr
    assert [canary for canary in surroundings.canaries if canary.exists()] == []
    assert surroundings.connections == 0
