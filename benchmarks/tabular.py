"""(a) Tabular: ten models over HTTP, small JSON bodies; requests per second, CPU per request, latency, memory.

All servers run side by side and idle while another is measured; the order is A B C, A B C, so that a neighbour on the
machine who comes or goes meets them all.
"""

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from benchmarks import services
from benchmarks.client import Job, Load
from benchmarks.part import Options, Part, Raw
from benchmarks.processes import Busy, cpu_seconds, pin, pss_megabytes, tree
from benchmarks.services import Running, Service, Workspace, start, wait_ready
from benchmarks.tables import spread, table, verdict
from benchmarks.traffic import MLSERVER_TENSOR, RECORD, TENSOR, Protocol, http_requests, make_cases, probabilities

SERVER_CORE, CLIENT_CORE = 0, 1
CASES = 200
CONNECTIONS = 64
AGREEMENT = 1e-5
"""Largest difference of two servers' probabilities for one case and model."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server and the protocol that it is spoken to in.

    Attributes:
        model: ``bundle`` or ``scikit-learn``; contestants with the same model must give the same answers.
        duties: whether each request is authenticated, validated by name, logged and metered.
        holds: whether it is also asked to hold ``Plan.held_rate``.
    """

    name: str
    service: Service
    protocol: Protocol
    model: str
    duties: bool
    holds: bool = False


