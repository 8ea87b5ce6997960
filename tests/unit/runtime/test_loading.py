"""From a folder to a warm engine and the facts for its contract."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.errors import InputNotProcessable, LoadFailed
from bedside.runtime import loading
from bedside.runtime.assembly import assemble
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.loading import _on_grid, item_of, load
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.types import DecodedArray, DecodedImage, DecodedRecord, DecodedValue, OutputArray, ValidatedInputs

Load = Callable[[str], LoadedFacts]


@pytest.fixture
def facts_of(bundles: Path, settings: Settings, staging: Staging, output_dir: Path) -> Load:
    """Return what loads a test bundle and tells its facts."""
    return lambda name: load(open_bundle(bundles / name), settings.runtime, staging, output_dir)[1]


def test_a_volume_bundle_tells_its_input_and_output(facts_of: Load) -> None:
    """A volume of one channel in; a mask on the same grid out."""
    facts = facts_of("volume_segmentation")
    (image,), (pred,) = facts.inputs, facts.outputs
    assert (image.name, image.reads_file, image.channels) == ("image", True, (1,))
    assert (pred.name, pred.dtype, pred.has_geometry, pred.like_input) == ("pred", "uint8", True, "image")
    assert facts.device == "cpu"


def test_channels_are_found_by_trying(facts_of: Load) -> None:
    """A bundle that reduces colour to grey takes any of grey, alpha and colour."""
    assert facts_of("plane_classification").inputs[0].channels == (1, 2, 3, 4)


def test_missing_numbers_are_found_by_trying(facts_of: Load) -> None:
    """Each number that the bundle can do without is nullable."""
    (record,) = facts_of("record_classification").inputs
    assert (record.reads_file, record.nullable) == (False, (True, True, True))


def test_nothing_is_left_in_the_staging_folder(facts_of: Load, staging: Staging) -> None:
    """The made-up images of the warm-up are removed."""
    facts_of("volume_segmentation")
    assert list(staging._root.iterdir()) == []


def test_facts_survive_the_way_to_the_server(facts_of: Load) -> None:
    """JSON and back gives the same facts, hence the same contract."""
    facts = facts_of("record_classification")
    assert LoadedFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_the_contract_is_put_together_from_folder_and_facts(bundles: Path, facts_of: Load) -> None:
    """Names come from the metadata, nullability from the run."""
    folder = open_bundle(bundles / "record_classification")
    contract = assemble(folder, facts_of("record_classification"))
    assert (contract.model, contract.version, contract.digest) == ("record_classification", "1.2.0", folder.digest)
    assert [(f.name, f.nullable) for f in contract.inputs[0].features] == [
        ("age", True),
        ("chol", True),
        ("thalach", True),
    ]
    assert contract.metrics == {"accuracy": 0.8}


@pytest.mark.parametrize(
    ("name", "text"), [("missing_weights", "model.pt"), ("broken_configuration", "JSONDecodeError: Unterminated")]
)
def test_what_is_missing_is_named(facts_of: Load, name: str, text: str) -> None:
    """No patient is involved yet, so the exception's own text is told."""
    with pytest.raises(LoadFailed, match=text):
        facts_of(name)


