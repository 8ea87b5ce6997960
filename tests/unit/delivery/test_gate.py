"""What the gate makes of candidates that are good, wrong, slow, silent or new."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.delivery.gate import Gate, Limits, Live
from bedside.delivery.verdict import Verdict
from bedside.errors import ConfigurationError

LIMITS = Limits(seconds=60.0, step_seconds=60.0, pause_seconds=0.0)
ANSWER = {"prediction": "no", "probabilities": {"no": 0.9, "yes": 0.1}, "version": "1"}


@dataclass
class Clock:
    """Goes on by what a server takes, so that two that take the same do so on a busy machine, too."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


CLOCK = Clock()
LEAST_SECONDS = 0.01


@pytest.fixture(autouse=True)
def _calls_are_timed_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedside.delivery.calls.perf_counter", CLOCK)


@pytest.fixture
def bundle(bundles: Path) -> BundleFolder:
    """Return a bundle with one golden case, which its digest covers."""
    return open_bundle(bundles / "record_classification")


@dataclass
class Server:
    """A server whose answers the test chooses.

    Attributes:
        digest: what it says that it runs.
        answer: what it answers.
        statuses: by number of the call; 200 after the last.
        missing: it has no such model.
        ready: what ``/readyz`` says.
        seconds: what each call takes; ``LEAST_SECONDS`` at least, to whoever measures.
    """

    digest: str
    answer: Any = field(default_factory=lambda: dict(ANSWER))
    statuses: Sequence[int] = ()
    missing: bool = False
    ready: bool = True
    seconds: float = 0.0
    calls: int = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        if request.url.path == "/readyz":
            return httpx.Response(200 if self.ready else 503)
        if self.missing:
            return httpx.Response(404)
        if request.method == "GET":
            return httpx.Response(200, json={})
        await asyncio.sleep(self.seconds)
        CLOCK.now += max(self.seconds, LEAST_SECONDS)
        self.calls += 1
        status = self.statuses[self.calls - 1] if self.calls <= len(self.statuses) else 200
        return httpx.Response(status, json=self.answer, headers={"bedside-model-digest": self.digest})

    def client(self) -> httpx.AsyncClient:
        """Return a client of it."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self), base_url="http://server")


@dataclass
class Gateway:
    """A gateway whose users the test chooses: for each weight, what a look at them shows."""

    live_by_weight: dict[int, list[Live]]
    weights: list[int] = field(default_factory=list)

    def weigh(self, percent: int) -> None:
        """Note the weight."""
        self.weights.append(percent)

    def live(self) -> list[Live]:
        """Return what users got."""
        return self.live_by_weight.get(self.weights[-1], [])


GOOD = [Live(candidate, ok=True, seconds=0.01) for candidate in (True, False) for _ in range(20)]


@pytest.fixture
def golden(bundle: BundleFolder, tmp_path: Path) -> BundleFolder:
    """Return a bundle with one golden case that the servers' answer meets."""
    root = tmp_path / bundle.name
    (root / "golden").mkdir(parents=True)
    expected = {"pred": {"probabilities": {"no": 0.9}, "tolerance": 0.01}}
    case = {"name": "only", "inputs": {"features": {"age": 1}}, "expected": expected}
    (root / "golden" / "cases.json").write_text(json.dumps([case]))
    return replace(bundle, root=root)


def decide(gate: Gate) -> Verdict:
    """Run the gate."""
    return asyncio.run(gate.decide())


def outcomes(verdict: Verdict) -> list[str]:
    """Return what came of each stage."""
    return [f"{stage.name}: {stage.outcome}" for stage in verdict.stages]


def test_a_good_candidate_goes_all_the_way(golden: BundleFolder) -> None:
    """Golden cases, shadow, then each weight in turn, and back: nobody has promoted it yet."""
    server, gateway = Server(golden.digest), Gateway(dict.fromkeys((5, 25, 50), GOOD))
    verdict = decide(Gate(golden, server.client(), server.client(), "t", LIMITS, traffic=gateway))
    assert verdict.decision == "promote"
    assert outcomes(verdict)[:2] == ["golden: passed", "shadow: passed"]
    assert gateway.weights == [5, 25, 50, 0]


def test_a_wrong_golden_answer_ends_it(golden: BundleFolder) -> None:
    """Before anything is compared; the verdict names case and difference."""
    wrong = Server(golden.digest, {"probabilities": {"no": 0.2, "yes": 0.8}})
    gateway = Gateway({})
    verdict = decide(Gate(golden, wrong.client(), Server("old").client(), "t", LIMITS, traffic=gateway))
    assert outcomes(verdict) == ["golden: failed"]
    assert "only: pred: probability of no is 0.2000" in verdict.to_markdown()
    assert gateway.weights == []


