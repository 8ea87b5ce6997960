"""Ways of running one item through a bundle's own steps.

:class:`EvaluatorPass` calls the bundle's own engine for one iteration, so whatever a bundle's evaluator does (its own
``_iteration``, prompts, patches) happens. :class:`RunPass` evaluates the bundle's run expression with the item in place
of its data, for bundles in which more than one iteration over one item happens: datasets of their own, handlers that
write the answer when the run ends, samplers that have no engine. Networks and weights stay where they are in both.
"""

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, Protocol

from ignite.engine import Events
from monai.data import list_data_collate

from bedside.errors import InputNotProcessable, RunFailed
from bedside.runtime.building import BuiltBundle, runs_engine
from bedside.runtime.causes import told
from bedside.runtime.results import results_of
from bedside.runtime.saving import postprocessing_of


class Pass(Protocol):
    """A way of running one item."""

    def __call__(self, item: Any) -> tuple[Mapping[str, Any], dict[str, float]]:
        """Return the results by name and the seconds by stage."""
        ...


class EvaluatorPass:
    """One iteration of the bundle's own evaluator, without its data loader."""

    def __init__(self, built: BuiltBundle) -> None:
        self._built = built
        self._collate = getattr(built.evaluator.data_loader, "collate_fn", None) or list_data_collate

    def __call__(self, item: Any) -> tuple[Mapping[str, Any], dict[str, float]]:
        """Preprocess, iterate, and return what the engine's state holds."""
        begin = perf_counter()
        prepared = [preprocess(self._built, item)]
        ready = perf_counter()
        evaluator = self._built.evaluator
        try:
            evaluator.state.batch = self._collate(prepared)
            prepared.clear()  # the batch is a copy; MONAI's loader lets go of what it has collated, too
            evaluator.state.output = evaluator._iteration(evaluator, evaluator.state.batch)  # noqa: SLF001
            results = results_of(evaluator.state.output)
        except Exception as error:
            raise RunFailed(**told(error)) from error
        finally:
            # An engine keeps its last batch: somebody's images, and memory.
            evaluator.state.batch = evaluator.state.output = None
        return results, {"preprocess": ready - begin, "inference": perf_counter() - ready}


class RunPass:
    """The bundle's own run, from its first step to its last, with the item for data."""

    def __init__(self, built: BuiltBundle) -> None:
        self._built = built
        self._prepared = False

    def __call__(self, item: Any) -> tuple[Mapping[str, Any], dict[str, float]]:
        """Run, and return the output of the only iteration, or the value of the last step."""
        begin = perf_counter()
        configuration = self._built.configuration
        configuration.renew([item], draw_again=self._built.source is None)
        try:
            results = results_of(self._steps())
        except InputNotProcessable:
            raise
        except Exception as error:
            raise RunFailed(**told(error)) from error
        finally:
            configuration.forget(draw_again=self._built.source is None)
        return results, {"inference": perf_counter() - begin}

    def _steps(self) -> Any:
        configuration = self._built.configuration
        if not self._prepared:
            for step in configuration.steps("initialize"):
                configuration.resolve(step)
            self._prepared = True
        self._built.kept.re_point(None)
        outputs: list[Any] = []
        value = None
        for step in configuration.steps(configuration.run_id):
            if self._built.engine_id and runs_engine(configuration, step):
                self._look_at_data()
                self._watch(configuration.resolve(self._built.engine_id), outputs)
            value = configuration.resolve(step)
        if self._built.engine_id:
            return outputs[0] if len(outputs) == 1 else None  # one of many iterations is a part of the answer
        return value

    def _look_at_data(self) -> None:
        """Build the dataset: some look at the item then. Raises InputNotProcessable."""
        try:
            self._built.configuration.resolve(self._built.source.dataset if self._built.source else "")
        except Exception as error:
            raise InputNotProcessable(**told(error)) from error

    def _watch(self, engine: Any, outputs: list[Any]) -> None:
        self._built.load_once(engine)
        engine.network.to(self._built.device).eval()
        self._built.kept.re_point(postprocessing_of(engine))
        engine.data_loader = _Telling(engine.data_loader)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))


class _Telling:
    """A loader whose failures are the item's: told apart from those of the network."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._loader
        except Exception as error:
            raise InputNotProcessable(**told(error)) from error

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def preprocess(built: BuiltBundle, item: Any) -> Any:
    """Apply the bundle's own preprocessing to one item.

    Raises:
        InputNotProcessable: it raised, or gave several samples.
    """
    try:
        data = built.preprocessing(item) if built.preprocessing is not None else item
    except Exception as error:
        raise InputNotProcessable(**told(error)) from error
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if isinstance(data, list):
        raise InputNotProcessable(cause="TypeError", where="preprocessing gave several samples")
    return data
