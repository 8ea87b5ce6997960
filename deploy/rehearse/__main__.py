"""Rehearses a delivery on this machine: from one `git push` to authenticated HTTPS answers by the new digest.

The stages are those of the workflows (`deploy/pipeline.sh`). In place of GitHub there is a bare repository, of the
registry an OCI layout, of the cluster two processes of `bedside serve` behind nginx with TLS and weights. Users call
all the while. With --faults, bad bundles are pushed one after the other, and each must be stopped.
"""

import argparse
import os
import random
import re
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import faults
from caller import Caller, record
from faults import BUNDLE
from world import StageFailed, World

from bedside.delivery.processes import free_port
from bedside.errors import ConfigurationError

STAGES = ("push", "detect", "check", "publish", "pin", "deploy", "gate", "promote", "answer")
TABLES = re.compile(r"(<!-- rehearsal:(\w+):begin -->\n).*?(<!-- rehearsal:\2:end -->)", re.DOTALL)


@dataclass
class Delivery:
    """How one push went.

    Attributes:
        seconds: by stage.
        cpu_seconds: of the stage's own commands, by stage: what it would take of one idle core.
        stopped: the stage that said no; empty where the bundle was promoted.
        why: what it said.
        calls: calls of users meanwhile.
        given: how many of them the candidate was given.
        exposed: seconds from the first of these until it was taken out.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    stopped: str = ""
    why: str = ""
    calls: int = 0
    given: int = 0
    exposed: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; what it says no to stops the delivery."""
        begin, worked = time.monotonic(), _cpu_seconds()
        try:
            yield
        except StageFailed as refusal:
            self.stopped, self.why = name, str(refusal)
            raise
        finally:
            self.seconds[name] = time.monotonic() - begin
            self.cpu_seconds[name] = _cpu_seconds() - worked