@pytest.mark.parametrize("answer", [[], {"probabilities": {"no": "a"}}, {"outputs": {}}, 1])
def test_an_answer_without_probabilities_is_wrong(golden: BundleFolder, answer: Any) -> None:
    """Whatever it holds instead."""
    verdict = decide(Gate(golden, Server(golden.digest, answer).client(), None, "t", LIMITS))
    assert "the answer holds no mask and no probabilities" in verdict.stages[0].remarks[0]


def test_another_digest_is_not_what_shall_be_delivered(golden: BundleFolder) -> None:
    """A server that has not taken the new one yet answers as well as ever."""
    verdict = decide(Gate(golden, Server("sha256:other").client(), None, "t", LIMITS))
    assert verdict.decision == "rollback"
    assert "answered by sha256:other" in verdict.stages[0].remarks[0]


@dataclass
class Pulling(Server):
    """A server that a roll-out reaches while it is asked.

    Attributes:
        before: status and digest of its first answers, which are not yet those of what is to be delivered, and take a
            second each.
    """

    before: Sequence[tuple[int, str]] = ()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as before, as often as that is; then by the new digest."""
        if self.calls < len(self.before):
            status, digest = self.before[self.calls]
            self.calls += 1
            CLOCK.now += 1.0
            return httpx.Response(status, json=ANSWER, headers={"bedside-model-digest": digest})
        return await super().__call__(request)


NOT_YET = [(200, "sha256:old"), (404, ""), (503, ""), (502, "")]


def test_a_slow_pull_is_waited_for(golden: BundleFolder) -> None:
    """What runs there before it, or nothing, is no answer of the candidate's."""
    candidate = Pulling(golden.digest, before=NOT_YET)
    limits = replace(LIMITS, arrival_seconds=60.0)
    verdict = decide(Gate(golden, candidate.client(), None, "t", limits))
    assert outcomes(verdict) == ["golden: passed", "shadow: passed"]


@pytest.mark.parametrize(("status", "digest"), NOT_YET)
def test_what_never_comes_is_not_delivered(
    golden: BundleFolder, monkeypatch: pytest.MonkeyPatch, status: int, digest: str
) -> None:
    """After the time for it the last answer counts."""
    monkeypatch.setattr("bedside.delivery.gate.perf_counter", CLOCK)
    candidate = Pulling(golden.digest, before=[(status, digest)] * 100)
    verdict = decide(Gate(golden, candidate.client(), None, "t", replace(LIMITS, arrival_seconds=2.5)))
    assert verdict.decision == "rollback"
    assert candidate.calls == 3


@pytest.mark.parametrize("status", [400, 401, 422, 500])
def test_a_refusal_is_waited_for_by_nobody(golden: BundleFolder, status: int) -> None:
    """A roll-out in progress is not what says so."""
    candidate = Server(golden.digest, statuses=[status] * 999)
    verdict = decide(Gate(golden, candidate.client(), None, "t", replace(LIMITS, arrival_seconds=3600.0)))
    assert outcomes(verdict) == ["golden: failed"]
    assert candidate.calls == 1


def test_a_candidate_that_fails_each_call_is_never_promoted(golden: BundleFolder) -> None:
    """Its golden cases already say so."""
    verdict = decide(Gate(golden, Server(golden.digest, statuses=[500] * 999).client(), None, "t", LIMITS))
    assert verdict.decision == "rollback"


def test_failures_where_the_stable_version_answers_end_it(golden: BundleFolder) -> None:
    """Two in a row are enough."""
    candidate = Server(golden.digest, statuses=[200, 500, 503])
    verdict = decide(Gate(golden, candidate.client(), Server("old").client(), "t", LIMITS))
    assert outcomes(verdict) == ["golden: passed", "shadow: failed"]
    assert candidate.calls == 3


def test_failures_of_both_say_nothing(golden: BundleFolder) -> None:
    """An issuer that is away is not the candidate's fault."""
    candidate = Server(golden.digest, statuses=[200, *[503] * 50])
    stable = Server("old", statuses=[503] * 50)
    verdict = decide(Gate(golden, candidate.client(), stable.client(), "t", LIMITS))
    assert outcomes(verdict) == ["golden: passed", "shadow: passed"]


def test_twice_as_slow_is_too_slow(golden: BundleFolder) -> None:
    """By the same requests, one after the other."""
    candidate, stable = Server(golden.digest, seconds=0.02), Server("old", seconds=0.0)
    verdict = decide(Gate(golden, candidate.client(), stable.client(), "t", LIMITS))
    assert outcomes(verdict)[1] == "shadow: failed"
    (slower,) = [finding for finding in verdict.stages[1].findings if finding.decision == "reject"]
    assert slower.rule.name == "slower"


