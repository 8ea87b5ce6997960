"""``bedside ship gate``: whether a candidate gets the traffic."""

import asyncio
import json
import signal
import ssl
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from bedside.bundle.folder import open_bundle
from bedside.cli.delivery_log import Events, delivery_log
from bedside.delivery.gate import Gate, Limits
from bedside.delivery.local import PRODUCTION, Site
from bedside.delivery.record import record_verdict
from bedside.delivery.verdict import Verdict
from bedside.errors import ConfigurationError
from bedside.loopback import direct

STATUS = {"promote": 0, "rollback": 1, "hold": 3}
"""Exit status by decision."""

_DEFAULT = Limits()

Bundle = Annotated[Path, typer.Argument(help="Bundle folder: what is to be delivered.", show_default=False)]
Candidate = Annotated[str, typer.Option(help="Address of the server that runs it.", show_default=False)]
Stable = Annotated[str, typer.Option(help="Address of the server whose place it shall take.", show_default=False)]
Here = Annotated[
    Path | None, typer.Option(help="Site on this machine, which knows both, and the weights.", show_default=False)
]
Token = Annotated[
    str | None,
    typer.Option(envvar="BEDSIDE_TOKEN", help="Bearer token. [default: read from standard input]", show_default=False),
]
Authorities = Annotated[
    Path | None, typer.Option(envvar="BEDSIDE_CA", help="PEM file that signed the servers' certificates.")
]
Mirror = Annotated[
    str, typer.Option(help="HOST:PORT where a gateway sends copies of requests. [default: golden inputs]")
]
Arrival = Annotated[
    float, typer.Option(help="Longest time until the candidate runs the bundle; 0: it must by now.", min=0)
]
MirrorBytes = Annotated[int, typer.Option(help="Bytes of copies held in memory at one time.", min=1)]
Report = Annotated[Path | None, typer.Option(help="Folder for verdict.json and verdict.md.", show_default=False)]


def gate(  # noqa: PLR0913, PLR0917 - each is an option of the command
    path: Bundle,
    candidate: Candidate = "",
    stable: Stable = "",
    site: Here = None,
    token: Token = None,
    ca: Authorities = None,
    mirror: Mirror = "",
    arrival_seconds: Arrival = _DEFAULT.arrival_seconds,
    seconds: Annotated[float, typer.Option(help="Longest time of the shadow.")] = _DEFAULT.seconds,
    step_seconds: Annotated[float, typer.Option(help="Longest time at one weight.")] = _DEFAULT.step_seconds,
    step_requests: Annotated[
        int, typer.Option(help="Calls of its own at one weight; the last takes more.", min=1)
    ] = _DEFAULT.step_requests,
    mirror_bytes: MirrorBytes = _DEFAULT.mirror_bytes,
    slower_than: Annotated[float, typer.Option(help="Times as long that count as slower.")] = _DEFAULT.slower_than,
    tolerance: Annotated[float, typer.Option(help="Difference of numbers that is none.")] = _DEFAULT.tolerance,
    failures: Annotated[float, typer.Option(help="Part that may not fail.")] = _DEFAULT.failures.bad,
    disagreements: Annotated[float, typer.Option(help="Part that may not differ.")] = _DEFAULT.disagreements.bad,
    report: Report = None,
    events: Events = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON, not as Markdown.")] = False,  # noqa: FBT002
) -> None:
    """Decide whether a candidate gets the traffic: golden cases, then shadow, then weights (docs/rehearsal.md).

    Exits 0 to promote, 1 to roll back, 3 where too little was seen. With `--site` the weights are moved, and
    back to 0 in the end, also where it is interrupted: `bedside ship promote` gives the candidate all calls.
    """
    limits = Limits(
        failures=replace(_DEFAULT.failures, bad=failures),
        disagreements=replace(_DEFAULT.disagreements, bad=disagreements),
        tolerance=tolerance,
        slower_than=slower_than,
        arrival_seconds=arrival_seconds,
        seconds=seconds,
        step_requests=step_requests,
        step_seconds=step_seconds,
        mirror_bytes=mirror_bytes,
    )
    traffic = None if site is None else Site(site)
    if traffic is not None:
        stable, candidate = traffic.environment(PRODUCTION).url, traffic.environment(traffic.canary).url
        mirror = mirror or traffic.mirror
    if not candidate:
        raise ConfigurationError("--candidate or --site is needed", field="candidate")
    with delivery_log(events, site):
        verdict = _decided(_decide(path, (candidate, stable), token or _typed(), ca, limits, mirror, traffic))
    _save(verdict, report)
    typer.echo(json.dumps(verdict.to_json()) if as_json else verdict.to_markdown())
    raise typer.Exit(STATUS[verdict.decision])


def _decided(deciding: Coroutine[None, None, Verdict]) -> Verdict:
    try:
        verdict = asyncio.run(deciding)
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None
    record_verdict(verdict)
    return verdict


def _typed() -> str:
    return sys.stdin.readline().strip()


def _save(verdict: Verdict, folder: Path | None) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "verdict.json").write_text(json.dumps(verdict.to_json(), indent=2) + "\n", encoding="utf-8")
    (folder / "verdict.md").write_text(verdict.to_markdown(), encoding="utf-8")


async def _decide(
    path: Path,
    servers: tuple[str, str],
    token: str,
    ca: Path | None,
    limits: Limits,
    mirror: str,
    site: Site | None,
) -> Verdict:
    # A cancelled job is told so; what it has changed must go back, as after Ctrl-C.
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    verify = ssl.create_default_context(cafile=str(ca) if ca else None)
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {"verify": verify, "timeout": 300.0}
        candidate, stable = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, mounts=direct(url), **options))
            for url in servers
        ]
        bundle = open_bundle(path)
        decision = Gate(bundle, candidate, stable if servers[1] else None, token, limits, mirror, site)
        return await decision.decide(lambda line: typer.echo(line, err=True))
