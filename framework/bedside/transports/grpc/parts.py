"""What the gRPC transport is built from; ``bootstrap`` puts it together."""

from dataclasses import dataclass, field

from bedside.dataplane.auditing import Auditor
from bedside.dataplane.gate import Gate
from bedside.dataplane.inference import DataPlane
from bedside.dataplane.lifecycle import Lifecycle
from bedside.interfaces import ModelRepository
from bedside.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """The collaborators of one gRPC server.

    Attributes:
        dataplane: the spine.
        repository: which models there are.
        gate: who may ask for what, beside the spine.
        settings: of the whole server.
        version: of Bedside.
        lifecycle: the server's state.
        auditor: told what is asked beside the spine.
    """

    dataplane: DataPlane
    repository: ModelRepository
    gate: Gate
    settings: Settings
    version: str
    lifecycle: Lifecycle
    auditor: Auditor = field(default_factory=Auditor)
