"""What vetting says: findings, each by a rule of one catalogue, and the verdict made of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bedside.bundle.vetting.rules import RULES

Severity = Literal["info", "warning", "reviewed", "refused"]
TrustLevel = Literal["data_only", "pinned", "signed", "unsigned_code"]
"""``data_only``: known components and arithmetic, no code. ``pinned``: somebody at this site has listed the digest.
``signed``: a configured key has signed the tree. ``unsigned_code``: none of these."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule has to say about one place.

    Attributes:
        rule: name in ``RULES``.
        where: file in the bundle and, behind ``#``, a JSON pointer (RFC 6901) or a part of the file.
        explanation: what is there, and why it matters.
        reviewed: the rule is about code, and this bundle's code has been accepted by pin or signature.
    """

    rule: str
    where: str
    explanation: str
    reviewed: bool = False

    @property
    def severity(self) -> Severity:
        """Return how much it matters; only ``refused`` keeps a bundle out."""
        return "reviewed" if self.reviewed else RULES[self.rule].severity

    @property
    def remedy(self) -> str:
        """Return what to do about it."""
        return RULES[self.rule].remedy

    def to_json(self) -> dict[str, str]:
        """Return it for machines."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "where": self.where,
            "explanation": self.explanation,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bundle may be loaded, on what ground, and everything that was found.

    Attributes:
        name: the bundle's name; version and digest are empty where it was refused before they were known.
        signer: file name of the public key that verifies its signature, or empty.
    """

    name: str
    version: str
    digest: str
    trust: TrustLevel
    findings: tuple[Finding, ...] = ()
    signer: str = ""

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Return the findings that keep it out."""
        return tuple(finding for finding in self.findings if finding.severity == "refused")

    @property
    def admitted(self) -> bool:
        """Tell whether nothing keeps it out."""
        return not self.refusals

    @property
    def reason(self) -> str:
        """Return one sentence for the model repository's index; empty when it is admitted."""
        refusals = self.refusals
        if not refusals:
            return ""
        first = refusals[0]
        more = f" and {len(refusals) - 1} more" if len(refusals) > 1 else ""
        return f"not admitted: {first.where}: {first.explanation}{more} (bedside bundle vet says what to do)"

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "verdict": "admitted" if self.admitted else "refused",
            "trust": self.trust,
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "signer": self.signer,
            "findings": [finding.to_json() for finding in self.findings],
        }


class Refused(Exception):
    """Ends the reading of one file: a rule, and why. Becomes a finding; never leaves ``vetting``."""

    def __init__(self, rule: str, explanation: str) -> None:
        super().__init__(rule, explanation)
        self.rule = rule
        self.explanation = explanation

    def at(self, where: str) -> Finding:
        """Return the finding."""
        return Finding(self.rule, where, self.explanation)


def pointer(file: str, steps: Iterable[object]) -> str:
    """Return ``file#/a/0/b`` (RFC 6901), printable whatever the keys are."""
    return f"{file}#" + "".join(f"/{_escaped(str(step))}" for step in steps)


def shown(text: object, characters: int = 80) -> str:
    """Return text of a bundle for an explanation: printable, and not longer than somebody wants to read."""
    plain = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text)[: characters + 1])
    return plain if len(plain) <= characters else plain[: characters - 1] + "…"


def counted(values: Mapping[str, int]) -> str:
    """Return ``{"a": 2}`` as ``2 a``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(values.items()))


def _escaped(step: str) -> str:
    return shown(step.replace("~", "~0").replace("/", "~1"))
