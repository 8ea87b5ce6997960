"""(b) Imaging: one NIfTI volume in, one mask out; served, called in process, and by ``python -m monai.bundle run``.

One request at a time, because the question is what serving adds to the bundle's own work. Served and in-process calls
alternate on the same volumes, and their masks must be equal voxel for voxel.
"""

import gzip
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Self

import nibabel
import numpy as np

from bedside.bundle.golden import read_golden
from bedside.types import RawPart
from benchmarks.part import Options, Part, Raw
from benchmarks.processes import Busy, cpu_seconds, pss_megabytes, tree
from benchmarks.services import REPOSITORY, Running, Workspace, bedside, start, wait_ready
from benchmarks.tables import quartiles, table, verdict

MODEL = "hippocampus_mr"
BUNDLE = REPOSITORY / "apps" / MODEL
THREADS = 1
"""Threads of the model, the same for all three (``runtime.threads``, whose default it is)."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """One volume in one round; seconds.

    Attributes:
        served: from sending the request to having the whole answer.
        in_process: the bundle's own steps, from a file on disk to the mask in memory.
        saved: writing that mask as NIfTI.gz, which the served answer includes.
        served_cpu: of the server and all its processes.
    """

    volume: str
    round: int
    served: float
    in_process: float
    saved: float
    served_cpu: float
    in_process_cpu: float


def available() -> bool:
    """Tell whether the bundle has its weights."""
    return (BUNDLE / "models" / "model.pt").is_file()


def volumes(count: int, folder: Path) -> list[Path]:
    """Return NIfTI.gz files: public ones where ``BEDSIDE_DATA`` has them, else the bundle's golden inputs."""
    data = Path(os.environ.get("BEDSIDE_DATA") or REPOSITORY.parent / "shared" / "data")
    found = sorted((data / MODEL / "images").glob("*.nii*"))
    step = max(1, len(found) // count)
    return [_compressed(path, folder) for path in found[::step][:count]] or _golden(folder)


def _compressed(path: Path, folder: Path) -> Path:
    if path.suffix == ".gz":
        return path
    target = folder / f"{path.name}.gz"
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def _golden(folder: Path) -> list[Path]:
    paths = []
    for case in read_golden(BUNDLE):
        part = case.raw_inputs()[0]
        assert isinstance(part, RawPart)
        path = folder / f"{case.name}.nii.gz"
        path.write_bytes(part.data if part.data[:2] == b"\x1f\x8b" else gzip.compress(part.data))
        paths.append(path)
    return paths


def measure(workspace: Workspace, rounds: int, count: int, cold_runs: int, say: Say) -> dict[str, Any]:
    """Return raw results of all three ways."""
    folder = workspace.root / "imaging"
    folder.mkdir()
    files = volumes(count, folder)
    with ExitStack() as stack:
        service = bedside("Bedside imaging", lambda _: [BUNDLE], BEDSIDE_RUNTIME__THREADS=str(THREADS))
        running = start(service, workspace)
        stack.callback(running.server.end)
        caller = stack.enter_context(_InProcess(BUNDLE, THREADS))
        wait_ready(running)
        served = _Served(running)
        _check_equal(served, caller, files, folder)
        say(f"{len(files)} volumes: served masks equal those made in process")
        busy, begin = Busy.now(), perf_counter()
        own = cpu_seconds(running.server.pid) + cpu_seconds(caller.pid)
        timings = [timing for number in range(rounds) for timing in _round(served, caller, files, folder, number)]
        own = cpu_seconds(running.server.pid) + cpu_seconds(caller.pid) - own
        foreign = (Busy.now().used - busy.used - own) / (perf_counter() - begin)
        say(_line(timings))
        memory = {"server": _megabytes(running.server.pid), "in process": _megabytes(caller.pid)}
    stages = log_stages(running.server.log)
    runs = [_bundle_run(file, folder / f"run{number}") for number, file in enumerate((files * cold_runs)[:cold_runs])]
    if runs:
        say(f"python -m monai.bundle run: {median(run['wall'] for run in runs):.1f} s a case")
    return {
        "volumes": {file.name: _shape(file) for file in files},
        "threads": THREADS,
        "timings": [asdict(timing) for timing in timings],
        "stages_ms": {name: median(values) for name, values in stages.items()},
        "bundle_run": runs,
        "foreign_cores": foreign,
        "pss_mb": memory,
    }


def _round(
    served: "_Served", caller: "_InProcess", files: Sequence[Path], folder: Path, number: int
) -> Iterator[Timing]:
    for index, file in enumerate(files):
        # The order changes, so that none always has the other's warm caches.
        if (number + index) % 2:
            told = caller.call(file, folder / "mask.nii.gz")
            seconds, cpu, _ = served.call(file)
        else:
            seconds, cpu, _ = served.call(file)
            told = caller.call(file, folder / "mask.nii.gz")
        yield Timing(file.name, number, seconds, told["run"], told["save"], cpu, told["cpu"])


class _Served:
    """One kept-alive connection to the server."""

    def __init__(self, running: Running) -> None:
        self._pid = running.server.pid
        self._connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=300)
        self._fields = {
            "Authorization": f"Bearer {running.tokens[0]}",
            "Content-Type": "application/gzip",
            "Accept": "application/gzip",
        }

    def call(self, file: Path) -> tuple[float, float, bytes]:
        """Return seconds, server CPU seconds and the mask.

        Raises:
            RuntimeError: the answer is no 200.
        """
        body = file.read_bytes()
        cpu, begin = cpu_seconds(self._pid), perf_counter()
        self._connection.request("POST", f"/v1/models/{MODEL}/predict", body, self._fields)
        answer = self._connection.getresponse()
        mask = answer.read()
        seconds = perf_counter() - begin
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {mask[:500]!r}")
        return seconds, cpu_seconds(self._pid) - cpu, mask


