"""Stage 9, where predictions are kept: what was answered is remembered after the call is accounted for."""

import time
from collections.abc import Callable

from bedside.interfaces import CallSink
from bedside.monitoring.records import Predicted, answer_id
from bedside.observability.accounting import FinishedCall
from bedside.observability.traceparent import TraceParent


class KeepingSink:
    """Implements ``interfaces.CallSink`` around another.

    Args:
        sink: accounts for calls.
        keep: told what was answered; never blocks and never raises.
    """

    def __init__(self, sink: CallSink, keep: Callable[[Predicted], None]) -> None:
        self._sink = sink
        self._keep = keep

    def begin(self, call: FinishedCall) -> TraceParent | None:
        """Return the span of a call."""
        return self._sink.begin(call)

    def account(self, call: FinishedCall) -> None:
        """Account for a call; keep what it was answered."""
        self._sink.account(call)
        if call.error is not None:
            return
        owner = ""
        for row, (predicted, quantities) in enumerate(call.findings):
            if predicted or quantities:
                owner = owner or _owner(call)
                prediction, probability = predicted or ("", None)
                of = (answer_id(call.request_id, row), call.model, call.version, call.digest)
                self._keep(Predicted(*of, time.time(), prediction, probability, quantities, owner))


def _owner(call: FinishedCall) -> str:
    return call.owner or (call.principal.owner if call.principal else "")
