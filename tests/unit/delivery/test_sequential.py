"""When there is enough evidence, and how often it misleads."""

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.delivery.gate import Limits
from bedside.delivery.sequential import Rule
from bedside.delivery.verdict import Finding, Tally
from bedside.errors import ConfigurationError

FAILURES = Rule("failures", 0.01, 0.05)
RULES = (Limits().failures, Limits().disagreements, Limits().slower)

proportions = st.floats(0.001, 0.999)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Return any rule."""
    good, bad = sorted(draw(st.lists(proportions, min_size=2, max_size=2, unique_by=lambda p: round(p, 2))))
    return Rule("any", good, bad, draw(st.floats(0.001, 0.4)))


def course(rule: Rule, hit: float, most: int = 5000) -> tuple[float, float, float]:
    """Return the exact chances of accepting and rejecting, and the mean number of requests, by the chance of a hit."""
    undecided, accept, reject, mean = {0: 1.0}, 0.0, 0.0, 0.0
    for requests in range(1, most):
        mean += sum(undecided.values())
        after: dict[int, float] = defaultdict(float)
        for hits, chance in undecided.items():
            for more, part in ((1, hit), (0, 1.0 - hit)):
                decision = rule.decide(rule.evidence(requests, hits + more))
                if decision == "accept":
                    accept += chance * part
                elif decision == "reject":
                    reject += chance * part
                else:
                    after[hits + more] += chance * part
        undecided = after
    return accept, reject, mean


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_it_is_seldom_wrong(rule: Rule) -> None:
    """By all courses that requests can take: neither error is likelier than Wald's bound, risk/(1 - risk)."""
    bound = rule.risk / (1.0 - rule.risk)
    assert course(rule, rule.good)[1] <= bound
    assert course(rule, rule.bad)[0] <= bound


@pytest.mark.parametrize(
    ("rule", "fewest", "mean_when_all_is_well", "mean_when_bad"),
    [(RULES[0], 72, 113, 79), (RULES[1], 18, 31, 23), (RULES[2], 8, 22, 21)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_so_many_requests_are_needed(rule: Rule, fewest: int, mean_when_all_is_well: int, mean_when_bad: int) -> None:
    """These are the numbers in docs/rehearsal.md."""
    assert rule.fewest == fewest
    assert rule.decide(rule.evidence(fewest, 0)) == "accept"
    assert rule.decide(rule.evidence(fewest - 1, 0)) == "undecided"
    assert round(course(rule, rule.good)[2]) == mean_when_all_is_well
    assert round(course(rule, rule.bad)[2]) == mean_when_bad


def test_just_good_enough_in_every_respect_is_refused_so_often() -> None:
    """All questions of a gate together, as docs/rehearsal.md has it: the shadow, then three steps."""
    failures, _, slower = RULES
    assert sum(course(rule, rule.good)[1] for rule in RULES) == pytest.approx(0.10, abs=0.005)
    short, whole = [sum(course(rule, rule.good, most)[1] for rule in (failures, slower)) for most in (21, 5000)]
    assert 2 * short + whole == pytest.approx(0.12, abs=0.005)
    assert 3 * whole == pytest.approx(0.20, abs=0.005)


def rejected_later(rule: Rule, hit: float, requests: int) -> float:
    """Return the chance (evidence to a hundredth) that a question which has just accepted is rejected so soon."""
    states, rejected = {Finding(rule, evidence=-rule.bound, accepted=True): 1.0}, 0.0
    for _ in range(requests):
        after: dict[Finding, float] = defaultdict(float)
        for finding, chance in states.items():
            for more, part in ((True, hit), (False, 1.0 - hit)):
                found = finding.after(more)
                key = replace(found, requests=0, hits=0, evidence=round(found.evidence, 2))
                after[key] += chance * part
        rejected += sum(chance for finding, chance in after.items() if finding.decision == "reject")
        states = {finding: chance for finding, chance in after.items() if finding.decision != "reject"}
    return rejected


@pytest.mark.parametrize("rule", RULES[:2], ids=lambda rule: rule.name)
def test_who_is_asked_on_is_seldom_wronged(rule: Rule) -> None:
    """As docs/rehearsal.md has it: another hundred requests cost one that is just good enough hardly anything."""
    assert rejected_later(rule, rule.good, 100) <= 0.02
    assert rejected_later(rule, rule.good / 2, 100) <= 0.001


@pytest.mark.parametrize(("rule", "hits"), [(RULES[0], 4), (RULES[1], 5)], ids=lambda value: str(value)[:16])
def test_what_fails_later_is_seen(rule: Rule, hits: int) -> None:
    """However long it was good: an acceptance is all the credit that there is, and these in a row use it up."""
    tally = Tally([rule])
    for _ in range(1000):
        tally.add(rule, hit=False)
    assert tally.accepted([rule])
    for number in range(hits):
        assert not tally.rejected(), number
        tally.add(rule, hit=True)
    assert tally.rejected()
    tally.add(rule, hit=False)
    assert tally.findings()[0].requests == 1000 + hits
    assert not tally.accepted([rule])


def test_speed_is_not_asked_on() -> None:
    """A machine that gets busy is slow for many requests in a row: that says little of the candidate."""
    tally, slower = Tally(RULES), RULES[2]
    for number in range(100):
        tally.add(slower, hit=number >= 8)
    assert tally.accepted([slower])
    assert [finding.requests for finding in tally.findings()] == [0, 0, 8]


def test_an_acceptance_outlasts_single_hits() -> None:
    """What was decided is not undecided again; else a stage of many questions might never end."""
    tally = Tally([FAILURES])
    for _ in range(72):
        tally.add(FAILURES, hit=False)
    tally.add(FAILURES, hit=True)
    assert tally.accepted([FAILURES])


def test_two_failures_in_a_row_are_enough() -> None:
    """ln(5) each, of the 2.94 that are needed."""
    assert [FAILURES.decide(FAILURES.evidence(number, number)) for number in (1, 2)] == ["undecided", "reject"]


@given(rules(), st.integers(1, 500))
def test_what_fails_always_is_never_accepted(rule: Rule, requests: int) -> None:
    """However many requests there are."""
    assert rule.decide(rule.evidence(requests, requests)) != "accept"
    assert rule.decide(rule.evidence(10_000, 10_000)) == "reject"


@given(rules(), st.integers(0, 300), st.integers(0, 300))
def test_a_hit_more_never_speaks_for_it(rule: Rule, hits: int, others: int) -> None:
    """The evidence grows with each hit, and shrinks with each request without one."""
    now = rule.evidence(hits + others, hits)
    assert rule.evidence(hits + others + 1, hits + 1) > now
    assert rule.evidence(hits + others + 1, hits) < now


def test_nothing_seen_is_nothing_decided() -> None:
    """Not even in favour."""
    assert all(rule.decide(rule.evidence(0, 0)) == "undecided" for rule in RULES)


@pytest.mark.parametrize("numbers", [(0.0, 0.1), (0.1, 0.1), (0.2, 0.1), (0.1, 1.0)])
def test_what_is_no_test_is_refused(numbers: tuple[float, float]) -> None:
    """Two proportions, in order."""
    with pytest.raises(ConfigurationError):
        Rule("failures", *numbers)