class Rehearsal:
    """A site that serves one bundle, its users, and deliveries to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._version = 0
        self.caller: Caller

    def __enter__(self) -> Self:
        """Bring the first version up, as every later one will be."""
        try:
            self._bring_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _bring_up(self) -> None:
        world = self.world
        world.build()
        reference = world.stage("publish", BUNDLE, str(world.registry))
        for environment in ("dev", "production"):
            world.stage("pin", environment, str(world.published(BUNDLE, reference)), "hippocampus_mr")
        world.push(world.runner)
        world.stage("rollout", "production", str(world.site), REGISTRY=str(world.registry), PORT=str(free_port()))
        self.token = world.token()
        self.caller = self.user_of(BUNDLE)
        self.caller.start()

    def user_of(self, bundle: str) -> Caller:
        """Return a user of a model."""
        return Caller(self.world.opened_site().url, self.world.site / "certificate.pem", self.token, bundle)

    def __exit__(self, *_: object) -> None:
        """End users, gateway and processes."""
        if hasattr(self, "caller"):
            self.caller.stop()
        with suppress(ConfigurationError):  # there is no site yet
            self.world.opened_site().stop()

    def deliver(
        self, change: faults.Change, bundle: str = BUNDLE, *, tampered: bool = False, killed: bool = False
    ) -> Delivery:
        """Push a bundle that was changed, and go through the stages until one says no."""
        world, delivery = self.world, Delivery()
        self._version += 1
        world.git(world.scientist, "pull", "--quiet", "--rebase", "origin", "HEAD")
        root = world.scientist / "apps" / bundle
        change(root)
        faults.next_version(root, f"1.{self._version}.0")
        commit = world.commit(f"A better {bundle}")
        begin, made = world.access_log_bytes(), self.caller.made
        ended = threading.Event()
        killer = threading.Thread(target=world.kill_the_canary, args=(ended,))
        if killed:
            killer.start()
        try:
            self._stages(delivery, bundle, tampered=tampered)
        except StageFailed:
            self._roll_back(delivery, begin)
            world.take_back(commit)
        finally:
            ended.set()  # the next candidate is not to be killed for this one
        delivery.calls = self.caller.made - made
        return delivery

    def _stages(self, delivery: Delivery, bundle: str, *, tampered: bool) -> None:
        world, registry = self.world, str(self.world.registry)
        with delivery.stage("push"):
            world.push(world.scientist)
        before = world.pull()
        with delivery.stage("detect"):
            if f'"deliver": ["{bundle}"]' not in world.stage("detect", before, "HEAD"):
                raise StageFailed(f"{bundle} is not all that changed, or did not change")
        with delivery.stage("check"):
            world.stage("check", bundle)
        with delivery.stage("publish"):
            reference = world.stage("publish", bundle, registry)
        if tampered:
            faults.tamper(world.runner / "apps" / bundle)
            reference = world.stage("publish", bundle, registry, SIGNING_KEY="")
        with delivery.stage("pin"):
            world.stage("pin", "dev", str(world.published(bundle, reference)))
            world.push(world.runner)
        with delivery.stage("deploy"):
            world.stage("rollout", "dev", str(world.site), REGISTRY=registry)
        with delivery.stage("gate"):
            world.stage("gate", bundle, str(world.site), BEDSIDE_TOKEN=self.token, REPORTS=str(world.reports))
        with delivery.stage("promote"):
            world.stage("promote", "dev", "production", bundle, SITE=str(world.site))
            world.push(world.runner)
        with delivery.stage("answer"):
            user = self.user_of(bundle)
            user.call(record(random.Random(1)))  # noqa: S311 - not for secrets
            if world.verdict()["digest"] not in user.answered:
                raise StageFailed(f"no answer by the new digest: {dict(user.lost)}")

    def _roll_back(self, delivery: Delivery, begin: int) -> None:
        """Note what the candidate was given of the traffic, and run what ran before."""
        world = self.world
        if delivery.stopped == "gate":
            stages = world.verdict()["stages"]
            delivery.why = f"{stages[-1]['name']}: {_reason(stages[-1])}"
            delivery.exposed = sum(stage["seconds"] for stage in stages if stage["name"].startswith("weight"))
            delivery.given = world.calls_of_the_canary(begin)
        if delivery.stopped in {"deploy", "gate"}:
            with delivery.stage("rollback"):
                world.stage("rollback", "dev", SITE=str(world.site))
                world.push(world.runner)


def _reason(stage: dict[str, Any]) -> str:
    rejected = [
        f"{finding['rule']}: {finding['hits']} of {finding['requests']}"
        for finding in stage["findings"]
        if finding["decision"] == "reject"
    ]
    return "; ".join(rejected or stage["remarks"])


def _cpu_seconds() -> float:
    used = os.times()
    return used.children_user + used.children_system


def _when() -> str:
    load, cores = os.getloadavg()[2], os.cpu_count()
    return f"Measured on {datetime.now(UTC):%d %B %Y}, {cores} cores, load average {load:.0f} over the last 15 minutes."


def stage_table(deliveries: dict[str, Delivery]) -> str:
    """Return the seconds of each stage, and of the CPU that its own commands took."""
    heads = "".join(f" {name} | CPU |" for name in deliveries)
    lines = [f"| seconds |{heads}", f"|---|{'---:|' * 2 * len(deliveries)}"]
    spent = [(one.seconds, one.cpu_seconds) for one in deliveries.values()]
    lines += [_row(name, [(seconds.get(name, 0.0), cpu.get(name, 0.0)) for seconds, cpu in spent]) for name in STAGES]
    total = [(sum(seconds.values()), sum(cpu.values())) for seconds, cpu in spent]
    return "\n".join([*lines, _row("**from push to answer**", total)])


def _row(name: str, spent: Sequence[tuple[float, float]]) -> str:
    return f"| {name} |{''.join(f' {seconds:.1f} | {cpu:.1f} |' for seconds, cpu in spent)}"


def fault_table(deliveries: dict[str, Delivery]) -> str:
    """Return what became of each bad bundle."""
    lines = [
        "| fault | stopped by | because | calls it was given | taken out after | whole delivery |",
        "|---|---|---|---:|---:|---:|",
    ]
    for name, one in deliveries.items():
        after = f"{one.exposed:.1f} s" if one.exposed else "never in"
        why = textwrap.shorten(one.why.replace("|", "\\|"), 160, placeholder=" …")
        seconds = sum(one.seconds.values())
        given = f"{one.given} of {one.calls}"
        lines.append(f"| {name} | {one.stopped or '**nothing**'} | {why} | {given} | {after} | {seconds:.0f} s |")
    return "\n".join(lines)


def _write(path: Path, tables: dict[str, str]) -> None:
    """Put tables between their marks in a document."""
    text = TABLES.sub(
        lambda found: f"{found[1]}{tables[found[2]]}\n{found[3]}" if found[2] in tables else found[0],
        path.read_text(encoding="utf-8"),
    )
    path.write_text(text, encoding="utf-8")


def main() -> int:
    """Rehearse; returns 0 where the good bundle was promoted, every bad one stopped, and no call lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", action="store_true", help="push bad bundles too")
    parser.add_argument("--write", type=Path, help="document that gets the tables")
    options = parser.parse_args()
    tables: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="bedside-rehearsal-") as folder,
        Rehearsal(World(Path(folder))) as rehearsal,
    ):
        bad: dict[str, Delivery] = {}
        for name, change in faults.FAULTS.items() if options.faults else ():
            bad[name] = rehearsal.deliver(change, tampered=name == faults.TAMPERED, killed=name == faults.KILLED)
            print(f"{name}: stopped by {bad[name].stopped or 'nothing'}: {bad[name].why}", flush=True)
        good = rehearsal.deliver(faults.good)
        verdict = (rehearsal.world.reports / "verdict.md").read_text()
        first = rehearsal.deliver(faults.new, "cardiac_risk")
        caller = rehearsal.caller
        tables["stages"] = stage_table({"a new version": good, "a new bundle": first})
        if bad:
            tables["faults"] = fault_table(bad)
        tables["calls"] = (
            f"Users made {caller.made:,} calls meanwhile; {caller.lost.total()} of them were lost. {_when()}"
        )
    print("\n\n".join([*tables.values(), verdict]))
    if caller.lost:
        print(f"lost: {dict(caller.lost)}", file=sys.stderr)
    refused = [one for one in (good, first) if one.stopped]
    for one in refused:
        print(f"stopped by {one.stopped}: {one.why}", file=sys.stderr)
    if options.write:
        _write(options.write, tables)
    return int(bool(refused or caller.lost or any(not one.stopped for one in bad.values())))


if __name__ == "__main__":
    sys.exit(main())
