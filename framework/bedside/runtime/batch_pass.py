"""Several items in one iteration of a bundle's evaluator, as its own data loader with a larger ``batch_size`` gives.

Preprocessing and postprocessing stay what they are, item by item; MONAI collates before the network and decollates
after it. That each item is answered as it is alone is not taken for granted: ``batch_trial`` looks at load.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from monai.data import list_data_collate

from bedside.errors import InputNotProcessable, ModelFailure
from bedside.runtime.building import BuiltBundle
from bedside.runtime.passes import preprocess
from bedside.runtime.results import is_array, results_of
from bedside.types import OutputArray

Ran = tuple[Mapping[str, Any], list[OutputArray], dict[str, float]]
"""Results by name, what the savers kept, and seconds by stage: of time that was shared, the item's share."""

_MOST_AXES = 3
"""Of what goes together: channels and two axes in space. A volume fills a processor, and memory, by itself."""


class CannotShare(Exception):
    """Items cannot share a run; the text is a key of ``facts.WHY_ALONE``."""


class BatchPass:
    """Runs items together, those whose prepared arrays are of one shape."""

    def __init__(self, built: BuiltBundle) -> None:
        self._built = built
        self._collate = getattr(built.evaluator.data_loader, "collate_fn", None) or list_data_collate

    def __call__(self, items: Sequence[Any]) -> list[Ran | ModelFailure]:
        """Return what came of each item.

        Raises:
            Exception: of any kind, where the items cannot go together, or one of them fails in the network.
        """
        outcomes: dict[int, Ran | ModelFailure] = {}
        groups: dict[Any, list[tuple[int, Any, float]]] = defaultdict(list)
        for number, item in enumerate(items):
            begin = perf_counter()
            try:
                data = preprocess(self._built, item)
            except InputNotProcessable as failure:
                outcomes[number] = failure
            else:
                groups[_form(data)].append((number, data, perf_counter() - begin))
        for group in groups.values():
            begin = perf_counter()
            ran = self._iterate([data for _, data, _ in group])
            share = (perf_counter() - begin) / len(group)
            for (number, _, seconds), (results, kept) in zip(group, ran, strict=True):
                outcomes[number] = (results, kept, {"preprocess": seconds, "inference": share})
        return [outcomes[number] for number in range(len(items))]

    def _iterate(self, prepared: list[Any]) -> list[tuple[Mapping[str, Any], list[OutputArray]]]:
        evaluator = self._built.evaluator
        try:
            evaluator.state.batch = self._collate(prepared)
            output = evaluator._iteration(evaluator, evaluator.state.batch)  # noqa: SLF001
            if not isinstance(output, list) or len(output) != len(prepared):
                raise CannotShare("no_result_each")
            kept = self._built.kept.take_each(len(prepared))
        finally:
            self._built.kept.take()
            # An engine keeps its last batch: somebody's images, and memory.
            evaluator.state.batch = evaluator.state.output = None
        return [(results_of([one]), mine) for one, mine in zip(output, kept, strict=True)]


def _form(data: Any) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    """Return names, shapes and types of an item's arrays. Raises CannotShare where one is a volume."""
    values = data.items() if isinstance(data, Mapping) else [("", data)]
    form = tuple(sorted((str(name), tuple(value.shape), str(value.dtype)) for name, value in values if is_array(value)))
    if any(len(shape) > _MOST_AXES for _, shape, _ in form):
        raise CannotShare("volumes")
    return form
