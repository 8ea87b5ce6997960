"""The gate: whether a candidate gets the traffic. Golden cases first, then the shadow, then weights.

1. **golden**: the candidate answers the bundle's golden cases over the network, by the digest that is to be delivered.
2. **shadow**: it is asked a copy of requests that the stable version answers; nobody gets its answers. Requests are
   what a gateway mirrors, or the golden inputs again and again.
3. **weights**: it answers a growing part of the real requests, and is taken out at the first doubt, or at the end.

Each stage begins with no evidence, so that what was good before does not outweigh what is bad now.
"""

import asyncio
import hashlib
import statistics
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter
from typing import Protocol

import httpx

from bedside.bundle.folder import BundleFolder
from bedside.bundle.golden import GoldenCase, PackageMissing, read_golden
from bedside.delivery.calls import Call, Reply, agree, ask, call_of
from bedside.delivery.mirror import listening
from bedside.delivery.sequential import Rule
from bedside.delivery.verdict import Outcome, Stage, Tally, Verdict
from bedside.errors import ConfigurationError

LOOK_SECONDS = 0.25
LET_IN_SECONDS = 1.0
"""Longest time that production may take to tell whether it lets a caller in."""
NOT_THERE_YET = frozenset({0, 404, 502, 503, 504})
"""What a server, or the gateway before it, answers while a roll-out pulls and starts; 0: nothing."""
CLOCK_SECONDS = 0.001
"""What gateways round their times to."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a gate asks for.

    Attributes:
        failures: requests that the candidate did not answer and the stable version did.
        disagreements: requests that the two answered differently (``calls.agree``).
        slower: requests that took the candidate longer than ``slower_than`` times as long.
        tolerance: difference between two numbers of an answer that is none.
        slower_than: see ``slower``.
        arrival_seconds: longest time until the candidate runs what is to be delivered; 0: it must by now.
        pause_seconds: pause after a golden input that the stable version did not answer, or that came before the
            candidate ran what is to be delivered.
        seconds: longest time of the shadow; undecided after that, the candidate is held.
        steps: percents of the traffic, one after the other.
        step_requests: requests that the candidate answers at each step, at least; at the last, as many as it takes for
            both questions to accept.
        step_seconds: time after which a step ends with fewer: where nobody calls, nothing speaks against it.
        mirror_bytes: bytes of copies held in memory at one time; what comes meanwhile is not looked at.
    """

    failures: Rule = field(default_factory=lambda: Rule("failures", 0.01, 0.05))
    disagreements: Rule = field(default_factory=lambda: Rule("disagreements", 0.05, 0.20))
    # A busy machine is slow for many requests in a row, which are then one witness and not many.
    slower: Rule = field(default_factory=lambda: Rule("slower", 0.25, 0.50, once=True))
    tolerance: float = 0.1
    slower_than: float = 1.5
    arrival_seconds: float = 0.0
    pause_seconds: float = 1.0
    seconds: float = 300.0
    steps: Sequence[int] = (5, 25, 50)
    step_requests: int = 20
    step_seconds: float = 60.0
    mirror_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Live:
    """One request of a user, as the gateway saw it.

    Attributes:
        candidate: whether the candidate was asked.
        ok: whether it answered without a failure of ours (5xx, or nothing at all).
        seconds: how long it took.
    """

    candidate: bool
    ok: bool
    seconds: float


