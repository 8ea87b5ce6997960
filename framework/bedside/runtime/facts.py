"""What building a bundle and running it once told, without torch: the server reads it, a model's process writes it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter

from bedside.bundle.contract import Contract, InputFact, OutputFact
from bedside.bundle.tuned import Machine
from bedside.runtime.memory import MemoryNeed
from bedside.settings import ACCELERATIONS


def _one_of(*words: str) -> AfterValidator:
    def known(word: str) -> str:
        if word not in words:
            raise ValueError("not one of the words for it")
        return word

    return AfterValidator(known)


WHY_ALONE: Mapping[str, str] = {
    "switched_off": "runtime.batch_size is 1",
    "several_iterations": "its run is more than one iteration of an evaluator",
    "files": "it writes files, or names results by the files that it reads",
    "lean_records": "its records are done sooner than a batch of them is made",
    "volumes": "volumes run one by one",
    "no_result_each": "its evaluator does not give a result for each item",
    "not_prepared": "its preprocessing refuses made-up items",
    "fails_together": "items that run alone fail together",
    "answers_differ": "in company, items are not answered as they are alone",
    "slow": "one run takes longer than runtime.batch_budget_ms: items are better done in turn",
    "no_gain": "together they take as long as one by one",
}
"""Why the items of a model do not share runs, by the word for it in the log."""


@dataclass(frozen=True, slots=True)
class Batches:
    """How many items of a model may share one run, as trying it showed (``batch_trial``).

    Attributes:
        size: most items; 1 where each runs alone.
        gain: items a second of that size over items a second alone; 0 where it was not measured.
        why: key of :data:`WHY_ALONE`; empty where they share.
    """

    size: int = 1
    gain: float = 0.0
    why: Annotated[str, _one_of("", *WHY_ALONE)] = ""


EAGER = "eager"
"""Name of PyTorch's own way of running a network."""

WHY_EAGER: Mapping[str, str] = {
    "switched_off": "runtime.acceleration is off, or its golden cases do not agree with what was chosen",
    "not_tuned": "bedside bundle tune has not been run, or found nothing that pays",
    "malformed": "its tune file cannot be read, or names no known way",
    "tuned_for_another": "its tune file is bound to other files, or to another machine",
    "not_installed": "what it needs is not installed",
    "not_made": "its network cannot be run so here",
    "not_one_tensor": "its network does not take one tensor and give one",
    "lean_records": "its records run as one recorded graph anyhow",
    "several_iterations": "its run is more than one iteration of an evaluator",
    "answers_differ": "its answer is not eager's",
}
"""Why a network runs as PyTorch runs it, by the word for it in the log."""


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How a network runs (``acceleration_trial``).

    Attributes:
        name: key of ``acceleration.CANDIDATES``, or :data:`EAGER`.
        why: key of :data:`WHY_EAGER`; empty where it is accelerated.
        detail: more, for whoever tunes; not for a log.
        machine: what a choice here is bound to.
    """

    name: Annotated[str, _one_of(EAGER, *ACCELERATIONS)] = EAGER
    why: Annotated[str, _one_of("", *WHY_EAGER)] = ""
    detail: Annotated[str, AfterValidator(itemgetter(slice(200)))] = ""
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True, slots=True)
class LoadedFacts:
    """What building and one real run told; JSON-able, because a model's process sends it to the server.

    Attributes:
        inputs: as the preprocessing wants them.
        outputs: as the run gave them.
        device: where the network is.
        layers: what confines the process (``sandbox.LAYERS``).
        memory: what its runs took; None where that could not be measured.
        shims: names of the compatibility shims that were applied.
        batches: whether items may share a run.
        acceleration: how the network runs.
    """

    inputs: tuple[InputFact, ...]
    outputs: tuple[OutputFact, ...]
    device: str
    layers: tuple[str, ...] = ()
    memory: MemoryNeed | None = None
    shims: tuple[str, ...] = ()
    batches: Batches = Batches()
    acceleration: Acceleration = field(default_factory=Acceleration)

    def told(self) -> dict[str, Any]:
        """Return what the log is told of how requests share runs, and how the network runs."""
        return {
            "sharing_size": self.batches.size,
            "sharing_gain": self.batches.gain,
            "why_alone": self.batches.why,
            "acceleration": self.acceleration.name,
            "why_eager": self.acceleration.why,
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "LoadedFacts":
        """Read what :meth:`to_json` gave, of a process that may say anything. Raises ValueError."""
        return _LOADED.validate_python(raw)


_LOADED = TypeAdapter(LoadedFacts)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What loading a bundle told its operator: its contract, and what it told the server (:class:`LoadedFacts`)."""

    contract: Contract
    layers: tuple[str, ...] = ()
    memory: MemoryNeed | None = None
    batches: Batches = Batches()
    acceleration: Acceleration = field(default_factory=Acceleration)
