"""What a job can be, and what it can become: the transition table that every change of state is held against."""

from collections.abc import Mapping
from enum import StrEnum


class JobState(StrEnum):
    """State of a job.

    ``queued`` waits (also for its next attempt) · ``running`` is leased to a worker · ``succeeded`` has a result ·
    ``dead`` has used up its attempts or its time, or can never succeed; it waits for a person · ``cancelled`` was
    given up by its owner.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    # claimed · past its deadline · given up
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.DEAD, JobState.CANCELLED}),
    # done · again later, or its worker is lost · for good · given up
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.QUEUED, JobState.DEAD, JobState.CANCELLED}),
    # re-driven by a person
    JobState.DEAD: frozenset({JobState.QUEUED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

LIVE = (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)
"""States in which a second submission of the same work is answered with this job."""

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)
"""States of work that is still to be done."""

FINISHED = (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED)
"""States in which nothing happens by itself; retention counts from here."""


class DeliveryState(StrEnum):
    """State of a delivery: ``pending`` is tried until the destination has it; ``dead`` waits for a person."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


def may_become(state: JobState) -> tuple[JobState, ...]:
    """Return the states from which a job may become ``state``."""
    return tuple(before for before, after in TRANSITIONS.items() if state in after)
