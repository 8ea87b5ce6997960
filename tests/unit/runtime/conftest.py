"""Bundles built in the test's own process."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import set_track_meta

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.bundle.metadata import Metadata
from bedside.bundle.policy import Policy
from bedside.runtime.building import BuiltBundle, build
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.types import DecodedRecord, ValidatedInputs


@pytest.fixture(autouse=True)
def _restore_process_state() -> Iterator[None]:
    """Undo what loading a bundle changes in its process."""
    yield
    set_track_meta(True)
    for name in [name for name in sys.modules if name.partition(".")[0] == "scripts"]:
        del sys.modules[name]


@pytest.fixture
def staging(settings: Settings) -> Iterator[Staging]:
    """Return a staging folder of the test's own."""
    staging = Staging(settings.runtime.staging_dir)
    yield staging
    staging.close()


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    """Return the folder for what bundles write."""
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@pytest.fixture
def build_one(bundles: Path, output_dir: Path) -> Callable[[str], BuiltBundle]:
    """Return what builds a test bundle by its name."""
    return lambda name: build(open_bundle(bundles / name), torch.device("cpu"), output_dir)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[str], BundleFolder]:
    """Return what makes a folder that holds an inference configuration and nothing else."""

    def make(config: str) -> BundleFolder:
        root = tmp_path / "bundle"
        (root / "configs").mkdir(parents=True)
        (root / "configs" / "inference.json").write_text(config)
        (root / "configs" / "metadata.json").write_text('{"version": "1.0.0"}')
        return BundleFolder(root, "bundle", Metadata(version="1.0.0"), Policy(), "sha256:0")

    return make


@pytest.fixture
def record() -> ValidatedInputs:
    """Return an item for the record bundles."""
    return ValidatedInputs((DecodedRecord("features", np.array([5, 1, 1], np.float32), {"age": 5}),))