CONTESTANTS: tuple[Contestant, ...] = (
    Contestant("Bedside /v1 predict", services.BEDSIDE, RECORD, "bundle", duties=True, holds=True),
    Contestant("Bedside /v2 infer", services.BEDSIDE, TENSOR, "bundle", duties=True, holds=True),
    Contestant("Bedside /v1, tokens never remembered", services.BEDSIDE_UNCACHED, RECORD, "bundle", duties=True),
    Contestant("naive FastAPI, scikit-learn", services.NAIVE, RECORD, "scikit-learn", duties=True),
    Contestant("naive FastAPI, same bundle", services.NAIVE_BUNDLE, RECORD, "bundle", duties=True),
    Contestant("KServe 0.21", services.KSERVE, TENSOR, "scikit-learn", duties=False),
    Contestant("MLServer 1.7.1", services.MLSERVER, MLSERVER_TENSOR, "scikit-learn", duties=False),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how hard. Many short rounds rather than few long ones: neighbours come and go within seconds.

    Attributes:
        light_rate: requests per second that every contestant can take; its latencies compare.
        held_rate: requests per second that Bedside is to hold.
    """

    rounds: int = 10
    seconds: float = 1.5
    warm_up_seconds: float = 0.5
    light_rate: float = 200.0
    light_seconds: float = 1.5
    held_rate: float = 2000.0
    held_seconds: float = 2.0
    unpinned_rounds: int = 3


@dataclass(frozen=True, slots=True)
class Measurement:
    """One load on one contestant in one round.

    Attributes:
        cpu_us: server CPU (user and system, whole tree) per answered request, microseconds.
        client_cpu_us: the client's.
        foreign_cores: cores that everybody else on the machine used meanwhile.
        stolen_cores: cores that the hypervisor took.
    """

    contestant: str
    round: int
    kind: str
    pinned: bool
    per_second: float
    cpu_us: float
    client_cpu_us: float
    foreign_cores: float
    stolen_cores: float
    load: Load


Say = Callable[[str], None]


def measure(workspace: Workspace, contestants: Iterable[Contestant], plan: Plan, say: Say) -> dict[str, Any]:
    """Start everybody, check that they answer alike, load them in turn, and return the raw results."""
    chosen = [contestant for contestant in contestants if contestant.service.available(workspace)]
    with ExitStack() as stack:
        running = _start_all({contestant.service.name: contestant.service for contestant in chosen}, workspace, stack)
        targets = [_Target(contestant, running[contestant.service.name]) for contestant in chosen]
        differences = _check_agreement(targets)
        say(f"{len(targets)} contestants answer alike (largest difference {max(differences.values(), default=0):.1e})")
        found: list[Measurement] = []
        for number in range(plan.rounds):
            found += _round(targets, plan, number, pinned=True)
            say(_line(found, number))
        for number in range(plan.unpinned_rounds):
            found += _round(targets, replace(plan, light_seconds=0), number, pinned=False)
        memory = {name: sum(map(pss_megabytes, tree(one.server.pid))) for name, one in running.items()}
        duties = {
            target.contestant.service.name: logged_lines(target.running)
            for target in targets
            if target.contestant.duties
        }
    sent = {name: _answered(found, targets, name) for name in duties}
    return {
        "plan": asdict(plan),
        "measurements": [asdict(item) for item in found],
        "pss_mb": memory,
        "logged_lines": duties,
        "answered": sent,
        "largest_difference": differences,
    }


def _start_all(chosen: dict[str, Service], workspace: Workspace, stack: ExitStack) -> dict[str, Running]:
    running = {}
    for name, service in chosen.items():
        running[name] = start(service, workspace)
        stack.callback(running[name].server.end)
        wait_ready(running[name])
    return running


class _Target:
    """A contestant with its requests and the answers expected of it."""

    def __init__(self, contestant: Contestant, running: Running) -> None:
        self.contestant = contestant
        self.running = running
        cases = make_cases(CASES)
        self.requests = http_requests(contestant.protocol, cases, running.tokens)
        job = Job(running.port, self.requests, (), "collect")
        self.expected = tuple(pickle.loads(_client(job, None)))  # noqa: S301 - from our own client
        self.probabilities = probabilities(contestant.protocol, cases, self.expected)

    def apply(self, number: int, kind: str, job: Job, *, pinned: bool) -> Measurement:
        """Load the server once."""
        pid = self.running.server.pid
        pin(pid, [SERVER_CORE] if pinned else [SERVER_CORE, CLIENT_CORE])
        cpu, busy, begin = cpu_seconds(pid), Busy.now(), time.monotonic()
        load = Load(**json.loads(_client(job, CLIENT_CORE if pinned else None)))
        cpu, wall, now = cpu_seconds(pid) - cpu, time.monotonic() - begin, Busy.now()
        return Measurement(
            contestant=self.contestant.name,
            round=number,
            kind=kind,
            pinned=pinned,
            per_second=load.answered / (load.ended - load.started),
            cpu_us=cpu / max(load.answered_in_all, 1) * 1e6,
            client_cpu_us=load.cpu / max(load.answered_in_all, 1) * 1e6,
            foreign_cores=max(0.0, now.used - busy.used - cpu - load.cpu) / wall,
            stolen_cores=(now.stolen - busy.stolen) / wall,
            load=load,
        )

    def saturated(self, plan: Plan) -> Job:
        """Return the job of most requests per second."""
        return Job(
            self.running.port,
            self.requests,
            self.expected,
            "saturate",
            connections=CONNECTIONS,
            seconds=plan.seconds,
            warm_up_seconds=plan.warm_up_seconds,
        )

    def at_rate(self, rate: float, seconds: float, plan: Plan) -> Job:
        """Return the job of a constant rate."""
        return Job(
            self.running.port,
            self.requests,
            self.expected,
            "open",
            connections=CONNECTIONS,
            seconds=seconds,
            rate=rate,
            warm_up_seconds=plan.warm_up_seconds / 2,
        )


def _round(targets: Sequence[_Target], plan: Plan, number: int, *, pinned: bool) -> list[Measurement]:
    found = []
    for target in targets:
        found.append(target.apply(number, "saturated", target.saturated(plan), pinned=pinned))
        if plan.light_seconds:
            job = target.at_rate(plan.light_rate, plan.light_seconds, plan)
            found.append(target.apply(number, "light", job, pinned=pinned))
        if target.contestant.holds and plan.held_seconds:
            job = target.at_rate(plan.held_rate, plan.held_seconds, plan)
            found.append(target.apply(number, "held", job, pinned=pinned))
    return found


def _check_agreement(targets: Sequence[_Target]) -> dict[str, float]:
    """Return the largest difference between contestants of the same model.

    Raises:
        RuntimeError: two of them answer differently.
    """
    differences: dict[str, float] = {}
    for target in targets:
        first = next(one for one in targets if one.contestant.model == target.contestant.model)
        largest = max(abs(a - b) for a, b in zip(first.probabilities, target.probabilities, strict=True))
        differences[target.contestant.name] = largest
        if largest > AGREEMENT:
            raise RuntimeError(f"{target.contestant.name} and {first.contestant.name} differ by {largest}")
    return differences


def logged_lines(running: Running) -> int:
    """Count the log lines that tell of a finished prediction."""
    with running.server.log.open("rb") as lines:
        return sum(b"inference_completed" in line for line in lines)


def _answered(found: Sequence[Measurement], targets: Sequence[_Target], service: str) -> int:
    names = {target.contestant.name for target in targets if target.contestant.service.name == service}
    return sum(item.load.answered_in_all for item in found if item.contestant in names) + CASES * len(names)


def _client(job: Job, core: int | None) -> bytes:
    arguments = [sys.executable, "-m", "benchmarks.client", *([] if core is None else [str(core)])]
    return subprocess.run(arguments, input=pickle.dumps(job), check=True, capture_output=True).stdout


def _line(found: Sequence[Measurement], number: int) -> str:
    parts = [
        f"{item.contestant} {item.per_second:.0f}/s {item.cpu_us:.0f} µs"
        for item in found
        if item.round == number and item.kind == "saturated"
    ]
    return f"round {number + 1}: " + "; ".join(parts)


# the section of docs/benchmarks.md


class _Rounds:
    """The measurements of one load, by contestant and round."""

    def __init__(self, raw: Raw, kind: str, *, pinned: bool) -> None:
        self._found: dict[str, dict[int, Raw]] = {}
        for item in raw["measurements"]:
            if item["kind"] == kind and item["pinned"] == pinned:
                self._found.setdefault(item["contestant"], {})[item["round"]] = item

    @property
    def names(self) -> list[str]:
        return list(self._found)

    def values(self, name: str, key: Callable[[Raw], float]) -> list[float]:
        return [key(item) for item in self._found.get(name, {}).values()]

    def ratios(self, over: str, under: str, key: Callable[[Raw], float]) -> list[float]:
        left, right = self._found.get(over, {}), self._found.get(under, {})
        return [key(left[number]) / key(right[number]) for number in left if number in right and key(right[number])]

    def best(self, over: str, under: str) -> float:
        """Return the ratio of the best rounds: what the neighbours disturbed least."""
        return max(self.values(over, _per_second)) / max(self.values(under, _per_second))

    def errors(self, name: str) -> int:
        return sum(sum(item["load"]["errors"].values()) for item in self._found.get(name, {}).values())


def _per_second(item: Raw) -> float:
    return float(item["per_second"])


def _cpu(item: Raw) -> float:
    return float(item["cpu_us"])


def _p50(item: Raw) -> float:
    return float(item["load"]["p50"]) * 1e3


def _p99(item: Raw) -> float:
    return float(item["load"]["p99"]) * 1e3


def _budget(raw: Raw) -> str:
    rounds = _Rounds(raw, "saturated", pinned=True)
    goals = (
        ("naive FastAPI, scikit-learn", "naive FastAPI, scikit-learn, same duties", 6.0),
        ("naive FastAPI, same bundle", "naive FastAPI, same bundle, same duties", 6.0),
        (services.KSERVE.name, "KServe 0.21, no authentication, no log", 4.0),
        (services.MLSERVER.name, "MLServer 1.7.1, no authentication, no log", 4.0),
    )
    rows = []
    for peer, title, goal in goals:
        if peer in rounds.names:
            cells = [title, f"≥ {goal:g}×"]
            for ours in _OURS:
                speed, best = rounds.ratios(ours, peer, _per_second), rounds.best(ours, peer)
                cpu = [1 / ratio for ratio in rounds.ratios(ours, peer, _cpu)]
                kept = verdict(min(median(speed), best) >= goal)
                cells += [f"{kept} {median(speed):.1f}×; {best:.1f}×", f"{spread(cpu, 1)}×"]
            rows.append(cells)
    head = ("Bedside against", "goal", "req/s, /v1", "CPU, /v1", "req/s, /v2", "CPU, /v2")
    return f"""
## (a) Tabular: `heart_disease`, ten models over HTTP

{table(head, rows)}

Requests per second of Bedside over the peer's: median of the rounds' ratios; then Bedside's best round over the peer's
best round, which neighbours disturb least. ✓ where both keep the goal. CPU: the peer's per request over Bedside's,
median of the rounds (least to most). Bedside authenticates, validates, logs and meters every request; so does the
naive server.

{_held(raw)}
"""


def _held(raw: Raw) -> str:
    rounds = _Rounds(raw, "held", pinned=True)
    plan = raw["plan"]
    rows = []
    for name in rounds.names:
        late = rounds.values(name, lambda item: item["load"]["late_sends"] * 1e3)
        held = rounds.values(name, lambda item: item["load"]["answered"] / max(1, item["load"]["sent"]))
        rows.append(
            [
                name,
                f"{spread([100 * share for share in held], 1)} %",
                f"{rounds.errors(name)}",
                spread(rounds.values(name, _p50), 2),
                f"{verdict(median(rounds.values(name, _p99)) <= 20)} {spread(rounds.values(name, _p99), 2)}",
                spread(rounds.values(name, _cpu), 0),
                spread(late, 2),
            ]
        )
    head = ("", "answered", "errors", "p50 ms", "p99 ms (goal ≤ 20)", "server CPU µs", "client late p99 ms")
    return f"""
**{plan["held_rate"]:.0f} requests a second held**, open loop, latency from the moment at which a request was meant to
leave. "Client late" is how long after that moment requests left although a connection was free: what the neighbours
did to the load client, and part of the latency.

{table(head, rows)}
"""


def _all_contestants(raw: Raw) -> str:
    pinned, free = _Rounds(raw, "saturated", pinned=True), _Rounds(raw, "saturated", pinned=False)
    light = _Rounds(raw, "light", pinned=True)
    memory = {_service(name): value for name, value in raw["pss_mb"].items()}
    rows = [
        [
            name,
            spread(pinned.values(name, _per_second), 0),
            spread(pinned.values(name, _cpu), 0),
            spread(light.values(name, _p50), 2),
            spread(light.values(name, _p99), 2),
            spread(free.values(name, _per_second), 0),
            str(pinned.errors(name) + light.errors(name) + free.errors(name)),
            f"{memory.get(_service(name), float('nan')):.0f}",
        ]
        for name in pinned.names
    ]
    head = ("", "req/s", "server CPU µs", "p50 ms at 200/s", "p99 ms at 200/s", "req/s unpinned", "errors", "PSS MB")
    logged = "; ".join(
        f"{name}: {lines} lines for {raw['answered'][name]} answers" for name, lines in raw["logged_lines"].items()
    )
    return f"""
### All contestants

{table(head, rows)}

Median (least to most) of {raw["plan"]["rounds"]} rounds of {raw["plan"]["seconds"]:g} s after
{raw["plan"]["warm_up_seconds"]:g} s of warm-up, 64 connections; server on core 0, client on core 1, and "unpinned"
both where the scheduler likes ({raw["plan"]["unpinned_rounds"]} rounds). Every answer was compared byte for byte with
the one that belongs to its request. Servers with the same model gave the same probabilities (largest difference
{max(raw["largest_difference"].values()):.0e}). Logged: {logged}.
"""


def _service(name: str) -> str:
    if name.startswith("Bedside"):
        return "Bedside, tokens never remembered" if "never" in name else "Bedside"
    return name.replace(", scikit-learn", "")


_OURS = ("Bedside /v1 predict", "Bedside /v2 infer")


def render(raw: Raw) -> str:
    """Return the section."""
    return _budget(raw) + _all_contestants(raw)


QUICK = Plan(
    rounds=1,
    seconds=0.5,
    warm_up_seconds=0.2,
    light_seconds=0.5,
    held_rate=500.0,
    held_seconds=0.5,
    unpinned_rounds=0,
)


def _run(workspace: Workspace, options: Options) -> dict[str, Any]:
    contestants = [contestant for contestant in CONTESTANTS if options.only in contestant.name]
    if options.quick:
        contestants = [found for found in contestants if found.service is not services.BEDSIDE_UNCACHED]
    for missing in {found.service.name for found in contestants if not found.service.available(workspace)}:
        options.say(f"skipped, not installed: {missing} (benchmarks/peers.sh)")
    plan = QUICK if options.quick else replace(Plan(), rounds=2 * options.rounds)
    return measure(workspace, contestants, plan, options.say)


PART = Part("tabular", _run, render)
