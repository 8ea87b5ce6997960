"""Bundles of every make are loaded, run twice, and read their weights once; each is named after what it shows."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bedside.bundle.contract import derive_inputs
from bedside.bundle.folder import open_bundle
from bedside.bundle.sample import sample_inputs
from bedside.errors import InputNotProcessable, LoadFailed
from bedside.runtime.loading import item_of, load
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.types import DecodedValue, Prediction, ValidatedInputs


class Loaded:
    """A bundle that is loaded, and its own made-up input to run it with."""

    def __init__(self, root: Path, settings: Settings, staging: Staging, output_dir: Path) -> None:
        self.folder = open_bundle(root)
        self._staging = staging
        self.engine, self.facts = load(self.folder, settings.runtime, staging, output_dir)
        specs = derive_inputs(self.folder.metadata, self.facts.inputs)
        self._samples = sample_inputs(specs, self.folder.metadata).items

    def run(self, *others: DecodedValue) -> Prediction:
        """Run the made-up input, with other values than its own."""
        named = {other.name for other in others}
        inputs = ValidatedInputs((*(item for item in self._samples if item.name not in named), *others))
        staged = self._staging.put(inputs)
        try:
            return self.engine.run(item_of(inputs, staged.paths))
        finally:
            staged.remove()


Open = Callable[[str], Loaded]


@pytest.fixture
def opened(
    bundles: Path, settings: Settings, staging: Staging, output_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Open:
    """Return what loads a test bundle by name, as its own process would."""

    def open_one(name: str) -> Loaded:
        monkeypatch.setattr(sys, "path", [str(bundles / name), *sys.path])
        return Loaded(bundles / name, settings, staging, output_dir)

    return open_one


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("planes_of_a_volume", [("image", "image", 1, False)]),
        ("frames_by_bare_path", [("image", "image", 1, False)]),
        ("four_files", [("image", "image", 4, False)]),
        ("clicks", [("image", "image", 1, False), ("background", "value", 1, False), ("nucleus", "value", 1, True)]),
        ("prompt_shown", [("image", "image", 1, False), ("classes", "value", 1, True)]),
        ("label_wanted", [("image", "image", 1, False), ("label", "value", 1, True)]),
        ("image_with_mask", [("image", "image", 1, False), ("label", "image", 1, False)]),
        ("latent", [("features", "tensor", 1, False)]),
        ("own_dataset", [("image", "image", 1, False)]),
        ("stream_of_pairs", [("image", "image", 1, False)]),
        ("sampler", []),
    ],
)
def test_a_bundle_tells_what_goes_in_and_answers_again_without_its_weights(
    opened: Open, bundles: Path, name: str, inputs: list[tuple[str, str, int, bool]]
) -> None:
    """Name, kind, files, optional; the second run finds no file of weights, and needs none."""
    loaded = opened(name)
    assert [(fact.name, fact.kind, fact.files, fact.optional) for fact in loaded.facts.inputs] == inputs
    weights = bundles / name / "models" / "model.pt"
    hidden = weights.rename(weights.with_suffix(".hidden"))
    try:
        first, second = loaded.run(), loaded.run()
    finally:
        hidden.rename(weights)
    assert [(array.name, array.array.shape) for array in first.arrays] == [
        (array.name, array.array.shape) for array in second.arrays
    ]
    assert len(first.files) == len(second.files)
    assert first.arrays or first.files


def test_handlers_write_once_for_each_item(opened: Open) -> None:
    """A handler that counts patches and writes when the run ends starts anew with each request."""
    loaded = opened("own_dataset")
    (first,), (second,) = loaded.run().files, loaded.run().files
    assert (first.name, first.suffix) == ("result", ".json")
    assert json.loads(first.data) == json.loads(second.data)
    assert json.loads(first.data)["patches"] == len(json.loads(first.data)["rows"]) == 3
    assert loaded.run().arrays == ()  # its three outputs are parts of the file


def test_a_sampler_draws_again(opened: Open) -> None:
    """Two requests are two samples."""
    loaded = opened("sampler")
    (first,), (second,) = loaded.run().files, loaded.run().files
    assert first.suffix == ".npy"
    assert first.data != second.data


def test_a_result_named_by_the_data_folder_stays_in_the_output_folder(opened: Open, output_dir: Path) -> None:
    """A bundle that keeps the folders of its data in the names of its results writes beside nobody's files."""
    (file,) = opened("frames_by_bare_path").run().files
    assert (file.name, file.suffix) == ("input0", ".npy")
    assert not [path for path in output_dir.parent.rglob("*.npy") if not path.is_relative_to(output_dir)]


def test_clicks_reach_the_network(opened: Open) -> None:
    """Other clicks, another answer; none at all is the caller's fault."""
    loaded = opened("clicks")
    corner = loaded.run(DecodedValue("background", [[0, 0]])).arrays[0].array
    middle = loaded.run(DecodedValue("background", [[8, 8]])).arrays[0].array
    assert (corner != middle).any()
    with pytest.raises(InputNotProcessable):
        loaded.run(DecodedValue("background", []))


def test_an_example_that_the_bundle_shows_is_an_example(opened: Open) -> None:
    """It stands in the expression that makes the bundle's own items."""
    assert opened("prompt_shown").facts.inputs[1].example == [3]


def test_what_needs_cuda_is_refused_before_anything_is_built(opened: Open) -> None:
    """The message names the part."""
    with pytest.raises(LoadFailed, match="network_def uses flash attention"):
        opened("needs_cuda")


def test_a_missing_package_is_named_with_its_install_line(opened: Open) -> None:
    """Found by reading the bundle's code."""
    with pytest.raises(LoadFailed, match="pip install surely_not_installed"):
        opened("missing_package")
