"""The rows of the store as values. Nothing in them names a patient: inputs and results are files of the spool."""

from dataclasses import dataclass

from bedside.jobs.states import DeliveryState, JobState


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is asked for.

    Attributes:
        id: 32 random hex digits: not to be guessed, and nothing can be learnt from it.
        owner: hash of the caller (issuer and subject); only they, and administrators, see the job.
        model: model name.
        version: bundle version that was resolved when the job was taken.
        digest: the bundle's digest: a job is run by the very bundle it was taken for, or not at all.
        input_digest: hex SHA-256 over the input as it came, options included.
        media_type: media type of the answer that was asked for.
        deadline: seconds since the epoch after which the answer is of no use.
        destinations: where the result is to be delivered besides being kept, names from the settings.
        trace_parent: ``traceparent`` of the call that handed it in: ids alone; empty where it is in no trace.
    """

    id: str
    owner: str
    model: str
    version: str
    digest: str
    input_digest: str
    media_type: str
    deadline: float
    destinations: tuple[str, ...] = ()
    trace_parent: str = ""

    @property
    def key(self) -> str:
        """Return the idempotency key: same caller, same bundle, same input, same question."""
        where = ",".join(sorted(self.destinations))
        return f"{self.owner}|{self.model}|{self.digest}|{self.input_digest}|{self.media_type}|{where}"


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the store has it. Times are seconds since the epoch.

    Attributes:
        attempt: how often it has been started.
        not_before: when it may be started next.
        lease: fencing token of the worker that has it, empty where none has; only its holder may change the job.
        lease_until: when the lease ends unless it is renewed.
        done: steps of the current attempt that are done (for example windows of a sliding-window inferer).
        total: steps in all, as far as they are known; 0 where they are not.
        cancel_requested: the owner has given it up while it runs.
        error_code: slug of the error of the last attempt, empty where there was none.
        error_detail: its text, safe to show.
        result_type: media type of the result.
        read_digest: of what was read where the input is only named and may be replaced; empty until then.
    """

    id: str
    owner: str
    model: str
    version: str
    digest: str
    input_digest: str
    media_type: str
    deadline: float
    state: JobState
    attempt: int
    created: float
    not_before: float
    started: float | None
    finished: float | None
    lease: str
    lease_until: float
    done: int
    total: int
    cancel_requested: bool
    error_code: str
    error_detail: str
    result_type: str
    destinations: tuple[str, ...]
    trace_parent: str
    read_digest: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One result on its way to one destination: written in the transaction that ended the job, so neither is alone."""

    job: str
    destination: str
    state: DeliveryState
    attempt: int
    not_before: float
    error_code: str
