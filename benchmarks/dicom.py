"""(d) DICOM: a study in, its Segmentation in the archive; instances per second beside storescp and Orthanc; memory.

The study is stored by STOW-RS, the result goes back to a real Orthanc. For instances per second, the same files go to
each contestant in turn; before Bedside says "success" an instance is encrypted, on disk and synchronised with its
folder; Orthanc synchronises the file. All take PDUs of the same size.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bedside.delivery.processes import free_port
from benchmarks import dicom_memory
from benchmarks.dicom_files import (
    RELATED,
    ROOT,
    SIDE,
    SMALL,
    WAIT_SECONDS,
    connected,
    finished,
    made_series,
    related,
    uids_below,
    until,
)
from benchmarks.imaging import MODEL, log_stages
from benchmarks.part import Options, Part, Raw
from benchmarks.processes import Busy, Server, cpu_seconds
from benchmarks.services import REPOSITORY, Running, Service, Workspace, bedside, bedside_tokens, start
from benchmarks.services import wait_ready as ready
from benchmarks.tables import spread, table, verdict

Say = Callable[[str], None]
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE = "BENCHMARK"
CT_SLICES = 500
PDU_BYTES = 131072
"""Largest PDU that anybody takes, Bedside's default: with the 16 KiB of the others' they would wait for the network."""


def available() -> bool:
    """Tell whether pydicom, Orthanc and dcmtk are here (scripts/install_test_servers.sh)."""
    return all(map(shutil.which, ("Orthanc", "storescp", "storescu"))) and PLUGIN.is_file()


def measure(workspace: Workspace, rounds: int, count: int, slices: int, say: Say) -> dict[str, Any]:
    """Return raw results.

    Args:
        workspace: folders.
        rounds: studies that are taken through, and rounds of instances.
        count: instances a round.
        slices: of the CT whose memory is measured.
        say: told how it goes.
    """
    folder = workspace.root / "dicom"
    folder.mkdir()
    memory = dicom_memory.measure(workspace, slices)
    say(f"{slices} slices: a job takes {memory['server_bytes'] / memory['volume_bytes']:.2f} volumes in the server")
    with ExitStack() as stack:
        archive = _orthanc(folder)
        stack.callback(archive.server.end)
        runs = _through(workspace, archive, rounds, folder, say)
        rates, foreign = _rates(workspace, archive, rounds, count, folder, say)
    return {
        "memory": memory,
        "through": runs,
        "instances_per_second": rates,
        "instance_bytes": 2 * SIDE * SIDE,
        "count": count,
        "foreign_cores": foreign,
        "load_average": os.getloadavg()[1],
    }


# a study, all the way


def _through(workspace: Workspace, archive: Running, rounds: int, folder: Path, say: Say) -> dict[str, Any]:
    service = _bedside(workspace, "Bedside studies", folder, archive, jobs=1)
    running = start(service, workspace)
    try:
        ready(running)
        found = [_study(running, archive, number) for number in range(rounds + 1)][1:]  # the first one warms up
    finally:
        running.server.end()
    stages = log_stages(running.server.log)
    say("study in to SEG stored: " + ", ".join(f"{sum(run.values()):.2f} s" for run in found))
    return {"seconds": found, "stages_ms": {name: median(values) for name, values in stages.items()}}


def _study(running: Running, archive: Running, number: int) -> dict[str, float]:
    files = made_series(SMALL, f"{ROOT}.1.{number}.{os.getpid()}", spacing=0.8, seed=number)
    with connected(running) as client, connected(archive) as orthanc:
        begin = time.time()
        answer = client.post(_studies(), content=related(files), headers={"Content-Type": RELATED})
        answer.raise_for_status()
        taken = time.time()
        job = finished(client, answer.headers["location"])
        study = uids_below(f"{ROOT}.1.{number}.{os.getpid()}")[0]
        place = f"/dicom-web/studies/{study}/instances?Modality=SEG"
        until(lambda: orthanc.get(place).json())
        stored = time.time()
    started, ended = (_seconds(job[name]) for name in ("started", "finished"))
    return {
        "received, checked and kept (STOW-RS)": taken - begin,
        "waiting": max(0.0, started - taken),
        "running": ended - max(started, taken),
        "SEG and SR stored and found (STOW-RS, QIDO-RS)": stored - ended,
    }


def _seconds(moment: str) -> float:
    return float(np.datetime64(moment.removesuffix("+00:00")).astype("datetime64[ms]").astype(np.int64)) / 1e3


# instances per second


def _rates(
    workspace: Workspace, archive: Running, rounds: int, count: int, folder: Path, say: Say
) -> tuple[dict[str, list[float]], float]:
    with ExitStack() as stack:
        running = start(_bedside(workspace, "Bedside instances", folder, archive, jobs=0), workspace)
        stack.callback(running.server.end)
        receiver, port = _storescp(folder)
        stack.callback(receiver.end)
        ready(running)
        ports = {"storescp": port, "Orthanc": archive.port + 1, "Bedside": running.port + 1}
        roots = {"Orthanc": (archive, "/dicom-web/studies"), "Bedside": (running, _studies())}
        found: dict[str, list[float]] = {}
        busy, begin = Busy.now(), perf_counter()
        own = sum(cpu_seconds(server.pid) for server in (running.server, receiver, archive.server))
        for number in range(rounds):
            made = made_series((count, SIDE, SIDE), f"{ROOT}.2.{number}.{os.getpid()}", 0.08, number)
            for name, seconds in _round(made, folder / f"round{number}", ports, roots, number):
                found.setdefault(name, []).append(count / seconds)
            say(f"round {number + 1}: " + ", ".join(f"{name} {rates[-1]:.0f}/s" for name, rates in found.items()))
        own = sum(cpu_seconds(server.pid) for server in (running.server, receiver, archive.server)) - own
        return found, (Busy.now().used - busy.used - own) / (perf_counter() - begin)


def _round(
    made: Sequence[bytes], folder: Path, ports: dict[str, int], roots: dict[str, tuple[Running, str]], number: int
) -> Iterator[tuple[str, float]]:
    folder.mkdir()
    for place, data in enumerate(made):
        (folder / f"{place:04}.dcm").write_bytes(data)
    names = list(ports)
    for name in names[number % len(names) :] + names[: number % len(names)]:  # nobody is always the first
        begin = perf_counter()
        send = ["storescu", "-aet", TITLE, "-aec", "BEDSIDE", "127.0.0.1", str(ports[name]), "+sd", str(folder)]
        subprocess.run(send, check=True, timeout=WAIT_SECONDS)
        yield f"C-STORE, {name}", perf_counter() - begin
    # New UIDs: what an archive has, it need not write again.
    body = related(made_series((len(made), SIDE, SIDE), f"{ROOT}.3.{number}.{os.getpid()}", 0.08, number))
    for name in sorted(roots, reverse=bool(number % 2)):
        running, path = roots[name]
        with connected(running) as client:
            begin = perf_counter()
            client.post(path, content=body, headers={"Content-Type": RELATED}).raise_for_status()
            yield f"STOW-RS, {name}", perf_counter() - begin


# servers


def _bedside(workspace: Workspace, name: str, folder: Path, archive: Running, jobs: int) -> Service:
    def environment(port: int) -> dict[str, str]:
        destination = {"orthanc": {"url": f"http://127.0.0.1:{archive.port}/dicom-web"}}
        return {
            "BEDSIDE_JOBS__CONCURRENCY": str(jobs),
            "BEDSIDE_JOBS__POLL_SECONDS": "0.1",
            "BEDSIDE_RUNTIME__STATE_DIR": str(folder / name.replace(" ", "_")),
            "BEDSIDE_DICOM__PORT": str(port + 1),
            "BEDSIDE_DICOM__AE_TITLE": "BEDSIDE",
            "BEDSIDE_DICOM__CALLING_AE_TITLES": json.dumps([TITLE]),
            "BEDSIDE_DICOM__STABLE_SECONDS": "3600",  # instances are received here, and not made a job of meanwhile
            "BEDSIDE_DICOM__ROUTES": json.dumps([{"model": MODEL}]),
            "BEDSIDE_DICOM__DESTINATIONS": json.dumps(destination),
            "BEDSIDE_DICOM__RESULTS_TO": json.dumps(["orthanc"]),
        }

    plain = bedside(name, lambda _: [REPOSITORY / "apps" / MODEL])

    def command(place: Workspace, port: int) -> tuple[list[str], dict[str, str]]:
        arguments, own = plain.command(place, port)
        return arguments, {**own, **environment(port)}

    state = Workspace(folder, workspace.peers)
    state_dir = folder / name.replace(" ", "_")

    def tokens(_: Workspace) -> list[str]:
        state_dir.mkdir(exist_ok=True)
        (folder / "state").unlink(missing_ok=True)
        (folder / "state").symlink_to(state_dir)  # where the issuer's key of this server is
        return bedside_tokens(state)

    return Service(name, command, "/readyz", tokens)


def _orthanc(folder: Path) -> Running:
    port, home = free_port(), folder / "orthanc"
    home.mkdir()
    settings = {
        "HttpPort": port,
        "DicomPort": port + 1,
        "DicomAet": "BEDSIDE",
        "StorageDirectory": str(home),
        "IndexDirectory": str(home),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "MaximumPduLength": PDU_BYTES,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (home / "orthanc.json").write_text(json.dumps(settings))
    server = Server(["Orthanc", str(home / "orthanc.json")], {}, home / "orthanc.log")
    service = Service("Orthanc", lambda _workspace, _port: ([], {}), "/system")
    running = Running(service, server, port)
    ready(running, 30)
    return running


def _storescp(folder: Path) -> tuple[Server, int]:
    port, home = free_port(), folder / "storescp"
    home.mkdir()
    return Server(["storescp", "-pdu", str(PDU_BYTES), "-od", str(home), str(port)], {}, folder / "storescp.log"), port


def _studies() -> str:
    return f"/dicomweb/models/{MODEL}/studies"


# the section of docs/benchmarks.md


_PROCESSES = ("decoding", "server", "model")


def render(raw: Raw) -> str:
    """Return the section."""
    runs, memory, count = raw["through"]["seconds"], raw["memory"], raw["count"]
    steps = [[name, spread([run[name] for run in runs], 2)] for name in runs[0]]
    steps.append(["**study in, SEG and SR stored**", spread([sum(run.values()) for run in runs], 2)])
    kinds = ("decode", "run", "preprocess", "inference", "encode")
    stages = [[name, f"{raw['through']['stages_ms'][name]:.1f}"] for name in kinds]
    rates = raw["instances_per_second"]
    rows = []
    for name, found in rates.items():
        service = name.partition(",")[0]
        ratios = [ours / theirs for ours, theirs in zip(rates[f"{service}, Bedside"], found, strict=True)]
        rows.append([name, spread(found, 0), "" if name.endswith("Bedside") else spread(ratios, 2)])
    decoding, server, model = (memory[f"{name}_bytes"] / memory["volume_bytes"] for name in _PROCESSES)
    peaks = [
        ["server: received, decoded, run, encoded (goal: at most 3)", f"{verdict(server <= 3)} **{server:.2f}**"],
        ["the model's process", f"{model:.2f}"],
        [f"decoding alone, its request included, in {memory['decoding_seconds']:.1f} s", f"{decoding:.2f}"],
    ]
    return f"""
