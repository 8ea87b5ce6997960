"""What libraries took away is given back to bundles that need it, by name; the rest sees no change."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.handlers import ProbMapProducer
from monai.transforms import SaveImage

from bedside.errors import LoadFailed
from bedside.runtime import weights
from bedside.runtime.sampling import ONE_STEP
from bedside.runtime.shims import SHIMS, apply_shims

CPU = torch.device("cpu")
TABLE = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"


@pytest.fixture(autouse=True)
def _restore_libraries() -> Iterator[None]:
    """Undo what shims change in the libraries of this process."""
    names = set(dir(np))
    hub, module = torch.hub.load_state_dict_from_url, torch.nn.Module.load_state_dict
    load = torch.load
    yield
    for name in set(dir(np)) - names:
        delattr(np, name)
    torch.hub.load_state_dict_from_url, torch.load = hub, load
    torch.nn.Module.load_state_dict = module  # type: ignore[method-assign]


def test_every_shim_is_in_the_documentation() -> None:
    """The table for people names each, and no other."""
    documented = {line.split("`")[1] for line in TABLE.read_text().splitlines() if line.startswith("| `")}
    assert {shim.name for shim in SHIMS} | {weights.NUMPY_SHIM, ONE_STEP} == documented - {"torch.device('cuda')"}


def test_a_bundle_of_today_needs_none(tmp_path: Path) -> None:
    """Nothing is changed, so nothing is told."""
    config = {"network": {"_target_": "UNet"}, "x": "$np.prod([1, 2])"}
    assert apply_shims(config, tmp_path, CPU) == ()
    assert "product" not in dir(np)


def test_numpy_names_mean_what_they_meant(tmp_path: Path) -> None:
    """Found in the bundle's own code; only the names that it uses come back."""
    (tmp_path / "code.py").write_text("import numpy as np\nsize = np.product((2, 3))\n")
    assert apply_shims({}, tmp_path, CPU) == ("numpy-removed-names",)
    assert getattr(np, "product")((2, 3)) == 6  # noqa: B009 - ruff would write the name of today
    assert "cumproduct" not in dir(np)


@pytest.mark.parametrize(
    ("part", "expected", "name"),
    [
        ({"_target_": "SwinUNETR", "img_size": 96}, {"_target_": "SwinUNETR"}, "monai-removed-arguments"),
        (
            {"_target_": "UNETR", "pos_embed": "conv"},
            {"_target_": "UNETR", "proj_type": "conv"},
            "monai-removed-arguments",
        ),
        (
            {"_target_": "AddChanneld", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": "no_channel"},
            "monai-removed-transforms",
        ),
        (
            {"_target_": "AsChannelFirstd", "keys": "image", "channel_dim": 2},
            {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": 2},
            "monai-removed-transforms",
        ),
        (
            {"a": "$torch.load(x, map_location=torch.device('cuda'))", "device": "cuda:0"},
            {"a": "$torch.load(x, map_location=torch.device('cpu'))", "device": "cpu"},
            "cuda-in-configuration",
        ),
    ],
)
def test_configurations_are_brought_up_to_date(
    part: dict[str, Any], expected: dict[str, Any], name: str, tmp_path: Path
) -> None:
    """Arguments and classes that are gone, and devices that are not here."""
    config = {"parts": [part]}
    assert apply_shims(config, tmp_path, CPU) == (name,)
    assert config["parts"] == [expected]


def test_a_device_is_left_where_there_is_one(tmp_path: Path) -> None:
    """What asks whether CUDA is there needs no help, nor does a machine with CUDA."""
    asking = {"a": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')"}
    assert apply_shims(asking, tmp_path, CPU) == ()
    assert apply_shims({"device": "cuda:1"}, tmp_path, torch.device("cuda:0")) == ()


def test_a_plane_is_saved_as_nifti(tmp_path: Path) -> None:
    """MONAI 1.6.1 cannot, unless it resamples."""
    apply_shims({"a": {"_target_": "SaveImaged"}}, tmp_path, CPU)
    plane = MetaTensor(torch.ones(1, 20, 30), affine=torch.eye(4))
    saved = SaveImage(output_dir=tmp_path, output_ext=".nii.gz", print_log=False, separate_folder=False)(plane)
    assert saved is not None
    assert list(tmp_path.glob("*.nii.gz"))


def test_probabilities_of_one_element_are_numbers(tmp_path: Path) -> None:
    """MONAI's probability maps assign arrays of one element; NumPy 2.4 refuses that."""
    assert apply_shims({"a": {"_target_": "ProbMapProducer"}}, tmp_path, CPU) == ("numpy-one-element-arrays",)
    producer = ProbMapProducer(output_dir=str(tmp_path))
    producer.prob_map, producer.counter = {"slide": np.zeros((2, 2))}, {"slide": 2}
    image = SimpleNamespace(meta={"name": ["slide", "slide"], "mask_location": [(0, 0), (1, 1)]})
    state = SimpleNamespace(batch={"image": image}, output={"pred": np.array([[0.25], [0.75]])})
    producer(SimpleNamespace(state=state))
    assert np.load(next(tmp_path.glob("*.npy"))).tolist() == [[0.25, 0.0], [0.0, 0.75]]


def test_weights_are_not_downloaded_and_must_then_be_brought(tmp_path: Path) -> None:
    """A constructor keeps what it made; loading fails unless weights of the bundle are read afterwards."""
    assert apply_shims({"a": {"_target_": "X", "pretrained": True}}, tmp_path, CPU) == ("pretrained-downloads",)
    weights.read_to(CPU)
    network = torch.nn.Linear(1, 1)
    before = network.weight.clone()
    network.load_state_dict(torch.hub.load_state_dict_from_url("https://example.org/weights.pth"))
    assert torch.equal(network.weight, before)
    with pytest.raises(LoadFailed, match="brings none of its own"):
        weights.require_weights()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    network.load_state_dict(torch.load(tmp_path / "model.pt"))
    weights.require_weights()


def test_arrays_in_weights_are_data(tmp_path: Path) -> None:
    """NumPy arrays are let in, and told; other objects are refused as before."""
    weights.read_to(CPU)
    torch.save({"codes": np.arange(3)}, tmp_path / "arrays.pt")
    torch.save({"path": Path()}, tmp_path / "objects.pt")
    assert torch.load(tmp_path / "arrays.pt", map_location="cuda")["codes"].tolist() == [0, 1, 2]
    assert weights.applied == {weights.NUMPY_SHIM}
    with pytest.raises(Exception, match=r"[Ww]eights"):
        torch.load(tmp_path / "objects.pt")
