"""(g) The conformance and hazard kit (``tests/conformance``) over Bedside and its peers, each serving a tabular model.

``python -m benchmarks conformance`` starts one server after the other, in the settings of the tabular benchmark but
with gRPC, and writes which rows each passes. A row is a clause of the Open Inference Protocol V2 or a hazard: a request
that must be answered as the contract says, or refused with the caller blamed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import services
from benchmarks.contestants.heart_pipeline import MODELS
from benchmarks.part import Options, Part, Raw
from benchmarks.services import REPOSITORY, Running, Service, Workspace, start, wait_ready, with_grpc
from benchmarks.tables import table
from benchmarks.traffic import MLSERVER_TENSOR, TENSOR, Protocol, make_cases

KIT_SECONDS = 600.0
PASSES, SKIPPED = "passes", "skipped"
CONTESTANTS: tuple[tuple[Service, Protocol], ...] = (
    (services.BEDSIDE, TENSOR),
    (services.KSERVE, TENSOR),
    (services.MLSERVER, MLSERVER_TENSOR),
)


def measure(workspace: Workspace, say: Callable[[str], None]) -> dict[str, Any]:
    """Return, by suite and clause, what each contestant that is installed did."""
    results: dict[str, Any] = {"contestants": [], "suites": {}}
    for service, protocol in CONTESTANTS:
        if not service.available(workspace):
            say(f"skipped, not installed: {service.name} (benchmarks/peers.sh)")
            continue
        say(f"the kit over {service.name}")
        results["contestants"].append(service.name)
        for suite, rows in _run_kit(workspace, service, protocol).items():
            for clause, outcome in rows.items():
                results["suites"].setdefault(suite, {}).setdefault(clause, {})[service.name] = outcome
    return results


def _run_kit(workspace: Workspace, service: Service, protocol: Protocol) -> dict[str, dict[str, str]]:
    running = start(with_grpc(service), workspace)
    try:
        wait_ready(running)
        return _ask(workspace, running, protocol)
    finally:
        running.server.end()


def _ask(workspace: Workspace, running: Running, protocol: Protocol) -> dict[str, dict[str, str]]:
    request, answer = workspace.root / "request.json", workspace.root / f"kit-{running.port}.json"
    request.write_text(json.dumps(protocol.write(make_cases(1)[0])))
    about = {
        "URL": f"http://127.0.0.1:{running.port}",
        "GRPC": f"127.0.0.1:{running.port + 1}",
        "MODEL": MODELS[0],
        "REQUEST": str(request),
        "TOKEN": running.tokens[0] if running.tokens else "",
    }
    environment = {**os.environ, **{f"BEDSIDE_CONFORMANCE_{name}": value for name, value in about.items()}}
    command = [sys.executable, "-m", "tests.conformance", "--json", str(answer)]
    subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, timeout=KIT_SECONDS, check=False)
    found: dict[str, dict[str, str]] = json.loads(answer.read_text())
    return found


def render(raw: Raw) -> str:
    """Return the section."""
    names: Sequence[str] = raw["contestants"]
    totals = [(suite, *(_counts(rows, name) for name in names)) for suite, rows in raw["suites"].items()]
    differing = [
        (clause, *(_word(found, name) for name in names))
        for rows in raw["suites"].values()
        for clause, found in rows.items()
        if len({_word(found, name) for name in names}) > 1
    ]
    return f"""
## (g) Conformance and hazards, beside peers

{table(("rows passed, failed, skipped", *names), totals)}

`python -m tests.conformance` over each server ([conformance.md](conformance.md)); in brackets how many of a row's
variants failed: an answer that the contract does not allow, none, or an error that does not blame the caller (5xx,
`UNKNOWN`, `INTERNAL`). Skipped rows need what the server or its model has not.

<details><summary>Rows that not everybody passes</summary>

{table(("row", *names), differing)}

</details>
"""


def _counts(rows: Mapping[str, Mapping[str, str]], name: str) -> str:
    words = [_word(found, name) for found in rows.values()]
    passed, skipped = words.count(PASSES), words.count(SKIPPED)
    return f"{passed}, {len(words) - passed - skipped}, {skipped}"


def _word(found: Mapping[str, str], name: str) -> str:
    result = found.get(name, SKIPPED)
    if result.startswith(SKIPPED):
        return SKIPPED
    if result == PASSES:
        return PASSES
    return f"**fails** ({result.count(',') + 1})"


def _run(workspace: Workspace, options: Options) -> dict[str, Any]:
    return measure(workspace, options.say)


PART = Part("conformance", _run, render)
