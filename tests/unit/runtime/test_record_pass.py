"""The lean ways of running a record: taken only where they give the bundle's own bits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambdad

from bedside.errors import InputNotProcessable, RunFailed
from bedside.runtime.building import BuiltBundle
from bedside.runtime.engine import BundleEngine
from bedside.runtime.passes import EvaluatorPass
from bedside.runtime.record_pass import RecordGraph, RecordSteps, _batched, recorded
from bedside.types import OutputArray, Prediction

Build = Callable[[str], BuiltBundle]
Record = dict[str, Any]
Step = Callable[[Any], Any]

SECRET = "DOE^JOHN"


def record(*values: float) -> Record:
    """Return a record."""
    return {"features": np.array(values or (5, 1, 1), np.float32)}


def records(count: int = 24) -> list[Record]:
    """Return records that all differ, each third one with a missing value."""
    values = np.random.default_rng(0).normal(0, 100, (count, 3)).astype(np.float32)
    for number in range(0, count, 3):
        values[number, number % 2] = np.nan
    return [{"features": row} for row in values]


def answered(lean: RecordGraph | RecordSteps, item: Record) -> np.ndarray[Any, Any]:
    """Return what a lean way answers."""
    found = lean(dict(item))
    return found.arrays[0].array if isinstance(found, Prediction) else np.asarray(found[0]["pred"])


def prepared_by(built: BuiltBundle, step: Step) -> BuiltBundle:
    """Return the bundle with another preprocessing: one function."""
    return replace(built, preprocessing=Compose([Lambdad("features", step, overwrite="image", track_meta=False)]))


def failing(_: Any) -> Any:
    """Raise what a bundle might, with a patient's name in it."""
    raise ValueError(SECRET)


@pytest.mark.parametrize("way", [RecordGraph, RecordSteps])
def test_a_lean_way_gives_the_evaluators_bits(build_one: Build, way: type[RecordGraph | RecordSteps]) -> None:
    """Each lean way equals the bundle's own evaluator bit for bit, also where values are missing."""
    built = build_one("record_classification")
    lean = way(built, record())
    answers = set()
    for item in records():
        usual, _ = EvaluatorPass(built)(dict(item))
        result = answered(lean, item)
        assert result.tobytes() == usual["pred"].numpy().tobytes()
        answers.add(result.tobytes())
    assert len(answers) == len(records())


@pytest.mark.parametrize("planned", [True, False], ids=["planned", "interpreted"])
def test_an_answer_is_its_own_memory(build_one: Build, monkeypatch: pytest.MonkeyPatch, *, planned: bool) -> None:
    """The next records, which run in memory planned ahead, change no answer given before; nor need torch plan ahead."""
    if not planned:
        monkeypatch.delattr(torch._C, "_jit_to_static_module")
    built = build_one("record_classification")
    lean = RecordGraph(built, record())
    answers = [answered(lean, item) for item in records()]
    for item, answer in zip(records(), answers, strict=True):
        usual, _ = EvaluatorPass(built)(dict(item))
        assert answer.tobytes() == usual["pred"].numpy().tobytes()


def test_plain_configuration_runs_as_one_graph(build_one: Build) -> None:
    """Steps made of torch's functions are recorded whole."""
    engine = BundleEngine(build_one("record_classification"))
    engine.warm_up(record())
    assert engine.use_record_pass(records())
    assert isinstance(engine._pass, RecordGraph)


def test_a_bundle_that_writes_files_is_not_recorded_whole(build_one: Build) -> None:
    """A recording repeats no side effects: each record would be answered without its file."""
    built = build_one("record_classification")

    def saving(values: Any) -> torch.Tensor:
        (built.output_dir / "answer.txt").write_text("for each record")
        return torch.nan_to_num(torch.as_tensor(values))

    engine = BundleEngine(prepared_by(built, saving))
    assert engine.warm_up(record()).files
    assert engine.use_record_pass(records())
    assert isinstance(engine._pass, RecordSteps)
    assert all(engine.run(dict(item)).files for item in records())


@pytest.mark.parametrize(
    "step",
    [
        lambda x: torch.as_tensor(np.nan_to_num(torch.as_tensor(x).numpy()) / 10),
        lambda x: torch.nan_to_num(torch.as_tensor(x)) / float(torch.as_tensor(x).nansum()),
        lambda x: torch.tensor(torch.nan_to_num(torch.as_tensor(x)).tolist()),
        lambda x: torch.nan_to_num(torch.as_tensor(x)) * (2 if bool((torch.as_tensor(x) > 200).any()) else 1),
        lambda x: torch.as_tensor(np.clip(np.nan_to_num(np.asarray(x)), -200, 200)),
    ],
    ids=["numpy", "float", "tolist", "branch", "numpy_function"],
)
def test_steps_that_leave_torch_are_called_not_recorded(build_one: Build, step: Step) -> None:
    """A recording would answer every record with values or ways of the sample's; it is refused, the answer is right."""
    built = prepared_by(build_one("record_classification"), step)
    engine = BundleEngine(built)
    engine.warm_up(record())
    assert engine.use_record_pass([record()])  # one sample shows no difference: the refusal must not depend on it
    assert isinstance(engine._pass, RecordSteps)
    for item in records():
        (answer,) = engine.run(dict(item)).arrays
        usual, _ = EvaluatorPass(built)(dict(item))
        np.testing.assert_array_equal(answer.array, usual["pred"].numpy())