class Traffic(Protocol):
    """A gateway whose weights can be set."""

    def weigh(self, percent: int) -> None:
        """Give the candidate so many percent of the traffic; 0 takes it out."""
        ...

    def live(self) -> Sequence[Live]:
        """Return the requests that have ended since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Gate:
    """One decision.

    Attributes:
        bundle: what is to be delivered.
        candidate: the server that runs it.
        stable: the server whose place it shall take; None where there is none.
        token: bearer token for the golden cases.
        limits: what is asked for.
        mirror: ``HOST:PORT`` where a gateway sends copies; empty: golden inputs are asked again and again.
        traffic: the gateway, where its weights are ours to set.
    """

    bundle: BundleFolder
    candidate: httpx.AsyncClient
    stable: httpx.AsyncClient | None
    token: str
    limits: Limits = field(default_factory=Limits)
    mirror: str = ""
    traffic: Traffic | None = None

    async def decide(self, announce: Callable[[str], None] = lambda _line: None) -> Verdict:
        """Go through the stages until one does not pass.

        Raises:
            ConfigurationError: nothing can listen where the mirror shall be, or the stable server does not answer or
                refuses the token.
            InvalidBundle: the golden cases cannot be read.
        """
        stages: list[Stage] = []
        async with aclosing(self._stages()) as running:
            async for stage in running:
                stages.append(stage)
                announce(f"{stage.name}: {stage.outcome} ({stage.seconds:.1f} s)")
                if stage.outcome in {"failed", "undecided"}:
                    break
        version, digest = self.bundle.metadata.version, self.bundle.digest
        return Verdict(self.bundle.name, version, digest, tuple(stages))

    async def _stages(self) -> AsyncGenerator[Stage]:
        cases = await asyncio.to_thread(read_golden, self.bundle.root)
        calls = [call for case in cases for call in self._call(case)]
        yield await self._golden(cases)
        first = self.stable is None or not await self._known(self.stable)
        yield await self._shadow(calls, first=first)
        if self.traffic is not None and not first:
            try:
                for percent in self.limits.steps:
                    yield await self._step(self.traffic, percent)
            finally:  # passed, in doubt or interrupted: promoting is for whoever reads the verdict
                self.traffic.weigh(0)

    def _call(self, case: GoldenCase) -> list[Call]:
        with suppress(PackageMissing):
            return [call_of(case, self.bundle.name, self.token)]
        return []

    async def _known(self, server: httpx.AsyncClient) -> bool:
        headers = {"authorization": f"Bearer {self.token}"}
        try:
            response = await server.get(f"/v1/models/{self.bundle.name}", headers=headers)
        except httpx.HTTPError:
            raise ConfigurationError("the stable server does not answer", field="stable") from None
        if response.status_code == httpx.codes.NOT_FOUND:
            return False
        _refuse_token(response.status_code)
        if response.is_error:
            raise ConfigurationError(f"the stable server answers {response.status_code}", field="stable")
        return True

    async def _lets_in(self, authorization: str) -> bool:
        if self.stable is None:
            return False
        headers = {"authorization": authorization}
        with suppress(httpx.HTTPError):
            path = f"/v1/models/{self.bundle.name}"
            return (await self.stable.get(path, headers=headers, timeout=LET_IN_SECONDS)).is_success
        return False

    async def _golden(self, cases: Sequence[GoldenCase]) -> Stage:
        """(1) Every case is answered as it must be, by the right digest."""
        begin, wrong, asked = perf_counter(), [], 0
        deadline = begin + self.limits.arrival_seconds
        for case in cases:
            for call in self._call(case) if case.expected else ():  # else any answer would be as it must be
                asked += 1
                reply = await self._arrived(call, deadline)
                if not reply.ok:
                    wrong.append(f"{case.name}: {reply.status or 'no answer'}")
                elif reply.digest != self.bundle.digest:
                    wrong.append(f"{case.name}: answered by {reply.digest or 'nobody knows what'}")
                else:
                    wrong += [f"{case.name}: {text}" for text in case.answered(reply.media_type, reply.body)]
        told = wrong or [f"{asked} of {len(cases)} cases asked and answered as they must be"]
        outcome: Outcome = "failed" if wrong else "passed" if asked else "skipped"
        return Stage("golden", outcome, perf_counter() - begin, (), tuple(told))

    async def _arrived(self, call: Call, deadline: float) -> Reply:
        """Ask until it is answered by what is to be delivered; whoever pulls it by himself (Flux) tells nobody when."""
        while True:
            reply = await ask(self.candidate, call)
            other = reply.ok and reply.digest != self.bundle.digest
            if not (other or reply.status in NOT_THERE_YET) or perf_counter() >= deadline:
                return reply
            await asyncio.sleep(self.limits.pause_seconds)

    async def _shadow(self, calls: Sequence[Call], *, first: bool) -> Stage:
        """(2) Both are asked the same; the candidate alone where there is nothing to compare with."""
        begin, limits = perf_counter(), self.limits
        rules = [limits.failures] if first else [limits.failures, limits.slower, limits.disagreements]
        # Golden inputs are few: what they can say of agreement, the golden cases have said.
        needed = rules if self.mirror else [rule for rule in rules if rule is not limits.disagreements]
        comparison = _Comparison(self, Tally(rules), first=first)
        remarks = ["the first version: nothing to compare with"] if first else []
        async with AsyncExitStack() as stack:
            if self.mirror and not first:
                copies = listening(self.mirror, self.bundle.name, limits.mirror_bytes, self._lets_in)
                source = (await stack.enter_async_context(copies)).calls()
            else:
                source = _again(calls)
                remarks.append("golden inputs, again and again")
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.seconds):
                    await comparison.watch(source, needed)
        tally = comparison.tally
        outcome: Outcome = "failed" if tally.rejected() else "passed" if tally.accepted(needed) else "undecided"
        return Stage("shadow", outcome, perf_counter() - begin, tally.findings(), tuple(remarks))

    async def _step(self, traffic: Traffic, percent: int) -> Stage:
        """(3) So many percent of the users' requests; ``_stages`` takes them back."""
        begin = perf_counter()
        traffic.weigh(percent)  # in no thread, which would go on after an interrupt
        step = _Step(self.limits, last=percent == self.limits.steps[-1])
        doubt = ""
        while not doubt and not step.enough(perf_counter() - begin):
            await asyncio.sleep(LOOK_SECONDS)
            step.look(await asyncio.to_thread(traffic.live))
            doubt = "a rule rejects" if step.tally.rejected() else await self._unready()
        remarks = (f"taken out: {doubt}",) if doubt else ()
        outcome: Outcome = "failed" if doubt else "passed"
        return Stage(f"weight {percent} %", outcome, perf_counter() - begin, step.tally.findings(), remarks)

    async def _unready(self) -> str:
        with suppress(httpx.HTTPError):
            if (await self.candidate.get("/readyz")).is_success:
                return ""
        return "it is not ready any more"


