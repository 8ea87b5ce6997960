"""``bedside serve``: what the command line decides before anything is loaded."""

from pathlib import Path

import pytest

from bedside.bundle.folder import open_bundle
from bedside.cli.serve import _named
from bedside.errors import ConfigurationError


def test_without_a_name_bundles_keep_their_folders(bundles: Path) -> None:
    """The folder is the model's address."""
    folders = [open_bundle(bundles / "record_classification")]
    assert _named(folders, None) == folders


def test_one_bundle_takes_the_name_that_is_given(bundles: Path) -> None:
    """KServe says the InferenceService's name; the folder is always /mnt/models."""
    (named,) = _named([open_bundle(bundles / "record_classification")], "heart")
    assert named.name == "heart"


def test_several_bundles_cannot_share_a_name(bundles: Path) -> None:
    """Only one of them would be reached."""
    folder = open_bundle(bundles / "record_classification")
    with pytest.raises(ConfigurationError, match="several"):
        _named([folder, folder], "heart")
