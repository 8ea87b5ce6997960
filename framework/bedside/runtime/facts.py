"""What building a bundle and running it once told, without torch: the server reads it, a model's process writes it."""

from dataclasses import asdict, dataclass
from typing import Any

from bedside.bundle.contract import InputFact, OutputFact


@dataclass(frozen=True, slots=True)
class LoadedFacts:
    """What building and one real run told; JSON-able, because a model's process sends it to the server."""

    inputs: tuple[InputFact, ...]
    outputs: tuple[OutputFact, ...]
    device: str

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
        return cls(inputs, outputs, str(raw["device"]))
