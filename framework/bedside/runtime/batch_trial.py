"""Whether items of a bundle may share a run: tried when it is loaded, on made-up items that differ from each other.

What stands against it shows here: a batch norm left in training mode, a step that looks at the whole batch, an
evaluator with an iteration of its own, or simply no gain.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import takewhile
from statistics import median
from time import perf_counter

from bedside.bundle.agreement import close
from bedside.bundle.contract import derive_inputs
from bedside.bundle.folder import BundleFolder
from bedside.bundle.sample import sample_inputs
from bedside.errors import ModelFailure
from bedside.runtime.batch_pass import CannotShare
from bedside.runtime.engine import BundleEngine
from bedside.runtime.facts import Batches, LoadedFacts
from bedside.runtime.loading import staged
from bedside.runtime.record_pass import Item
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings
from bedside.types import Prediction

_ROUNDS = 3
_LEAST_GAIN, _AS_GOOD = 1.1, 0.9
_SLOW_SECONDS = _TRIAL_SECONDS = 2.0
_PLANE = 2  # spatial axes


def try_batches(
    engine: BundleEngine, folder: BundleFolder, facts: LoadedFacts, staging: Staging, settings: RuntimeSettings
) -> Batches:
    """Have the engine run batches together if that gives the same answers, sooner; return how many items at most.

    Args:
        engine: warm.
        folder: its bundle.
        facts: its inputs.
        staging: where inputs go.
        settings: the most items, and what a batch may add to the time of one of them.
    """
    if settings.batch_size < 2:
        return Batches(why="switched_off")
    specs = derive_inputs(folder.metadata, facts.inputs)
    if any(spec.kind == "image" and spec.spatial_dims != _PLANE for spec in specs):
        return Batches(why="volumes")
    try:
        engine.share()
        with ExitStack() as stack:
            samples = (sample_inputs(specs, folder.metadata, seed=seed) for seed in range(settings.batch_size))
            items = [stack.enter_context(staged(sample, staging)) for sample in samples]
            return _measured(engine, items, settings.batch_budget_ms / 1e3)
    except (ModelFailure, CannotShare) as reason:
        engine.run_alone()
        return Batches(why=str(reason) if isinstance(reason, CannotShare) else "not_prepared")


def _measured(engine: BundleEngine, items: Sequence[Item], budget_seconds: float) -> Batches:
    """Return the largest size that is about as good as the best. Raises CannotShare where sharing does not help."""
    begin = perf_counter()
    # A slow model is not run again to find out that it is slow (decision 69); a busy machine gets three tries.
    if engine.first_seconds > _SLOW_SECONDS or all(_seconds(engine, items[0]) > budget_seconds for _ in range(_ROUNDS)):
        raise CannotShare("slow")
    alone = [engine.run(item) for item in items]
    gains: dict[int, float] = {}
    for size in takewhile(lambda size: size <= len(items), (2, 4, 8, 16, 32, 64)):
        for one, shared in zip(alone, engine.run_together(items[:size]), strict=False):
            _require_same(one, shared)
        gains[size] = _gain(engine, items[:size])
        if perf_counter() - begin > _TRIAL_SECONDS:
            break
    best = max(gains.values())
    if best < _LEAST_GAIN:
        raise CannotShare("no_gain")
    size = max(size for size, gain in gains.items() if gain > _AS_GOOD * best)
    return Batches(size, round(gains[size], 2))


def _gain(engine: BundleEngine, items: Sequence[Item]) -> float:
    """Return how much sooner items are done together: the median of alternating rounds."""
    ratios = []
    for _ in range(_ROUNDS):
        begin = perf_counter()
        for item in items:
            engine.run(item)
        between = perf_counter()
        engine.run_together(items)
        ratios.append((between - begin) / (perf_counter() - between))
    return median(ratios)


def _seconds(engine: BundleEngine, item: Item) -> float:
    begin = perf_counter()
    engine.run(item)
    return perf_counter() - begin


def _require_same(alone: Prediction, shared: Prediction) -> None:
    """Raise CannotShare where an answer is not what it is alone, but for rounding."""
    same = [item.name for item in alone.arrays] == [item.name for item in shared.arrays]
    if not same or alone.values != shared.values or not all(map(close, alone.arrays, shared.arrays)):
        raise CannotShare("answers_differ")