class _Comparison:
    """The shadow's evidence, as it grows."""

    def __init__(self, gate: Gate, tally: Tally, *, first: bool) -> None:
        self._gate = gate
        self._first = first
        self._seen: set[bytes] = set()
        self.tally = tally

    async def watch(self, calls: AsyncIterator[Call], needed: Sequence[Rule]) -> None:
        """Ask call after call until the rules have seen enough."""
        async for call in calls:
            await self._one(call)
            if self.tally.rejected() or self.tally.accepted(needed):
                return

    async def _one(self, call: Call) -> None:
        limits, stable = self._gate.limits, self._gate.stable
        if self._first or stable is None:
            self.tally.add(limits.failures, not (await ask(self._gate.candidate, call)).ok)
            return
        # One after the other: two at one time would slow each other down on a small machine.
        old, new = await ask(stable, call), await ask(self._gate.candidate, call)
        if not old.ok:  # a caller's mistake, or trouble of both: it says nothing about the candidate
            if not self._gate.mirror:  # the question is ours
                _refuse_token(old.status)
                await asyncio.sleep(limits.pause_seconds)
            return
        self.tally.add(limits.failures, not new.ok)
        if new.ok:
            self.tally.add(limits.slower, new.seconds > limits.slower_than * old.seconds)
            key = hashlib.sha256(call.body).digest()
            if key not in self._seen:  # the same question twice is one opinion
                self._seen.add(key)
                same = await asyncio.to_thread(agree, old, new, limits.tolerance)
                self.tally.add(limits.disagreements, not same)


class _Step:
    """The evidence at one weight."""

    def __init__(self, limits: Limits, *, last: bool) -> None:
        self._limits = limits
        self._stable: list[float] = []
        self._asked = 0
        self._rules = [limits.failures, limits.slower]
        self._needed = self._rules if last else []
        self.tally = Tally(self._rules)

    def look(self, requests: Sequence[Live]) -> None:
        """Take in what has ended."""
        self._stable += [request.seconds for request in requests if not request.candidate and request.ok]
        slow = self._limits.slower_than * statistics.median(self._stable) + CLOCK_SECONDS if self._stable else None
        for request in requests:
            if request.candidate:
                self._asked += 1
                self.tally.add(self._limits.failures, not request.ok)
                if slow is not None and request.ok:
                    self.tally.add(self._limits.slower, request.seconds > slow)

    def enough(self, seconds: float) -> bool:
        """Tell whether the next step may follow."""
        seen = self._asked >= self._limits.step_requests and self.tally.accepted(self._needed)
        return seen or seconds >= self._limits.step_seconds


def _refuse_token(status: int) -> None:
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise ConfigurationError(f"the stable server refuses the token ({status})", field="token")


async def _again(calls: Sequence[Call]) -> AsyncIterator[Call]:
    for call in cycle(calls):
        yield call
