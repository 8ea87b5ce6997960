"""Quicker forms of a network: each gives eager's numbers, or is refused with a reason."""

import sys
from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from bedside.runtime import acceleration
from bedside.runtime.acceleration import CANDIDATES, Accelerated, Candidate, StaysEager, quicken
from bedside.settings import ACCELERATIONS


class Net(torch.nn.Module):
    """A small network that compares sizes, as MONAI's do, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.InstanceNorm3d(4), torch.nn.ReLU(), torch.nn.Conv3d(4, 2, 1)
        )
        self.calls = 0

    def forward(self, values: torch.Tensor, more: float = 0.0) -> torch.Tensor:
        """Run."""
        self.calls += 1
        hidden = self.layers(values)
        return hidden + more if hidden.shape[2:] == values.shape[2:] else hidden  # type: ignore[no-any-return]


class LooksAtValues(Net):
    """Branches on what it is given: a recording would keep one branch."""

    def forward(self, values: torch.Tensor, more: float = 0.0) -> torch.Tensor:
        """Run."""
        return super().forward(values, more) * (2 if bool(values.mean() > 0) else 1)


class GivesPair(Net):
    """Answers with two tensors."""

    def forward(self, values: torch.Tensor, more: float = 0.0) -> Any:
        """Run."""
        return super().forward(values, more), values


EXAMPLE = torch.rand(2, 1, 8, 9, 10, generator=torch.Generator().manual_seed(1))


def test_the_settings_name_every_candidate() -> None:
    """And no other."""
    assert tuple(CANDIDATES) == ACCELERATIONS


@pytest.mark.parametrize("name", ACCELERATIONS)
@torch.no_grad()
def test_a_quick_form_gives_eagers_numbers(name: str) -> None:
    """In batches of any size, with the geometry of what it was given."""
    for package in ("onnx", "onnxruntime", "openvino"):
        pytest.importorskip(package, reason="pip install 'bedside[accelerate]'")
    network = Net().eval()
    quick = quicken(network, name, EXAMPLE).eval()
    for batch in (EXAMPLE[:1], torch.cat([EXAMPLE, EXAMPLE * 2])):
        expected = network(batch)
        found = quick(MetaTensor(batch, affine=torch.diag(torch.tensor([2.0, 3, 4, 1]))))
        assert found.affine[1, 1] == 3
        torch.testing.assert_close(found.as_tensor(), expected, rtol=0, atol=CANDIDATES[name].apart * 5)


@torch.no_grad()
def test_what_was_not_tried_runs_as_before() -> None:
    """Another patch size, another type, a further argument: the network itself gets them, unchanged."""
    network = Net().eval()
    quick = Accelerated(network, lambda _: pytest.fail("not tried"), EXAMPLE)
    small = EXAMPLE[..., 1:]
    assert torch.equal(quick(small), network(small))
    assert torch.equal(quick(EXAMPLE, 1.0), network(EXAMPLE, 1.0))
    assert torch.equal(quick(EXAMPLE, more=1.0), network(EXAMPLE, 1.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda network, _: lambda values: network(values) * 1.01,
        lambda network, _: lambda values: network(values)[..., :1],
        lambda network, _: lambda values: network(values).double(),
        lambda network, _: lambda values: network(values) * float("nan"),
        lambda network, _: lambda values: network(values[:2]) if len(values) == 2 else network(values).flip(0),
    ],
    ids=["numbers", "shape", "type", "nan", "other_batch"],
)
def test_a_form_that_changes_the_answer_is_refused(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its numbers, shape or type, also where only a batch of another size shows it."""
    monkeypatch.setattr(acceleration, "CANDIDATES", {"wrong": Candidate(make, 1e-3)})
    with pytest.raises(StaysEager) as refused:
        quicken(Net().eval(), "wrong", EXAMPLE)
    assert refused.value.why == "answers_differ"


@pytest.mark.parametrize("name", ["freeze", "onnxruntime", "openvino"])
def test_a_network_that_looks_at_values_is_not_recorded(name: str) -> None:
    """The recording would be right for the example and wrong for a patient."""
    pytest.importorskip(name if name != "freeze" else "torch", reason="pip install 'bedside[accelerate]'")
    with pytest.raises(StaysEager) as refused:
        quicken(LooksAtValues().eval(), name, EXAMPLE)
    assert refused.value.why == "not_made"
    assert "leaves torch" in refused.value.detail


def test_a_network_of_two_answers_stays_eager() -> None:
    """Whatever it is."""
    with pytest.raises(StaysEager) as refused:
        quicken(GivesPair().eval(), "channels_last", EXAMPLE)
    assert refused.value.why in {"not_one_tensor", "not_made"}


def test_layouts_are_for_pictures_and_volumes() -> None:
    """A row of numbers has one layout."""
    with pytest.raises(StaysEager, match="not_made"):
        quicken(torch.nn.Linear(3, 2).eval(), "channels_last", torch.ones(1, 3))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_package_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StaysEager) as refused:
        quicken(Net().eval(), name, EXAMPLE)
    assert (refused.value.why, refused.value.detail) == ("not_installed", "pip install 'bedside[accelerate]'")
