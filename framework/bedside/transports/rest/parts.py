"""What the REST transport is built from; ``bootstrap`` puts it together."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bedside.dataplane.auditing import Auditor
from bedside.dataplane.gate import Gate
from bedside.dataplane.inference import DataPlane
from bedside.dataplane.lifecycle import Lifecycle
from bedside.interfaces import ModelRepository
from bedside.jobs.desk import JobDesk
from bedside.jobs.outbox import Outbox
from bedside.monitoring.desk import TruthDesk
from bedside.monitoring.reference import ReferenceDesk
from bedside.security.scopes import authorise_truth
from bedside.settings import Settings
from bedside.transports.references import NONE, References
from bedside.transports.uploads import Uploads
from bedside.types import Principal


@dataclass(frozen=True, slots=True)
class Parts:
    """The collaborators of one REST application.

    Attributes:
        dataplane: the spine.
        repository: which models there are.
        gate: who may ask for what, beside the spine.
        render_metrics: given ``Accept``, returns the exposition and its media type.
        settings: of the whole server.
        version: of Bedside.
        lifecycle: the server's state and its hooks.
        jobs: where jobs are handed in; None where this server takes none.
        wake_jobs: called when one has been handed in.
        outbox: results on their way to archives; None where this server takes no jobs.
        tell_redrive: told, for the log, who had which dead job, or its result, tried again.
        clock: seconds since the epoch.
        references: what a request may name instead of sending it.
        uploads: where inputs go that are too large to be sent; None where this server has no place for them.
        auditor: told what is asked beside the spine.
        truth: where the truth of answers is told; None where this server keeps none.
        reference: what drift is measured against; None where this server does not watch answers.
        authorise_truth: lets a principal tell it of a model, by name; raises InsufficientScope.
    """

    dataplane: DataPlane
    repository: ModelRepository
    gate: Gate
    render_metrics: Callable[[str], tuple[bytes, str]]
    settings: Settings
    version: str
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    jobs: JobDesk | None = None
    wake_jobs: Callable[[], None] = lambda: None
    outbox: Outbox | None = None
    tell_redrive: Callable[[Principal, str], None] = lambda _who, _job: None
    clock: Callable[[], float] = time.time
    references: References = NONE
    uploads: Uploads | None = None
    auditor: Auditor = field(default_factory=Auditor)
    truth: TruthDesk | None = None
    reference: ReferenceDesk | None = None
    authorise_truth: Callable[[Principal, str], None] = authorise_truth