def test_too_little_seen_is_held(golden: BundleFolder) -> None:
    """Neither promoted nor rolled back; no traffic."""
    gateway = Gateway({})
    limits = replace(LIMITS, seconds=0.1)
    slow = Server(golden.digest, seconds=0.04)
    verdict = decide(Gate(golden, slow.client(), slow.client(), "t", limits, traffic=gateway))
    assert verdict.decision == "hold"
    assert gateway.weights == []


def test_a_first_version_is_asked_alone(golden: BundleFolder) -> None:
    """There is nothing to compare with, and weights would send callers to where the model is not."""
    candidate, stable, gateway = Server(golden.digest), Server("", missing=True), Gateway({})
    verdict = decide(Gate(golden, candidate.client(), stable.client(), "t", LIMITS, traffic=gateway))
    assert verdict.decision == "promote"
    assert [finding.rule.name for finding in verdict.stages[1].findings] == ["failures"]
    assert gateway.weights == []


def test_a_stable_server_that_is_away_is_told(golden: BundleFolder) -> None:
    """It is not a first version for that."""

    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    away = httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://server")
    with pytest.raises(ConfigurationError, match="does not answer"):
        decide(Gate(golden, Server(golden.digest).client(), away, "t", LIMITS))


def test_without_golden_cases_and_callers_nothing_is_known(bundle: BundleFolder, tmp_path: Path) -> None:
    """Held, and the verdict says that no case was asked."""
    verdict = decide(Gate(replace(bundle, root=tmp_path), Server(bundle.digest).client(), None, "t", LIMITS))
    assert outcomes(verdict) == ["golden: skipped", "shadow: undecided"]
    assert verdict.decision == "hold"


@pytest.mark.parametrize(
    ("users", "why"),
    [
        ([Live(candidate=True, ok=False, seconds=0.01)] * 2, "failures"),
        ([*GOOD[20:], *[Live(candidate=True, ok=True, seconds=0.02)] * 12], "slower"),
    ],
)
def test_the_first_doubt_takes_it_out(golden: BundleFolder, users: list[Live], why: str) -> None:
    """The weight goes back to nothing within the gate itself."""
    server, gateway = Server(golden.digest), Gateway({5: users})
    verdict = decide(Gate(golden, server.client(), server.client(), "t", LIMITS, traffic=gateway))
    assert verdict.decision == "rollback"
    assert gateway.weights == [5, 0]
    (finding,) = [finding for finding in verdict.stages[-1].findings if finding.decision == "reject"]
    assert finding.rule.name == why


def test_one_that_is_not_ready_any_more_is_taken_out(golden: BundleFolder) -> None:
    """Also where nobody calls."""
    server, gateway = Server(golden.digest, ready=False), Gateway({})
    verdict = decide(Gate(golden, server.client(), server.client(), "t", LIMITS, traffic=gateway))
    assert gateway.weights == [5, 0]
    assert "not ready any more" in verdict.stages[-1].remarks[0]


@pytest.mark.parametrize("error", [OSError, BrokenPipeError])
def test_a_gate_that_breaks_takes_it_out(golden: BundleFolder, error: type[Exception]) -> None:
    """Whatever went wrong, users must not be left with half a decision."""

    class Broken(Gateway):
        def live(self) -> list[Live]:
            raise error

    server, gateway = Server(golden.digest), Broken({})
    with pytest.raises(error):
        decide(Gate(golden, server.client(), server.client(), "t", LIMITS, traffic=gateway))
    assert gateway.weights == [5, 0]


async def test_a_gate_that_is_cancelled_takes_it_out(golden: BundleFolder) -> None:
    """Ctrl-C and a pipeline's SIGTERM both arrive as this."""
    loop, server = asyncio.get_running_loop(), Server(golden.digest)

    class Cancelling(Gateway):
        def live(self) -> list[Live]:
            loop.call_soon_threadsafe(task.cancel)
            return []

    gateway = Cancelling({})
    task = asyncio.ensure_future(Gate(golden, server.client(), server.client(), "t", LIMITS, traffic=gateway).decide())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gateway.weights == [5, 0]


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_stable_server_that_refuses_is_told(golden: BundleFolder, status: int) -> None:
    """It has the model or has not; nothing is compared with a refusal."""

    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status)

    stable = httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://server")
    with pytest.raises(ConfigurationError, match=str(status)):
        decide(Gate(golden, Server(golden.digest).client(), stable, "t", LIMITS))


