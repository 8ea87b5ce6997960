"""Where the truth of an earlier answer is told, and how right a model was is asked. All methods may block."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from bedside.bundle.contract import Contract
from bedside.errors import BadParameter, PredictionNotFound, TruthConflict
from bedside.monitoring.accuracy import summaries
from bedside.monitoring.monitor import Monitor
from bedside.monitoring.records import Predicted, Truth
from bedside.monitoring.store import PredictionStore
from bedside.monitoring.truth import read_truth, require_possible
from bedside.observability.events import Event
from bedside.observability.fields import as_keyword
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics
from bedside.types import Quantity


class TruthDesk:
    """Implements what a transport needs of truths.

    Args:
        store: predictions, shared by all replicas.
        monitor: has those that are not written down yet.
        metrics: counts truths.
        contract_of: contract of a model's version; of the one that answers now, where that one has gone.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        store: PredictionStore,
        monitor: Monitor,
        metrics: Metrics,
        contract_of: Callable[[str, str], Contract],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._monitor = monitor
        self._metrics = metrics
        self._contract_of = contract_of
        self._clock = clock
        self._log = get_logger("bedside.monitoring")

    def tell(self, model: str, document: Mapping[str, Any], owner: str) -> tuple[Predicted, bool]:
        """Take the truth of one answer; return the prediction, and whether the truth is new.

        Told twice it is one truth. What is told otherwise is refused: what has been counted cannot be uncounted.

        Args:
            model: name of the model.
            document: request id and truth.
            owner: who tells it (``Principal.owner``): of several callers' answers with one id, theirs is meant.

        Raises:
            MalformedPayload, BadParameter: naming the member; the id, where it is of several others' answers.
            PredictionNotFound: no such answer is kept.
            TruthConflict: another truth has come before.
        """
        request_id, truth = read_truth(document)
        predicted, before = self._found(model, request_id, owner)
        require_possible(truth, predicted, self._contract_of(model, predicted.version))
        now = self._clock()
        if before is None and self._store.tell(predicted, truth, now):
            self._count(predicted, truth, now)
            return predicted, True
        if (before or self._found(model, request_id, owner)[1]) != truth:
            raise TruthConflict(field="truth")
        return predicted, False

    def accuracy(self, model: str) -> list[dict[str, Any]]:
        """Return how right each version was, of the answers that are kept and whose truth has come."""
        return summaries(self._store.told(model), self._store.told_numbers(model))

    def _found(self, model: str, request_id: str, owner: str) -> tuple[Predicted, Truth | None]:
        if not self._monitor.keeps:
            raise PredictionNotFound("predictions are not kept: monitoring.predictions_seconds is 0")
        found = self._store.find(model, request_id, owner)
        if not found or found[0][0].owner != owner:
            self._monitor.flush()  # it may have been answered this very moment
            found = self._store.find(model, request_id, owner)
        if not found:
            raise PredictionNotFound(field="request_id")
        if len(found) > 1:  # of two callers one has taken the other's id, and nobody here can tell who
            raise BadParameter("is of answers to several callers: each tells the truth of its own", field="request_id")
        return found[0]

    def _count(self, predicted: Predicted, truth: Truth, now: float) -> None:
        of = (predicted.model, predicted.version)
        about: dict[str, Any] = {"model": predicted.model, "version": predicted.version, "digest": predicted.digest}
        about["truth_delay_seconds"] = round(now - predicted.created, 1)
        if truth.numbers is None:
            correct = truth.label == predicted.prediction
            self._metrics.truths.labels(*of, predicted.prediction, truth.label, str(correct).lower()).inc()
            self._log.info(
                Event.TRUTH_RECEIVED,
                **about,
                prediction_kind="class",
                prediction_name=as_keyword(predicted.prediction),
                truth_name=as_keyword(truth.label),
                truth_correct=int(correct),
            )
            return
        for quantity in predicted.quantities:
            if quantity.name in truth.numbers:
                self._count_number(of, about, quantity, truth.numbers[quantity.name])

    def _count_number(self, of: tuple[str, str], about: Mapping[str, Any], answered: Quantity, true: float) -> None:
        error = float(f"{answered.number - true:.3g}")  # three digits say enough, and no number of anybody's
        cells = self._metrics.truth_errors.labels(*of, answered.kind, answered.name)
        with self._metrics.lock:
            cells.observe(abs(error))
        self._log.info(
            Event.TRUTH_RECEIVED,
            **about,
            prediction_kind=answered.kind,
            prediction_name=as_keyword(answered.name),
            truth_error=error,
            truth_absolute_error=abs(error),
        )
