"""What the sources offer: recognised or listed with the reason, and kept while a source is away."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from bedside.bundle.folder import find_bundles
from bedside.errors import BedsideError, ConfigurationError, SourceUnavailable
from bedside.registry.finding import UNKNOWN_VERSION, Finder, examine


class Source:
    """Offers what the test says."""

    def __init__(self, *roots: Path) -> None:
        self.roots: list[Path] = list(roots)
        self.error: BedsideError | None = None
        self.location = "test"

    def fetch(self) -> Sequence[Path]:
        """Offer, or fail."""
        if self.error:
            raise self.error
        return self.roots


def bundle(bundles: Path, root: Path, version: str = "1.2.0") -> Path:
    """Put a bundle into a folder."""
    shutil.copytree(bundles / "record_classification", root)
    path = root / "configs" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": version}))
    return root


def test_versions_lie_side_by_side_under_their_models_name(bundles: Path, tmp_path: Path) -> None:
    """``NAME/VERSION``: the name is the folder's above, the version the metadata's."""
    for version in ("1.2.0", "1.3.0"):
        bundle(bundles, tmp_path / "heart" / version, version)
    bundle(bundles, tmp_path / "lung")
    found = Finder([Source(*find_bundles([tmp_path]))]).find()
    assert [(one.name, one.version) for one in found] == [("heart", "1.2.0"), ("heart", "1.3.0"), ("lung", "1.2.0")]
    assert all(one.folder is not None and one.folder.digest == "" for one in found)
    assert [examine(root).name for root in find_bundles([tmp_path / "heart"])] == ["heart", "heart"]
    assert examine(tmp_path / "heart" / "1.3.0").name == "heart"


def test_a_folder_with_another_version_than_its_metadata_is_refused(bundles: Path, tmp_path: Path) -> None:
    """Somebody copied a folder and forgot the metadata: the old version must not be served under the new number."""
    one = examine(bundle(bundles, tmp_path / "heart" / "1.3.0", "1.2.0"))
    assert (one.name, one.version, one.folder) == ("heart", "1.3.0", None)
    assert one.reason == "the folder is called 1.3.0, but metadata.json says version 1.2.0"
    assert examine(bundle(bundles, tmp_path / "heart" / "v2.0", "2.0")).folder is not None


@pytest.mark.parametrize("version", ["1.0\r\nx: y", "a/b", "", "1 0", "x" * 129])
def test_a_version_that_cannot_be_an_address_is_refused(bundles: Path, tmp_path: Path, version: str) -> None:
    """It is part of addresses and of header fields."""
    one = examine(bundle(bundles, tmp_path / "heart", version))
    assert (one.folder, one.version) == (None, UNKNOWN_VERSION)
    assert "version must be" in one.reason


@pytest.mark.parametrize("defect", ["metadata", "configuration", "pipe"])
def test_what_is_no_bundle_is_found_with_its_reason(bundles: Path, tmp_path: Path, defect: str) -> None:
    """The server lists it, and serves the others."""
    root = bundle(bundles, tmp_path / "heart")
    if defect == "metadata":
        (root / "configs" / "metadata.json").write_text("{")
    elif defect == "configuration":
        (root / "configs" / "inference.json").unlink()
    else:
        shutil.rmtree(root)  # it has gone since it was found
    one = examine(root)
    assert (one.name, one.version, one.folder) == ("heart", UNKNOWN_VERSION, None)
    assert one.reason


def test_a_name_that_cannot_be_an_address_is_listed_all_the_same(bundles: Path, tmp_path: Path) -> None:
    """Under a name that can."""
    one = examine(bundle(bundles, tmp_path / "two words"))
    assert (one.name, one.folder) == ("two_words", None)


def test_two_bundles_at_one_address_are_both_refused(bundles: Path, tmp_path: Path) -> None:
    """Neither has the better claim; a third one is not touched."""
    roots = [bundle(bundles, tmp_path / place / "heart") for place in ("a", "b")]
    heart, lung = Finder([Source(*roots), Source(bundle(bundles, tmp_path / "lung"))]).find()
    assert (heart.folder, heart.reason[:11]) == (None, "two bundles")
    assert lung.folder is not None


def test_touching_a_file_changes_the_fingerprint(bundles: Path, tmp_path: Path) -> None:
    """And nothing else does."""
    root = bundle(bundles, tmp_path / "heart")
    before = examine(root).fingerprint
    assert examine(root).fingerprint == before
    path = root / "models" / "model.pt"
    path.write_bytes(path.read_bytes())
    assert examine(root).fingerprint != before


def test_a_source_that_does_not_answer_keeps_what_it_offered(bundles: Path, tmp_path: Path) -> None:
    """A share that is away for a moment takes no model with it; it is told, until it answers again."""
    told: list[object] = []
    source = Source(bundle(bundles, tmp_path / "heart"))
    finder = Finder([source], lambda failed, _error: told.append(failed))
    assert len(finder.find()) == 1
    source.error = SourceUnavailable()
    assert len(finder.find()) == 1
    assert (told, finder.failures) == ([source], {0: source.error})
    source.error = None
    source.roots = []
    assert finder.find() == []
    assert finder.failures == {}


def test_one_model_may_be_given_another_name(bundles: Path, tmp_path: Path) -> None:
    """KServe mounts every bundle at the same place; of several models, nobody could tell which one is meant."""
    source = Source(bundle(bundles, tmp_path / "models"), tmp_path / "gone")
    with pytest.raises(ConfigurationError, match="several models"):
        Finder([source], model_name="heart").find()
    del source.roots[1]
    (one,) = Finder([source], model_name="heart").find()
    assert one.folder is not None
    assert (one.name, one.folder.name) == ("heart", "heart")
    source.roots[:] = [tmp_path / "gone"]
    (one,) = Finder([source], model_name="heart").find()
    assert (one.name, one.folder) == ("heart", None)