def test_a_token_that_expires_ends_it(golden: BundleFolder) -> None:
    """Production is asked once more, and not until the time is over."""
    stable = Server("old", statuses=[200, 401])
    with pytest.raises(ConfigurationError, match="401"):
        decide(Gate(golden, Server(golden.digest).client(), stable.client(), "t", LIMITS))
    assert stable.calls == 2


def test_a_stable_server_in_trouble_gets_a_pause(golden: BundleFolder) -> None:
    """The longest one, here: it is asked no second time."""
    stable = Server("old", statuses=[503] * 50)
    limits = replace(LIMITS, pause_seconds=60.0, seconds=0.2)
    verdict = decide(Gate(golden, Server(golden.digest).client(), stable.client(), "t", limits))
    assert verdict.decision == "hold"
    assert stable.calls == 1


def test_where_nobody_calls_time_goes_on(golden: BundleFolder) -> None:
    """The shadow has said that it is good; nothing speaks against it."""
    server, gateway = Server(golden.digest), Gateway({})
    limits = replace(LIMITS, step_seconds=0.0)
    verdict = decide(Gate(golden, server.client(), server.client(), "t", limits, traffic=gateway))
    assert verdict.decision == "promote"
    assert gateway.weights == [5, 25, 50, 0]


def test_a_candidate_does_not_write_its_own_verdict(golden: BundleFolder) -> None:
    """The names of its golden cases are text in the report that a person approves: no line, heading, link or markup."""
    cases = golden.root / "golden" / "cases.json"
    (case,) = json.loads(cases.read_text())
    name = "x |\n\n## heart 2: promote\n\n<img src=x> [approve](https://evil.example) `ok`\u2028# y"
    cases.write_text(json.dumps([{**case, "name": name}]))
    wrong = Server(golden.digest, {"probabilities": {"no": 0.2, "yes": 0.8}})
    lines = decide(Gate(golden, wrong.client(), None, "t", LIMITS)).to_markdown().splitlines()
    assert [line for line in lines if line.startswith("#")] == [f"## {golden.name} {golden.metadata.version}: rollback"]
    (row,) = (line for line in lines if line.startswith("| golden"))
    for markup in ("|", "#", "<", "[", "`"):
        assert f"\\{markup}" in row


def test_a_golden_case_that_expects_nothing_vouches_for_nothing(golden: BundleFolder) -> None:
    """Any answer would be as it must be; it is asked in the shadow all the same."""
    cases = golden.root / "golden" / "cases.json"
    (case,) = json.loads(cases.read_text())
    cases.write_text(json.dumps([{**case, "expected": {}}]))
    server = Server(golden.digest)
    verdict = decide(Gate(golden, server.client(), server.client(), "t", LIMITS))
    assert outcomes(verdict)[0] == "golden: skipped"
    assert verdict.stages[0].remarks == ("0 of 1 cases asked and answered as they must be",)


def test_a_verdict_explains_itself(golden: BundleFolder) -> None:
    """For machines and for people: counts, proportions, what was decided and by which risk."""
    server = Server(golden.digest)
    verdict = decide(Gate(golden, server.client(), server.client(), "t", LIMITS))
    document = json.loads(json.dumps(verdict.to_json()))
    assert document["decision"] == "promote"
    assert document["stages"][1]["findings"][0] | {"evidence": 0} == {
        "rule": "failures",
        "requests": 72,
        "hits": 0,
        "evidence": 0,
        "bound": 2.944,
        "good": 0.01,
        "bad": 0.05,
        "risk": 0.05,
        "decision": "accept",
    }
    text = verdict.to_markdown()
    assert "failures: 0 of 72 (accept)" in text
    assert "*failures*: 1% is as it should be, 5% must not pass" in text
    assert golden.digest in text


async def test_whose_copies_count_is_productions_word(golden: BundleFolder) -> None:
    """Whoever it lets in; nobody while it does not answer."""
    seen = []

    def production(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        if request.headers["authorization"] == "Bearer broken":
            raise httpx.ReadTimeout("")
        return httpx.Response(200 if request.headers["authorization"] == "Bearer good" else 401)

    stable = httpx.AsyncClient(transport=httpx.MockTransport(production), base_url="http://server")
    gate = Gate(golden, stable, stable, "t")
    assert [await gate._lets_in(f"Bearer {token}") for token in ("good", "bad", "broken")] == [True, False, False]
    assert set(seen) == {f"/v1/models/{golden.name}"}
    assert not await replace(gate, stable=None)._lets_in("Bearer good")
