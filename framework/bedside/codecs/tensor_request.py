"""The form of an Open Inference Protocol request, whichever transport it came by.

Strict about form; datatypes, element counts and values are looked at in stages 4 and 5 (``codecs.tensors``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bedside.errors import BadParameter, MalformedPayload
from bedside.types import RawTensor

_LARGEST_RANK = 16
_INTEGERS = frozenset((int,))  # bool is an int to Python, but not to JSON
_REFUSED_PARAMETERS = ("classification", "shared_memory_region", "sequence_id", "sequence_start", "sequence_end")
"""Parameters of other servers' extensions that ask for another answer than ours; the rest may be ignored."""


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """One requested output: which result, and whether as raw bytes."""

    name: str
    binary: bool


class InferRequest(NamedTuple):
    """One parsed inference request.

    Attributes:
        id: the caller's identifier, returned in the answer and nowhere else; None where there is none.
        inputs: the tensors; none for a model without inputs.
        outputs: the results asked for, None for all.
        binary: whether results are sent as raw bytes where nothing else was said.
    """

    id: str | None
    inputs: tuple[RawTensor, ...]
    outputs: tuple[RequestedOutput, ...] | None
    binary: bool

    @property
    def output_names(self) -> tuple[str, ...] | None:
        """Return the names of the results asked for, None for all."""
        return None if self.outputs is None else tuple(output.name for output in self.outputs)


def check_shape(shape: Any, where: str) -> tuple[int, ...]:
    """Return a shape as it may be written; what it means is looked at later. Raises MalformedPayload."""
    if (
        not (type(shape) is list or isinstance(shape, Sequence))
        or len(shape) > _LARGEST_RANK
        or not _INTEGERS.issuperset(map(type, shape))
        or min(shape, default=0) < 0
    ):
        raise MalformedPayload("must be a list of at most 16 whole numbers from 0 on", field=f"{where}.shape")
    return tuple(shape)


def check_parameter_names(names: Iterable[str], where: str) -> None:
    """Refuse parameters that would change the answer and that this server does not have. Raises BadParameter."""
    for name in names:
        if name in _REFUSED_PARAMETERS:
            raise BadParameter("this server does not have this extension", field=f"{where}.{name}")


def check_outputs_once(outputs: Sequence[RequestedOutput]) -> None:
    """Refuse a request that asks for an output twice. Raises MalformedPayload."""
    if len({output.name for output in outputs}) < len(outputs):
        raise MalformedPayload("an output is asked for twice", field="outputs")