def test_an_evaluator_of_the_bundles_own_keeps_its_way(build_one: Build) -> None:
    """Whatever a subclass does in an iteration is done."""
    built = build_one("record_classification")
    built.evaluator.__class__ = type("Own", (type(built.evaluator),), {})
    assert not BundleEngine(built).use_record_pass([record()])


def test_mixed_precision_keeps_the_evaluators_way(build_one: Build) -> None:
    """Autocast belongs to the evaluator."""
    built = build_one("record_classification")
    built.evaluator.amp = True
    assert not BundleEngine(built).use_record_pass([record()])


@pytest.mark.parametrize("differs", ["values", "raises"])
def test_a_lean_way_that_differs_is_not_taken(build_one: Build, monkeypatch: pytest.MonkeyPatch, differs: str) -> None:
    """Other bits, or an error, and every run goes through the evaluator."""

    def other(way: Any, _item: Any) -> Any:
        if differs == "raises":
            raise RunFailed
        zeros = np.zeros(2, np.float32)
        return Prediction((OutputArray("pred", zeros),)) if isinstance(way, RecordGraph) else ({"pred": zeros}, {})

    engine = BundleEngine(build_one("record_classification"))
    monkeypatch.setattr(RecordGraph, "__call__", other)
    monkeypatch.setattr(RecordSteps, "__call__", other)
    expected = engine.run(record()).arrays[0].array
    assert not engine.use_record_pass([record()])
    np.testing.assert_array_equal(engine.run(record()).arrays[0].array, expected)


def test_a_record_without_postprocessing_is_what_the_network_says(build_one: Build) -> None:
    """Logits stay logits."""
    built = build_one("record_classification")
    for handlers in built.evaluator._event_handlers.values():
        handlers[:] = [entry for entry in handlers if "postprocessing" not in getattr(entry[0], "__name__", "")]
    engine = BundleEngine(built)
    assert engine.use_record_pass([record()])
    (output,) = engine.run(record()).arrays
    expected = built.evaluator.network(torch.tensor([[0.5, 0.1, 0.1]]))[0].detach().numpy()
    np.testing.assert_array_equal(output.array, expected)


@pytest.mark.parametrize(("way", "attribute"), [(RecordGraph, "_run"), (RecordSteps, "_network")])
def test_a_run_that_raises_tells_where_and_not_what(build_one: Build, way: type[Any], attribute: str) -> None:
    """Class and place are told; the text, which may quote the record, is not."""
    lean = way(build_one("record_classification"), record())
    setattr(lean, attribute, failing)
    with pytest.raises(RunFailed) as caught:
        lean(record())
    assert (caught.value.cause, "failing" in caught.value.where) == ("ValueError", True)
    assert SECRET not in repr(caught.value.args) + caught.value.where


def test_preprocessing_that_raises_is_the_inputs_fault(build_one: Build) -> None:
    """Where the steps are called one by one, it is known which of them refused the record."""
    lean = RecordSteps(build_one("record_classification"), record())
    lean.before = failing
    with pytest.raises(InputNotProcessable) as caught:
        lean(record())
    assert SECRET not in repr(caught.value.args) + caught.value.where


def test_a_batch_of_one_is_made_of_numbers_and_leaves_texts() -> None:
    """What the evaluator's collation would do for one record."""
    assert _batched(torch.zeros(3)).shape == (1, 3)
    assert _batched(np.zeros(3)).shape == (1, 3)
    assert _batched("text") == "text"


class _Branching(torch.nn.Linear):
    """A network whose way depends on its data."""

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """Double what is positive."""
        result = super().forward(data)
        return result * 2 if bool(result.sum() > 0) else result


@pytest.mark.parametrize(("network", "is_recorded"), [(torch.nn.Linear(3, 2), True), (_Branching(3, 2), False)])
def test_only_a_network_that_does_not_branch_on_data_is_recorded(
    network: torch.nn.Module, *, is_recorded: bool
) -> None:
    """A recording of a branch would be a wrong answer for every input that takes the other one."""
    kept = recorded(network.eval(), torch.ones(1, 3))

    assert (kept is not network) == is_recorded
    for values in (torch.ones(1, 3), -torch.ones(1, 3)):
        assert torch.equal(kept(values), network(values))