## (d) DICOM

A made-up MR series of 20 slices of 48 × 40 through `hippocampus_mr`: stored by STOW-RS, run as a job, its Segmentation
and Structured Report stored in an Orthanc on this machine and found there by QIDO-RS. Seconds, median (least to most)
of {len(runs)}:

{table(("", "s"), steps)}

Milliseconds of the stages by the server's log, median; `decode` runs twice, when the study is checked and in its job:

{table(("stage", "ms"), stages)}

The same {count} instances of {raw["instance_bytes"] / 2**20:.1f} MiB to each in turn; C-STORE by dcmtk's `storescu`,
one association, PDUs of 128 KiB; STOW-RS in one request. "Success" of Bedside means encrypted, on disk and synchronised
(C-STORE), or a job whose series has an exact volume (STOW-RS); Orthanc synchronises its files, `storescp` does not.

{table(("", "instances/s", "Bedside's rate over this"), rows)}

A CT of {memory["slices"]} slices of 512 × 512, {memory["volume_bytes"] / 1e6:.0f} MB of int16, from STOW-RS to its
Segmentation and report, in a server whose model is a threshold: peak of each process above what it held before, in
volumes. The model's process holds float32, two volumes a copy.

{table(("", "volumes"), peaks)}
"""


def _run(workspace: Workspace, options: Options) -> dict[str, Any]:
    rounds, count, slices = (1, 5, 20) if options.quick else (options.rounds, 100, CT_SLICES)
    return measure(workspace, rounds, count, slices, options.say)


PART = Part("dicom", _run, render, available)
