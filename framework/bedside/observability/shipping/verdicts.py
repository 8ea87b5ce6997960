"""What may become of lines that were sent."""

from typing import NamedTuple

from bedside.observability.shipping.spool import SpooledLine


class NotDelivered(Exception):
    """The request failed as a whole; the cluster has some of the lines or none. Its text is never logged.

    Attributes:
        error_type: class of the client's error.
        status: HTTP status; None where there was no answer.
    """

    def __init__(self, error_type: str, status: int | None = None) -> None:
        super().__init__(error_type)
        self.error_type = error_type
        self.status = status

    @property
    def too_much(self) -> bool:
        """Tell whether fewer lines may be taken."""
        return self.status == 413


class Refusal(NamedTuple):
    """A line that would be refused however often it is sent, such as one that the mapping does not fit."""

    line: SpooledLine
    status: int
    error_type: str


class Verdict(NamedTuple):
    """What became of a batch.

    Attributes:
        settled: its first so many lines need not be sent again.
        refused: those of them that were not taken.
        status: why the next line was not taken yet; None where all are settled.
    """

    settled: int
    refused: tuple[Refusal, ...]
    status: int | None
