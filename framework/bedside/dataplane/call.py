"""One call on its way along the spine: what stage 9 accounts for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter

from bedside.errors import BedsideError
from bedside.interfaces import ServedModel
from bedside.observability.traceparent import TraceParent
from bedside.types import Finding, Principal


@dataclass(slots=True)
class Call:
    """Facts about one call, gathered as it goes. Nothing in here comes from the caller's input.

    Attributes:
        request_id: id of the request, ours or a well-formed one of the caller.
        transport: ``rest``, ``grpc``, ``dicom`` ….
        operation: ``predict`` or ``infer``.
        model: name of the model, set only once it has been resolved: a made-up name may be a person's.
        owner: of the job that runs (``Principal.owner``): nobody calls then.
        patience: seconds that the caller will wait in all, infinite where it did not say.
        stages: seconds by stage of the spine (``authenticate`` … ``encode``).
        error: why the call failed.
        served: the model, held until the call is accounted for.
        findings: what the answer says, row by row; empty where nobody watches.
        limit_seconds: time that this call may take; None where ``limits.request_seconds`` holds.
        input_hash: keyed hash of the input, for the audit trail.
        job: id of the job that it was taken for, or that runs.
        recorded: it is in the audit trail already.
        parent: the caller's span, where it sent a well-formed one.
        span: its own, once something needs to know it.
    """

    request_id: str
    transport: str
    operation: str
    started: float = field(default_factory=perf_counter)
    model: str = ""
    version: str = ""
    digest: str = ""
    device: str = ""
    principal: Principal | None = None
    owner: str = ""
    patience: float = inf
    rows: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    error: BedsideError | None = None
    served: ServedModel | None = None
    findings: Sequence[Finding] = ()
    limit_seconds: float | None = None
    input_hash: str = ""
    job: str = ""
    recorded: bool = False
    parent: TraceParent | None = None
    span: TraceParent | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds since the call was received."""
        return perf_counter() - self.started