def test_a_missing_package_comes_with_the_command_that_installs_it(
    facts_of: Load, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MONAI hides ModuleNotFoundError in errors of its own; the name is found all the same."""
    monkeypatch.syspath_prepend(str(bundles / "missing_package"))
    with pytest.raises(LoadFailed, match="pip install surely_not_installed"):
        facts_of("missing_package")


def test_a_first_run_that_fails_tells_its_cause(facts_of: Load, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward pass that raises on a made-up input is a bundle that cannot be served."""
    monkeypatch.syspath_prepend(str(bundles / "misbehaving"))
    monkeypatch.setattr(loading, "item_of", lambda *_: {"features": np.array([103, 1, 1], np.float32)})
    with pytest.raises(LoadFailed, match="ValueError"):
        facts_of("misbehaving")


def test_an_error_without_a_text_is_named_by_its_class(facts_of: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """``assert`` and its like give no text."""

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(loading, "build", refuse)
    with pytest.raises(LoadFailed, match="AssertionError"):
        facts_of("record_classification")


def test_an_error_of_ours_without_a_cause_keeps_its_words(facts_of: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice is not followed by an empty pair of brackets."""

    def refuse(*_: object) -> None:
        raise InputNotProcessable("no such thing", field="image")

    monkeypatch.setattr(loading, "build", refuse)
    with pytest.raises(LoadFailed) as caught:
        facts_of("record_classification")
    assert (caught.value.detail, caught.value.field) == ("no such thing", "image")


def test_channels_that_nobody_states_are_not_tried(
    bundles: Path, settings: Settings, staging: Staging, output_dir: Path
) -> None:
    """Where the metadata has no channel count, the contract binds none."""
    folder: BundleFolder = open_bundle(bundles / "volume_segmentation")
    tensor = folder.metadata.inputs["image"].model_copy(update={"num_channels": None})
    metadata = folder.metadata.model_copy(update={"inputs": {"image": tensor}})
    _, facts = load(replace(folder, metadata=metadata), settings.runtime, staging, output_dir)
    assert facts.inputs[0].channels == ()


def test_a_class_that_the_network_never_gives_is_refused(
    bundles: Path, settings: Settings, staging: Staging, output_dir: Path
) -> None:
    """Its probabilities would come without names, and nobody would know."""
    folder = open_bundle(bundles / "record_classification")
    (tensor,) = folder.metadata.outputs.values()
    named = tensor.model_copy(update={"channel_def": {**tensor.channel_def, "2": "unclear"}})
    metadata = folder.metadata.model_copy(update={"outputs": {"pred": named}})
    with pytest.raises(LoadFailed, match=r"outputs\.pred\.channel_def names 3 classes, and the model gave 2 numbers"):
        load(replace(folder, metadata=metadata), settings.runtime, staging, output_dir)


def test_threads_are_set_before_the_first_run(facts_of: Load, settings: Settings) -> None:
    """Two threads that spin beside other load cost more than they give."""
    torch.set_num_threads(2)
    facts_of("record_classification")
    assert torch.get_num_threads() == settings.runtime.threads


def test_an_item_is_paths_and_vectors() -> None:
    """What the bundle's preprocessing gets: a path for an image, float32 numbers for a record, the rest as it is."""
    record = DecodedRecord("features", np.ones(2, np.float32), {"age": 1})
    image = DecodedImage("image", b"", ".nii", (1, 1, 1), 3, 1, "uint8")
    latent = DecodedArray("latent", np.zeros((1, 64)))
    inputs = ValidatedInputs((image, record, DecodedValue("points", [[1, 2, 3]]), latent))
    item = item_of(inputs, {"image": "/staging/input0.nii"})
    assert item["image"] == "/staging/input0.nii"
    assert item["features"] is record.values
    assert item["points"] == [[1, 2, 3]]
    assert item["latent"] is latent.values


@pytest.mark.parametrize(
    ("shape", "affine", "expected"),
    [
        ((4, 5, 6), np.eye(4), True),
        ((4, 5, 6, 3), np.eye(4), True),
        ((4, 5, 7), np.eye(4), False),
        ((4, 5, 6), np.diag([2.0, 1.0, 1.0, 1.0]), False),
        ((4, 5, 6), None, False),
    ],
)
def test_a_result_lies_on_the_inputs_grid_where_shape_and_affine_say_so(
    shape: tuple[int, ...], affine: NDArray[np.float64] | None, *, expected: bool
) -> None:
    """Both must agree, and channels may follow."""
    image = DecodedImage("image", b"", ".nii", (4, 5, 6), 3, 1, "uint8", np.eye(4))
    assert _on_grid(OutputArray("pred", np.zeros(shape), affine), image) is expected


def test_grids_without_geometry_are_told_by_shape() -> None:
    """A mask of a PNG lies on its grid."""
    image = DecodedImage("image", b"", ".png", (4, 5), 2, 1, "uint8")
    assert _on_grid(OutputArray("pred", np.zeros((4, 5))), image)


@pytest.mark.parametrize(("patience", "shown"), [(0.0, 1), (3600.0, 4)])
def test_a_slow_network_that_took_an_input_is_not_shown_others(
    breaking_behind: Callable[[], None], monkeypatch: pytest.MonkeyPatch, patience: float, shown: int
) -> None:
    """What fails behind a network fails of every form of the input, each as slowly; a quick one is shown them all."""
    items: list[object] = []

    def counted(*args: Any) -> Any:
        items.append(args)
        return item_of(*args)

    monkeypatch.setattr(loading, "_SLOW_SECONDS", patience)
    monkeypatch.setattr(loading, "item_of", counted)
    with pytest.raises(LoadFailed, match="ZeroDivisionError"):
        breaking_behind()
    assert len(items) == shown


def test_a_failure_names_the_packages_that_the_bundle_had_in_other_versions(
    breaking_behind: Callable[[], None],
) -> None:
    """Of what it says it needs: another release of the same is named with both, a patch and what is absent are not."""
    with pytest.raises(LoadFailed, match=rf"it was made with pillow 1\.0\.0 \({version('pillow')} here\)$"):
        breaking_behind()


@pytest.fixture
def breaking_behind(
    bundles: Path, tmp_path: Path, settings: Settings, staging: Staging, output_dir: Path
) -> Callable[[], None]:
    """Return what loads a bundle whose postprocessing divides by zero."""
    root = tmp_path / "breaking_behind"
    shutil.copytree(bundles / "plane_classification", root)
    configuration = json.loads((root / "configs" / "inference.json").read_text())
    broken = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda pred: 1 // 0"}
    configuration["postprocessing"]["transforms"].append(broken)
    (root / "configs" / "inference.json").write_text(json.dumps(configuration))
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    patch = ".".join([*version("numpy").split(".")[:2], "99"])
    metadata["required_packages_version"] = {"pillow": "1.0.0", "numpy": patch, "surely_not_installed": "1.0"}
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return lambda: (load(open_bundle(root), settings.runtime, staging, output_dir), None)[1]
