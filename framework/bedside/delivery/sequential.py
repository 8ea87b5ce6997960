"""Wald's sequential probability ratio test: whether there is enough evidence yet, after each request.

A hospital makes too few requests for comparing rates. The test weighs two proportions against each other, one that is
as it should be and one that must not pass, and stops at the first request that leaves no doubt: good candidates early,
bad ones earlier (A. Wald, Sequential Tests of Statistical Hypotheses, Ann. Math. Statist. 16 (1945) 117-186).
"""

import math
from dataclasses import dataclass
from typing import Literal

from bedside.errors import ConfigurationError

Decision = Literal["accept", "reject", "undecided"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One question that each request answers with yes (a hit) or no.

    Attributes:
        name: what a hit is.
        good: proportion of hits up to which a candidate is as it should be.
        bad: proportion of hits from which on it must not pass.
        risk: chance that the decision is wrong, either way, at these proportions; smaller beyond them.
        once: an acceptance ends it. Else it is asked on: right where requests are independent witnesses.
    """

    name: str
    good: float
    bad: float
    risk: float = 0.05
    once: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no test. Raises ConfigurationError."""
        if not (0.0 < self.good < self.bad < 1.0 and 0.0 < self.risk < 0.5):
            raise ConfigurationError(f"{self.name}: 0 < good < bad < 1 and 0 < risk < 0.5 are needed", field=self.name)

    @property
    def bound(self) -> float:
        """Return the evidence that decides."""
        return math.log((1.0 - self.risk) / self.risk)

    @property
    def fewest(self) -> int:
        """Return how many requests without a hit accept."""
        return math.ceil(self.bound / math.log((1.0 - self.good) / (1.0 - self.bad)))

    def evidence(self, requests: int, hits: int) -> float:
        """Return the logarithm of how much likelier these hits are of a bad candidate than of a good one."""
        no_hit = math.log((1.0 - self.bad) / (1.0 - self.good))
        return hits * math.log(self.bad / self.good) + (requests - hits) * no_hit

    def decide(self, evidence: float) -> Decision:
        """Return what so much evidence says."""
        if evidence >= self.bound:
            return "reject"
        return "accept" if evidence <= -self.bound else "undecided"
