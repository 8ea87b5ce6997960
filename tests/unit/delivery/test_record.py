"""What is told of deliveries, by a repository with a history."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.emitted import check_lines

from bedside.delivery.pins import Pins, read_pins, write_pins
from bedside.delivery.record import deliveries, record_verdict, recorded
from bedside.delivery.sequential import Rule
from bedside.delivery.verdict import Stage, Tally, Verdict
from bedside.errors import ConfigurationError
from bedside.observability.logging import configure
from bedside.settings import load_settings

IMAGE = f"ghcr.io/bedside/bedside@sha256:{'0' * 64}"
HOUR = 3600


def reference(number: int) -> str:
    """Return what pins the n-th version of a bundle."""
    return f"ghcr.io/bedside/bundles/ct@sha256:{number:064x}"


class Repository:
    """A repository with a bundle ``ct`` and environments, whose commits are as old as is said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environments = root / "deploy" / "k8s" / "environments"
        self.now = int(time.time())
        self._git("init", "--quiet")

    def _git(self, *arguments: str, hours: float = 0) -> str:
        moment = f"{self.now - int(hours * HOUR)} +0000"
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        variables = {"GIT_COMMITTER_DATE": moment, "GIT_AUTHOR_DATE": moment, "PATH": "/usr/bin:/bin:/usr/local/bin"}
        command = ["git", "-C", str(self.root), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout.strip()

    def train(self, text: str, hours: float) -> str:
        """Commit another version of the bundle, so many hours ago; return the commit."""
        bundle = self.root / "apps" / "ct"
        bundle.mkdir(parents=True, exist_ok=True)
        (bundle / "weights").write_text(text)
        return self.commit(hours)

    def pin(self, environment: str, number: int, hours: float) -> None:
        """Commit what an environment runs."""
        write_pins(self.environments / environment, Pins(IMAGE, {"ct": reference(number)}))
        self.commit(hours)

    def commit(self, hours: float) -> str:
        """Commit all there is."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", "a", hours=hours)
        return self._git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository whose bundle was committed 10 hours ago, and is in dev since 9 and in production since 8."""
    made = Repository(tmp_path)
    made.train("first", hours=10)
    made.pin("dev", 1, hours=9)
    made.pin("production", 1, hours=8)
    return made


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Return what ends the log and returns its lines, each held against the schema."""
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as stream:
        log = configure(load_settings(), stream=stream)

        def lines() -> list[dict[str, Any]]:
            log.close()
            check_lines(path.read_bytes())
            return [json.loads(line) for line in path.read_text().splitlines()]

        yield lines
        log.close()


def finish(repository: Repository, before: int, after: int, **how: Any) -> dict[str, Any]:
    """Deliver to production, and return what is told."""
    environment = repository.environments / "production"
    changes = deliveries(environment, "k3s", {"ct": reference(before)}, {"ct": reference(after)}, **how)
    return next(change.told(None, 1.0) for change in changes)


def test_lead_time_is_from_the_commit_of_the_bundle(repository: Repository) -> None:
    """Neither from the commit that pins it, nor from one that was made after it was published."""
    commit = repository.train("second", hours=5)
    repository.pin("dev", 2, hours=4)
    repository.train("third, which nobody has delivered yet", hours=3)
    repository.pin("production", 2, hours=2)
    told = finish(repository, 1, 2)
    assert (told["operation"], told["delivery_commit"]) == ("deploy", commit)
    assert told["delivery_lead_seconds"] == pytest.approx(5 * HOUR, abs=60)
    assert told["delivery_artifact"] == f"sha256:{2:064x}"
    assert "delivery_restored_seconds" not in told
    assert told["delivery_change_failed"] == 0


def test_going_back_is_seen_by_the_history(repository: Repository) -> None:
    """What was in, out, and is in again is a roll-back: how long the bad one was there is told, and no lead time."""
    repository.train("second", hours=5)
    repository.pin("production", 2, hours=3)
    repository.pin("production", 1, hours=0)
    told = finish(repository, 2, 1)
    assert told["operation"] == "rollback"
    assert told["delivery_restored_seconds"] == pytest.approx(3 * HOUR, abs=60)
    assert told["delivery_change_failed"] == 1
    assert "delivery_lead_seconds" not in told


def test_going_back_before_it_is_pinned_is_told_alike(repository: Repository) -> None:
    """On one machine the pins are written when it runs again."""
    repository.pin("production", 2, hours=3)
    told = finish(repository, 2, 1, operation="rollback")
    assert told["delivery_restored_seconds"] == pytest.approx(3 * HOUR, abs=60)


def test_what_stays_is_no_delivery(repository: Repository) -> None:
    """However often it is rolled out; and what git does not know has no commit."""
    environment = repository.environments / "production"
    pins = read_pins(environment).bundles
    assert deliveries(environment, "k3s", pins, pins) == []
    (unknown,) = deliveries(repository.root, "local", {}, {"mr": reference(3)})
    assert (unknown.commit, unknown.committed, unknown.operation) == ("", None, "deploy")
    assert "delivery_commit" not in unknown.told(None, 1.0)


@pytest.mark.parametrize("fails", [False, True])
def test_each_bundle_is_told_once_however_it_ends(
    repository: Repository, told: Callable[[], list[dict[str, Any]]], *, fails: bool
) -> None:
    """The error is named by its class, and goes on its way."""
    changes = deliveries(repository.environments / "production", "local", {}, {"ct": reference(1), "mr": reference(2)})
    with pytest.raises(ConfigurationError) if fails else nullcontext(), recorded(changes):
        Pins(IMAGE, {"ct": "DOE^JOHN"} if fails else {})
    lines = told()
    assert [line["inference"]["bundle"]["name"] for line in lines] == ["ct", "mr"]
    assert {line["message"] for line in lines} == {"delivery_ended"}
    assert {line["event"]["outcome"] for line in lines} == {"failure" if fails else "success"}
    assert {line["inference"]["delivery"]["change_failed"] for line in lines} == {int(fails)}
    assert ("lead_seconds" in lines[0]["inference"]["delivery"]) is not fails
    assert lines[0].get("error") == ({"type": "ConfigurationError"} if fails else None)
    assert "DOE" not in json.dumps(lines)


def test_a_verdict_is_told_by_its_parts(told: Callable[[], list[dict[str, Any]]]) -> None:
    """What part of the requests was answered differently; a question that nobody asked has none."""
    rules = [Rule("failures", 0.01, 0.05), Rule("disagreements", 0.05, 0.2)]
    tally = Tally(rules)
    for number in range(10):
        tally.add(rules[1], hit=number == 0)
    record_verdict(Verdict("ct", "1.0", f"sha256:{5:064x}", (Stage("shadow", "undecided", 2.0, tally.findings()),)))
    (line,) = told()
    assert line["inference"]["gate"] == {"decision": "hold", "disagreed": 0.1}
    assert line["log.level"] == "warning"
