"""What is kept of an answer, and the truth that comes for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from bedside.types import Quantity


def answer_id(request_id: str, row: int) -> str:
    """Return the id of one answer of a request: of its first row the request's own, of each further one a digest.

    A request of tensors has many rows, and each may have its truth. A digest fits where an id does.
    """
    return request_id if row == 0 else blake2b(f"{request_id}/{row}".encode(), digest_size=16).hexdigest()


class Predicted(NamedTuple):
    """What was answered to one request: nothing of its input.

    Attributes:
        request_id: of the request; of a job, its id; of a row, see :func:`answer_id`.
        model: name of the served bundle.
        version: of it.
        digest: of it.
        created: seconds since the epoch.
        prediction: class that was named; empty where none was.
        probability: of that class.
        quantities: volumes and values.
        owner: hash of who asked (``Principal.owner``).
    """

    request_id: str
    model: str
    version: str
    digest: str
    created: float
    prediction: str = ""
    probability: float | None = None
    quantities: tuple[Quantity, ...] = ()
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """What has turned out to be so: a class, or numbers by the names of the answer's quantities."""

    label: str = ""
    numbers: Mapping[str, float] | None = None
