"""What a gate found, for machines and for whoever approves."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bedside.delivery.sequential import Decision, Rule

Outcome = Literal["passed", "failed", "undecided", "skipped"]

_MARKUP = re.compile(r"[\\`*_\[\]<>|~&#!]")
"""What Markdown and HTML make something of: a bundle names its cases, and must not write its own verdict."""

_DECISIONS = {
    "promote": "nothing speaks against giving it all the traffic.",
    "rollback": "it must not get traffic.",
    "hold": "too little was seen to decide; it stays without traffic until a person decides or more comes.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says of a stage.

    Attributes:
        rule: the question.
        requests: how many were asked.
        hits: how many of them answered yes.
        evidence: for a bad candidate (positive) or a good one, at most as much as decides.
        accepted: whether there was once enough in favour.
    """

    rule: Rule
    requests: int = 0
    hits: int = 0
    evidence: float = 0.0
    accepted: bool = False

    @property
    def decision(self) -> Decision:
        """Return what it says."""
        said = self.rule.decide(self.evidence)
        return "accept" if self.accepted and said != "reject" else said

    def after(self, hit: bool) -> "Finding":  # noqa: FBT001 - what was seen
        """Return what it says with one request more.

        After an acceptance it is asked on, and what was good counts for no more than that: to be rejected then takes
        twice the evidence, in requests that need not be many (Page's test; docs/decisions/0109).
        """
        evidence = max(-self.rule.bound, self.evidence + self.rule.evidence(1, int(hit)))
        accepted = self.accepted or self.rule.decide(evidence) == "accept"
        return Finding(self.rule, self.requests + 1, self.hits + hit, evidence, accepted)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "rule": self.rule.name,
            "requests": self.requests,
            "hits": self.hits,
            "evidence": round(self.evidence, 3),
            "bound": round(self.rule.bound, 3),
            "good": self.rule.good,
            "bad": self.rule.bad,
            "risk": self.rule.risk,
            "decision": self.decision,
        }


class Tally:
    """What the rules say, as requests are made."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._findings = {rule.name: Finding(rule) for rule in rules}

    def add(self, rule: Rule, hit: bool) -> None:  # noqa: FBT001 - what was seen
        """Count one request; a rejection is final, and an acceptance where the rule says so."""
        found = self._findings[rule.name]
        if found.decision != "reject" and not (found.accepted and rule.once):
            self._findings[rule.name] = found.after(hit)

    def findings(self) -> tuple[Finding, ...]:
        """Return what each rule says by now."""
        return tuple(self._findings.values())

    def rejected(self) -> bool:
        """Tell whether one rule has seen enough against the candidate."""
        return any(finding.decision == "reject" for finding in self.findings())

    def accepted(self, needed: Sequence[Rule]) -> bool:
        """Tell whether these rules have seen enough, and all in favour."""
        return all(self._findings[rule.name].decision == "accept" for rule in needed)


@dataclass(frozen=True, slots=True)
class Stage:
    """How one stage of a gate went.

    Attributes:
        name: ``golden``, ``shadow`` or ``weight N %``.
        outcome: what follows from it.
        seconds: how long it took.
        findings: by rule.
        remarks: what a person should know, in words.
    """

    name: str
    outcome: Outcome
    seconds: float
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate decided about one bundle, and why."""

    model: str
    version: str
    digest: str
    stages: Sequence[Stage] = field(default_factory=tuple)

    @property
    def decision(self) -> Literal["promote", "rollback", "hold"]:
        """Return what shall happen."""
        outcomes = {stage.outcome for stage in self.stages}
        if "failed" in outcomes or not outcomes:
            return "rollback"
        return "hold" if "undecided" in outcomes else "promote"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "model": self.model,
            "version": self.version,
            "digest": self.digest,
            "decision": self.decision,
            "stages": [
                {
                    "name": stage.name,
                    "outcome": stage.outcome,
                    "seconds": round(stage.seconds, 2),
                    "findings": [finding.to_json() for finding in stage.findings],
                    "remarks": list(stage.remarks),
                }
                for stage in self.stages
            ],
        }

    def to_markdown(self) -> str:
        """Return the verdict as it stands in a pipeline's summary."""
        lines = [
            f"## {self.model} {self.version}: {self.decision}",
            "",
            f"`{self.digest}`: {_DECISIONS[self.decision]}",
            "",
            "| stage | outcome | seconds | why |",
            "|---|---|---:|---|",
        ]
        lines += [f"| {s.name} | {s.outcome} | {s.seconds:.1f} | {'<br>'.join(_why(s))} |" for s in self.stages]
        lines += ["", *self._rules()]
        return "\n".join(lines) + "\n"

    def _rules(self) -> list[str]:
        rules = {finding.rule: None for stage in self.stages for finding in stage.findings}
        return [
            f"- *{rule.name}*: {rule.good:.0%} is as it should be, {rule.bad:.0%} must not pass; wrong in at most"
            f" {rule.risk:.0%} of cases either way, whenever asked. {rule.fewest} requests without one are enough."
            for rule in rules
        ]


def _why(stage: Stage) -> list[str]:
    told = [
        f"{finding.rule.name}: {finding.hits} of {finding.requests} ({finding.decision})"
        for finding in stage.findings
        if finding.requests
    ]
    return [_MARKUP.sub(r"\\\g<0>", " ".join(text.split())) for text in (*told, *stage.remarks)]
