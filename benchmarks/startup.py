"""(c) Cold start, from the start of the process to the first right answer, and memory by number of models."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bedside.bundle.golden import PackageMissing, read_golden
from bedside.types import RawPart
from benchmarks import services
from benchmarks.client import GRACE_SECONDS, Client, Job
from benchmarks.part import Options, Part, Raw
from benchmarks.processes import command, pause_until, pss_megabytes, tree
from benchmarks.services import REPOSITORY, Running, Service, Workspace, bedside, start, status, wait_ready
from benchmarks.tables import spread, table
from benchmarks.traffic import MLSERVER_TENSOR, RECORD, TENSOR, Protocol, http_request, http_requests, make_cases

Say = Callable[[str], None]
BUNDLES = ("heart_disease", "chest_xray_pneumonia", "hippocampus_mr")
START_SECONDS = 180.0

_TABULAR: tuple[tuple[Service, Protocol], ...] = (
    (services.BEDSIDE, RECORD),
    (services.NAIVE, RECORD),
    (services.NAIVE_BUNDLE, RECORD),
    (services.KSERVE, TENSOR),
    (services.MLSERVER, MLSERVER_TENSOR),
)

Call = Callable[[Running], bytes]


def measure(workspace: Workspace, rounds: int, counts: Sequence[int], say: Say, only: str = "") -> dict[str, Any]:
    """Return cold starts (seconds, by name) and memory (PSS in MB, by bundle, number of models and role).

    Args:
        workspace: folders.
        rounds: cold starts of each.
        counts: numbers of models.
        say: told how it goes.
        only: part of a name; others are left out.
    """
    starts: dict[str, list[float]] = {}
    contestants = [found for found in _contestants(workspace) if only in found[0]]
    for number in range(rounds):
        for name, service, call in contestants:
            starts.setdefault(name, []).append(_cold_start(service, workspace, call))
        say(f"cold starts {number + 1}: " + "; ".join(f"{name} {found[-1]:.1f} s" for name, found in starts.items()))
    memory = {
        name: {str(count): _memory(workspace, name, count, say) for count in counts}
        for name in ("heart_disease", "hippocampus_mr")
        if only in name and _request(name) is not None
    }
    return {"cold_start_s": starts, "memory_mb": memory}


def _contestants(workspace: Workspace) -> list[tuple[str, Service, Call]]:
    found: list[tuple[str, Service, Call]] = []
    for name in BUNDLES:
        request = _request(name)
        if request is not None:
            service = bedside(f"Bedside {name}", lambda _, root=REPOSITORY / "apps" / name: [root])  # type: ignore[misc]
            found.append((f"Bedside, {name}", service, request))
    for service, protocol in _TABULAR:
        if service.available(workspace):
            found.append((f"{service.name}, 10 tabular models", service, _tabular_request(protocol)))
    return found


def _tabular_request(protocol: Protocol) -> Call:
    return lambda running: http_requests(protocol, make_cases(1), running.tokens)[0]


def _request(name: str, path: str = "") -> Call | None:
    """Return what makes the request of a bundle's first golden case; None where the case cannot be had here."""
    root = REPOSITORY / "apps" / name
    if not (root / "models" / "model.pt").is_file():
        return None
    try:
        raw = read_golden(root)[0].raw_inputs()[0]
    except PackageMissing:
        return None
    if isinstance(raw, RawPart):
        body, media_type = raw.data, raw.media_type
    else:
        body, media_type = json.dumps(dict(raw.values)).encode(), "application/json"
    target = path or f"/v1/models/{name}/predict"

    def request(running: Running) -> bytes:
        fields = f"Authorization: Bearer {running.tokens[0]}\r\nAccept: application/json\r\n"
        return http_request(target, body, media_type, fields)

    return request


def _cold_start(service: Service, workspace: Workspace, call: Call) -> float:
    """Return the seconds from the start of the process to a whole answer with status 200."""
    running = start(service, workspace)
    try:
        deadline = time.monotonic() + START_SECONDS
        request = call(running)
        while time.monotonic() < deadline and not running.server.ended:
            if status(running.port, service.ready) == 200:
                with suppress(RuntimeError, OSError):  # ready a moment too early: the next attempt counts
                    Client(Job(running.port, (request,), (), "collect")).collect()
                    return time.monotonic() - running.server.started
            pause_until(deadline)
        wait_ready(running, GRACE_SECONDS)
        raise RuntimeError(f"{service.name} gave no answer")
    finally:
        running.server.end()


def _memory(workspace: Workspace, name: str, count: int, say: Say) -> dict[str, float]:
    folder = workspace.root / f"memory-{name}-{count}"
    names = [f"{name}_{number}" for number in range(count)]
    for copy in names:
        shutil.copytree(REPOSITORY / "apps" / name, folder / copy)
    running = start(bedside(f"Bedside memory {name} {count}", lambda _: [folder]), workspace)
    try:
        wait_ready(running, START_SECONDS + 30 * count)
        seconds = time.monotonic() - running.server.started
        for copy in names:
            request = _request(name, f"/v1/models/{copy}/predict")
            assert request is not None
            Client(Job(running.port, (request(running),), (), "collect")).collect()
        found = _by_role(running.server.pid) | {"seconds to ready": seconds}
    finally:
        running.server.end()
    say(f"{count} x {name}: " + ", ".join(f"{role} {value:.0f}" for role, value in found.items()))
    return found


def _by_role(root: int) -> dict[str, float]:
    """Return PSS by what a process is for; only the fork server's children hold models."""
    found = {"server": pss_megabytes(root)}
    for child in tree(root)[1:]:
        line = command(child)
        if "resource_tracker" in line:
            role = "resource tracker"
        elif _parent(child) == root:
            role = "fork server"
        else:
            role = "model processes"
        found[role] = found.get(role, 0.0) + pss_megabytes(child)
    found["all"] = sum(found.values())
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# the section of docs/benchmarks.md


def render(raw: Raw) -> str:
    """Return the section."""
    starts = [[name, spread(values, 1)] for name, values in raw["cold_start_s"].items()]
    rows = []
    roles = ("server", "fork server", "model processes", "all", "seconds to ready")
    for bundle, by_count in raw["memory_mb"].items():
        for count, found in by_count.items():
            cells = [f"{found[role]:.0f}" if role in found else "" for role in roles]
            rows.append([f"{count} × {bundle}", *cells])
    return f"""
## (c) Cold start and memory

From the start of the process to the first right answer, seconds, median (least to most):

{table(("", "s"), starts)}

Memory by number of models, after one answer of each: PSS in MB, so that pages shared by processes count once. Library
pages are shared with whoever else runs torch at that moment, so a busy machine may show 100 MB less.
`heart_disease` runs inside the server (`execution = "inline"`), each `hippocampus_mr` in a process of its own.

{table(("models", *roles), rows)}
"""


def _run(workspace: Workspace, options: Options) -> dict[str, Any]:
    rounds, counts, only = (1, (1,), "heart_disease") if options.quick else (3, (1, 3, 10), "")
    return measure(workspace, rounds, counts, options.say, only)


PART = Part("startup", _run, render)
