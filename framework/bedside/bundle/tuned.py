"""What ``bedside bundle tune`` chose, kept beside a bundle's folder: a name and what it holds for; data, never code.

Not in the folder: its digest stays that of what was looked at and signed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

LEAST_GAIN = 1.1
"""Less is not worth another way of adding things up."""

_MOST_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class Machine:
    """What a choice of speed depends on beside the bundle.

    Attributes:
        torch: its version.
        processor: model of the CPU, or of the GPU that the network is on.
        threads: that the network may use.
    """

    torch: str = ""
    processor: str = ""
    threads: int = 0


class Tuned(BaseModel):
    """The content of ``FOLDER.tune.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    acceleration: str = Field(pattern="^[a-z][a-z0-9_]{0,31}$")
    ratio: float = Field(ge=LEAST_GAIN, allow_inf_nan=False)
    digest: str
    torch: str
    processor: str
    threads: int

    def holds_for(self, digest: str, machine: Machine) -> bool:
        """Tell whether it was measured with these files, on such a machine."""
        return self.digest == digest and Machine(self.torch, self.processor, self.threads) == machine


def tune_file(root: Path) -> Path:
    """Return where the choice for the bundle in the folder ``root`` is kept."""
    return root.with_name(f"{root.name}.tune.json")


def read_tuned(root: Path) -> Tuned | None:
    """Read the choice for a bundle; None where there is none.

    Raises:
        ValueError: it cannot be read, or is not such a file.
    """
    try:
        with tune_file(root).open("rb") as stream:
            return Tuned.model_validate_json(stream.read(_MOST_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError("it cannot be read") from error


def write_tuned(root: Path, tuned: Tuned | None) -> None:
    """Keep the choice for a bundle, or that there is none. Raises OSError."""
    place = tune_file(root)
    if tuned is None:
        place.unlink(missing_ok=True)
        return
    fresh = place.with_name(f"{place.name}.new")
    fresh.unlink(missing_ok=True)
    with fresh.open("x", encoding="utf-8") as stream:  # no link that somebody has laid there is followed
        stream.write(tuned.model_dump_json(indent=2) + "\n")
    fresh.replace(place)  # a server that starts meanwhile reads the old choice or the new one
