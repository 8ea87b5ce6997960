"""``bedside top``: what a running server does, in the terminal; for a machine without Kibana or Prometheus."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import isnan
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bedside.cli.server import URL, Ca, Token, Url, connected
from bedside.cli.terminal import plain
from bedside.errors import BedsideError
from bedside.observability.metrics import UNKNOWN
from bedside.observability.snapshot import NOTHING, Activity, ModelActivity, Snapshot, Unreadable, read

WINDOW_SECONDS = 60.0
"""Rates and latencies are those of the last minute."""
_SECONDS = 10.0
_PIPE_COLUMNS = 120
_MOST_REFUSALS = 8
_READY = {True: "READY", False: "UNAVAILABLE"}
_STATE_STYLES = {"READY": "green", "LOADING": "yellow", "UNLOADED": "dim", "REPLACED": "dim", "": ""}


class NotWatchable(BedsideError):
    """Check the address, and that the server runs and lets you read /metrics (--token)."""


@dataclass(frozen=True, slots=True)
class View:
    """One picture of a server.

    Attributes:
        url: the server's address.
        activity: of its last minute, or since its start.
        states: state by model and version; empty where the index may not be read.
        since_start: the first reading has none before it.
    """

    url: str
    activity: Activity
    states: Mapping[tuple[str, str], str]
    since_start: bool

    def models(self) -> Iterator[tuple[ModelActivity, str]]:
        """Yield models with their states: as the index says, or else the metrics; calls that named none stand last."""
        nobodys = []
        for model in self.activity.models():
            state = self.states.get((model.name, model.version), "" if self.states else _READY[model.ready])
            if model.name == UNKNOWN:
                nobodys.append((model, ""))
            elif state or model.calls_per_second:  # versions that were replaced stay in the metrics
                yield model, state or "REPLACED"
        yield from nobodys

    def document(self) -> dict[str, Any]:
        """Return the view as JSON; numbers that are none are null."""
        now, activity = self.activity.after, self.activity
        models = [
            {
                name: None if isinstance(value, float) and isnan(value) else value
                for name, value in asdict(model).items()
            }
            | {"state": state}
            for model, state in self.models()
        ]
        return {
            "url": self.url,
            "seconds": activity.seconds,
            "models": models,
            "refusals": activity.refusals(),
            "resident_bytes": now.value("process_resident_memory_bytes"),
            "cpus": activity.rate("process_cpu_seconds_total"),
            "memory_reserved_bytes": now.value("bedside_memory_reserved_bytes"),
            "memory_capacity_bytes": now.value("bedside_memory_capacity_bytes"),
            "lost_log_lines": now.value("bedside_lost_log_lines_total"),
        }


def top(
    url: Url = URL,
    token: Token = None,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one table, of all that was since the start.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a look.")] = False,  # noqa: FBT002
    ca: Ca = None,
) -> None:
    """Show what a running server does: models, rates, latencies, queues, refusals of a minute. Ctrl-C ends it.

    Where the output is no terminal, a table is printed at each look.
    """
    with connected(url, token, ca, _SECONDS) as client, suppress(KeyboardInterrupt):
        views = watch(client)
        if once or as_json or not Console().is_terminal:
            _print(views, interval, once=once, as_json=as_json)
        else:
            _draw(views, interval)


def watch(client: httpx.Client, clock: Callable[[], float] = time.monotonic) -> Iterator[View]:
    """Look at a server at each step; raises NotWatchable where it does not answer."""
    earlier: deque[Snapshot] = deque()
    while True:
        now = _metrics(client, clock())
        while len(earlier) > 1 and now.at - earlier[0].at > WINDOW_SECONDS:
            earlier.popleft()
        if earlier:
            activity = Activity(earlier[0], now, now.at - earlier[0].at)
        else:
            activity = Activity(NOTHING, now, time.time() - now.value("process_start_time_seconds"))
        yield View(str(client.base_url).rstrip("/"), activity, _states(client), since_start=not earlier)
        earlier.append(now)


def _draw(views: Iterator[View], interval: float) -> None:
    with Live(render(next(views)), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            live.update(render(next(views)), refresh=True)


def _print(views: Iterator[View], interval: float, *, once: bool, as_json: bool) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_COLUMNS)
    for view in views:
        if as_json:
            typer.echo(json.dumps(view.document()))
        else:
            console.print(render(view), "" if once else "\n", end="")
        if once:
            return
        time.sleep(interval)


def _metrics(client: httpx.Client, at: float) -> Snapshot:
    try:
        response = client.get("/metrics", headers={"accept": "text/plain"})
        response.raise_for_status()
        return read(response.text, at)
    except httpx.HTTPStatusError as error:
        raise NotWatchable(f"{client.base_url} answers {error.response.status_code} to /metrics") from None
    except httpx.HTTPError as error:
        raise NotWatchable(f"no answer from {client.base_url}: {type(error).__name__}") from None
    except Unreadable:
        raise NotWatchable(f"what {client.base_url} answers to /metrics are no metrics") from None


def _states(client: httpx.Client) -> dict[tuple[str, str], str]:
    try:
        response = client.post("/v2/repository/index")
        found = response.raise_for_status().json()
        return {(str(one["name"]), str(one["version"])): str(one["state"]) for one in found}
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return {}  # without a token the metrics must do


def render(view: View) -> Group:
    """Return the picture for the terminal."""
    return Group(_header(view), _models(view), _refusals(view.activity.refusals()))


def _header(view: View) -> Text:
    now, activity = view.activity.after, view.activity
    over = "since the start" if view.since_start else f"last {activity.seconds:.0f} s"
    reserved, capacity = now.value("bedside_memory_reserved_bytes"), now.value("bedside_memory_capacity_bytes")
    parts = [
        f"{activity.rate('bedside_requests_total'):.1f} calls/s",
        f"server {activity.rate('process_cpu_seconds_total'):.2f} CPU",
        _size(now.value("process_resident_memory_bytes")),
        f"running calls {_size(reserved)} of {_size(capacity)}",
    ]
    lost = now.value("bedside_lost_log_lines_total")
    header = Text.assemble(("bedside top", "bold"), "  ", plain(view.url), f"  {over}\n", " · ".join(parts))
    return (header.append(f" · {lost:.0f} log lines lost", "bold red") if lost else header).append("\n")


def _models(view: View) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("model", "version", "state"):
        table.add_column(name)
    for name in ("calls/s", "failed/s", "p50", "p95", "waiting", "running", "crashes"):
        table.add_column(name, justify="right")
    for model, state in view.models():
        table.add_row(
            *(("no model named", "") if model.name == UNKNOWN else (plain(model.name), plain(model.version))),
            plain(state, _STATE_STYLES.get(state, "bold red")),
            f"{model.calls_per_second:.1f}",
            Text(f"{model.failures_per_second:.1f}", "red" if model.failures_per_second else ""),
            _time(model.p50),
            _time(model.p95),
            *_numbers((model.queue, model.in_flight, model.crashes)),
        )
    return table


def _refusals(refusals: Mapping[str, int]) -> Text:
    shown = [plain(f"{reason} {count}") for reason, count in list(refusals.items())[:_MOST_REFUSALS]]
    return Text.assemble(("\nrefused or failed: ", "bold"), Text(" · ").join(shown) if shown else "nothing")


def _numbers(values: Sequence[int]) -> list[str]:
    return [str(value) if value else "·" for value in values]


def _time(seconds: float) -> str:
    if isnan(seconds):
        return "·"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
