"""What building a bundle and running it once told, without torch: the server reads it, a model's process writes it."""

from dataclasses import asdict, dataclass
from typing import Any

from bedside.bundle.contract import InputFact, OutputFact
from bedside.runtime.memory import MemoryNeed


@dataclass(frozen=True, slots=True)
class LoadedFacts:
    """What building and one real run told; JSON-able, because a model's process sends it to the server.

    Attributes:
        inputs: as the preprocessing wants them.
        outputs: as the run gave them.
        device: where the network is.
        layers: what confines the process (``sandbox.LAYERS``).
        memory: what its runs took; None where that could not be measured.
    """

    inputs: tuple[InputFact, ...]
    outputs: tuple[OutputFact, ...]
    device: str
    layers: tuple[str, ...] = ()
    memory: MemoryNeed | None = None
    shims: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "LoadedFacts":
        """Read what :meth:`to_json` gave."""
        inputs = tuple(
            InputFact(**{**fact, **{name: tuple(fact[name]) for name in ("nullable", "channels", "shape")}})
            for fact in raw["inputs"]
        )
        outputs = tuple(OutputFact(**{**fact, "shape": tuple(fact["shape"])}) for fact in raw["outputs"])
        memory = None if raw["memory"] is None else MemoryNeed.from_json(raw["memory"])
        layers, shims = (tuple(str(name) for name in raw[part]) for part in ("layers", "shims"))
        return cls(inputs, outputs, str(raw["device"]), layers, memory, shims)