class _InProcess:
    """The process that calls the bundle without a server."""

    def __init__(self, bundle: Path, threads: int) -> None:
        module = "benchmarks.contestants.bundle_in_process"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(bundle), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            text=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def call(self, file: Path, mask: Path) -> dict[str, float]:
        """Run the bundle on one file; return the times."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"input": str(file), "output": str(mask)}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                found: dict[str, float] = json.loads(line)
                return found
        raise RuntimeError("the process that calls the bundle has ended")


def _check_equal(served: _Served, caller: _InProcess, files: Sequence[Path], folder: Path) -> None:
    for file in files:
        (folder / "served.nii.gz").write_bytes(served.call(file)[2])
        caller.call(file, folder / "mask.nii.gz")
        left, right = (np.asarray(nibabel.load(folder / name).dataobj) for name in ("served.nii.gz", "mask.nii.gz"))
        if not np.array_equal(np.squeeze(left), np.squeeze(right)):
            raise RuntimeError(f"{file.name}: the served mask differs from the one made in process")


def log_stages(log: Path) -> dict[str, list[float]]:
    """Return the milliseconds of each stage in each finished prediction of a log; ``total`` is the whole call."""
    stages: dict[str, list[float]] = {}
    for line in log.read_text().splitlines():
        if "inference_completed" in line:
            fields = _flat(json.loads(line))
            fields["inference.stage.total"] = fields["event.duration"] / 1e6
            for name, value in fields.items():
                if name.startswith("inference.stage."):
                    stages.setdefault(name.removeprefix("inference.stage.").removesuffix("_ms"), []).append(value)
    return stages


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return flat


def _bundle_run(file: Path, output: Path) -> dict[str, float]:
    """Run MONAI's own command on one case, in a fresh process."""
    arguments = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    arguments += ["--meta_file", "configs/metadata.json", "--bundle_root", str(BUNDLE)]
    arguments += ["--datalist", json.dumps([str(file)]), "--output_dir", str(output)]
    before, begin = os.times(), perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    subprocess.run(arguments, cwd=BUNDLE, env=environment, check=True, capture_output=True)
    wall, after = perf_counter() - begin, os.times()
    if not list(output.rglob("*.nii*")):
        raise RuntimeError("monai.bundle run wrote no mask")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": wall, "cpu": cpu}


def _megabytes(pid: int) -> float:
    return sum(map(pss_megabytes, tree(pid)))


def _shape(file: Path) -> list[int]:
    return [int(length) for length in nibabel.load(file).shape]


def _line(timings: Sequence[Timing]) -> str:
    served, called = median(t.served for t in timings), median(t.in_process for t in timings)
    return f"served {served * 1e3:.1f} ms, in process {called * 1e3:.1f} ms"


# the section of docs/benchmarks.md


def render(raw: Raw) -> str:
    """Return the section."""
    timings = raw["timings"]
    ratios = [item["served"] / item["in_process"] for item in timings]
    with_saving = [item["served"] / (item["in_process"] + item["saved"]) for item in timings]
    cpu = sum(item["served_cpu"] for item in timings) / sum(item["in_process_cpu"] for item in timings)
    served = [item["served"] * 1e3 for item in timings]
    in_process = [item["in_process"] * 1e3 for item in timings]
    saved = [item["saved"] * 1e3 for item in timings]
    total = raw["stages_ms"].get("total", float("nan"))
    by_log = total / median(in_process)
    rows = [
        ["served, whole request seen by the client", quartiles(served, 1), quartiles(ratios, 3)],
        ["served, the server's own total (log event)", f"{total:.1f}", f"{by_log:.3f}"],
        ["called in process (goal: served ≤ 1.05×)", quartiles(in_process, 1), "1"],
        ["… saving the mask, as the served answer has it", f"{quartiles(saved, 1)} more", ""],
    ]
    runs = [run["wall"] for run in raw["bundle_run"]]
    if runs:
        times = median(runs) / median(t["served"] for t in timings)
        rows.append(
            [
                "`python -m monai.bundle run`, per case (goal: served ≥ 8× faster)",
                f"{median(runs) * 1e3:.0f}",
                f"{verdict(times >= 8)} served is {times:.1f}× faster",
            ]
        )
    stages = [[name, f"{value:.2f}"] for name, value in raw["stages_ms"].items()]
    rounds = len({item["round"] for item in timings})
    return f"""
## (b) Imaging: `hippocampus_mr`, NIfTI.gz in, NIfTI.gz mask out

{table(("", "ms", "× in process"), rows)}

{len(raw["volumes"])} volumes (such as {next(iter(raw["volumes"].values()))} voxels), {rounds} rounds, one request at a
time, {raw["threads"]} thread for the model everywhere; served and in-process calls alternate. Median (quartiles);
ratios are per call. {verdict(median(ratios) <= 1.05)} Median ratio {median(ratios):.3f}; with the saving of the mask
counted on both sides {median(with_saving):.3f}; server CPU over CPU in process {cpu:.3f}. All masks equal voxel for
voxel.
PSS: server and model process {raw["pss_mb"]["server"]:.0f} MB, in process {raw["pss_mb"]["in process"]:.0f} MB.

Stages of the served calls, from their log events (median ms; `run` holds `queue`, `preprocess` and `inference`):

{table(("stage", "ms"), stages)}
"""


def _run(workspace: Workspace, options: Options) -> dict[str, Any]:
    rounds, count, runs = (1, 1, 0) if options.quick else (options.rounds, 12, 3)
    return measure(workspace, rounds, count, runs, options.say)


PART = Part("imaging", _run, render, available)
