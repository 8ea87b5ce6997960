"""Whether a bundle's network runs in a quicker form: as its tune file says, after it has given eager's answer."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bedside.bundle.agreement import close
from bedside.bundle.folder import BundleFolder
from bedside.bundle.tuned import Machine, read_tuned
from bedside.runtime.acceleration import CANDIDATES, StaysEager, plain, quicken
from bedside.runtime.building import BuiltBundle
from bedside.runtime.facts import Acceleration
from bedside.types import OutputArray, Prediction

Run = Callable[[], Prediction]


def try_acceleration(built: BuiltBundle, folder: BundleFolder, setting: str, run: Run) -> Acceleration:
    """Have the evaluator run the form of its network that was chosen for it, where that gives the same answer.

    Args:
        built: the bundle; the network of its evaluator is replaced.
        folder: where it came from.
        setting: ``runtime.acceleration``.
        run: runs the sample.
    """
    machine = this_machine(built.device)
    try:
        name = _chosen(folder, setting, machine)
        _replace(built, folder, name, run)
    except StaysEager as reason:
        return Acceleration(why=reason.why, detail=reason.detail, machine=machine)
    return Acceleration(name, machine=machine)


def this_machine(device: torch.device) -> Machine:
    """Return what a choice is bound to."""
    processor = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()
    return Machine(torch.__version__, processor, torch.get_num_threads())


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


def _chosen(folder: BundleFolder, setting: str, machine: Machine) -> str:
    if setting == "off":
        raise StaysEager("switched_off")
    if setting != "auto":
        return setting
    try:
        tuned = read_tuned(folder.root)
    except ValueError:
        raise StaysEager("malformed") from None
    if tuned is None:
        raise StaysEager("not_tuned")
    if tuned.acceleration not in CANDIDATES:
        raise StaysEager("malformed")
    if not tuned.holds_for(folder.digest, machine):
        raise StaysEager("tuned_for_another")
    return tuned.acceleration


def _replace(built: BuiltBundle, folder: BundleFolder, name: str, run: Run) -> None:
    evaluator = built.evaluator
    if evaluator is None:
        raise StaysEager("several_iterations")
    network = evaluator.network
    example, expected = _watched(network, run)
    evaluator.network = quicken(network, name, example)
    try:
        _require_same(expected, run(), judged=(folder.root / "golden" / "cases.json").is_file())
    except Exception as error:
        evaluator.network = network
        raise error if isinstance(error, StaysEager) else StaysEager("not_made", type(error).__name__) from error


def _watched(network: torch.nn.Module, run: Run) -> tuple[torch.Tensor, Prediction]:
    """Run the sample; return the first tensor that the network gets, and the answer."""
    seen: list[tuple[Any, Any]] = []

    def look(_: Any, inputs: Any, more: Any) -> None:
        if not seen:
            seen.append((inputs, more))

    handle = network.register_forward_pre_hook(look, with_kwargs=True)
    try:
        expected = run()
    finally:
        handle.remove()
    inputs, more = seen[0] if seen else (None, None)
    if more or not inputs or len(inputs) > 1 or not isinstance(inputs[0], torch.Tensor):
        raise StaysEager("not_one_tensor")
    return plain(inputs[0]).detach().clone(), expected


def _require_same(eager: Prediction, quick: Prediction, *, judged: bool) -> None:
    """Compare the answers to the sample: their form where golden cases judge the rest, else all but rounding.

    The sample is noise, where a mask's border says nothing of how it is in an image.
    """
    same: Callable[[OutputArray, OutputArray], bool] = _same_form if judged else close
    names = [item.name for item in eager.arrays] == [item.name for item in quick.arrays]
    if not names or not all(map(same, eager.arrays, quick.arrays)) or (not judged and eager.values != quick.values):
        raise StaysEager("answers_differ", "on the sample")


def _same_form(left: OutputArray, right: OutputArray) -> bool:
    return (left.stored.shape, left.dtype, left.affine is None) == (
        right.stored.shape,
        right.dtype,
        right.affine is None,
    )
