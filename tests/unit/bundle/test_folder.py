"""A bundle as a folder: found, recognised, digested; nothing of it is executed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bedside.bundle.folder import BundleFolder, find_bundles, inference_config, open_bundle, tree_digest
from bedside.errors import ConfigurationError, InvalidBundle


@pytest.fixture
def root(tmp_path: Path, bundles: Path) -> Path:
    """Return a bundle that a test may change."""
    return Path(shutil.copytree(bundles / "record_classification", tmp_path / "heart"))


def test_a_bundle_is_recognised(root: Path) -> None:
    """Its name is the folder's, its version the metadata's."""
    folder = open_bundle(root)
    assert (folder.root, folder.name, folder.metadata.version) == (root, "heart", "1.2.0")
    assert folder.config_files == (root / "configs" / "inference.json",)
    assert folder.digest.startswith("sha256:")


def test_a_relative_path_is_made_absolute(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory may change afterwards."""
    monkeypatch.chdir(root)
    assert open_bundle(Path()).root == root


@pytest.mark.parametrize("name", ["-dash", "two words", "a/b".replace("/", "?"), "x" * 129, "käse", "_x"])
def test_a_name_that_cannot_be_an_address_is_refused(root: Path, name: str) -> None:
    """The folder's name is part of every URL of the model."""
    with pytest.raises(InvalidBundle, match="address"):
        open_bundle(root.rename(root.with_name(name)))


def test_without_an_inference_configuration_it_is_refused(root: Path) -> None:
    """The file is named."""
    (root / "configs" / "inference.json").unlink()
    with pytest.raises(InvalidBundle, match=r"inference\.json"):
        open_bundle(root)


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml"])
def test_the_configuration_may_be_json_or_yaml(root: Path, suffix: str) -> None:
    """The specification allows both."""
    path = root / "configs" / f"inference.{suffix}"
    (root / "configs" / "inference.json").rename(path)
    assert inference_config(root) == path


def test_the_policy_may_name_several_configurations(root: Path) -> None:
    """In the order in which MONAI merges them; each must be there."""
    (root / "bedside.toml").write_text('config_files = ["inference.json", "trt.json"]')
    with pytest.raises(InvalidBundle, match=r"trt\.json") as caught:
        open_bundle(root)
    assert caught.value.field == "trt.json"
    (root / "configs" / "trt.json").write_text("{}")
    assert [path.name for path in open_bundle(root).config_files] == ["inference.json", "trt.json"]


def test_the_policy_may_name_no_configuration_outside(root: Path) -> None:
    """It would be served without being part of the digest."""
    shutil.copy(root / "configs" / "inference.json", root.parent / "other.json")
    (root / "bedside.toml").write_text('config_files = ["../../other.json"]')
    with pytest.raises(InvalidBundle, match="must lie in the bundle"):
        open_bundle(root)


def _change_a_byte(root: Path) -> None:
    path = root / "models" / "model.pt"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _swap_contents(root: Path) -> None:
    docs, metadata = root / "docs" / "README.md", root / "configs" / "metadata.json"
    first, second = docs.read_bytes(), metadata.read_bytes()
    docs.write_bytes(second)
    metadata.write_bytes(first)


@pytest.mark.parametrize(
    "change",
    [
        _change_a_byte,
        _swap_contents,
        lambda root: (root / "docs" / "README.md").rename(root / "docs" / "readme.md"),
        lambda root: (root / "docs" / "README.md").unlink(),
        lambda root: (root / "scripts.py").write_text(""),
        lambda root: (root / "bedside.toml").write_text(""),
    ],
)
def test_any_byte_or_name_changes_the_digest(root: Path, change: Callable[[Path], object]) -> None:
    """Weights, configuration, documentation and policy are all part of what is served."""
    before = tree_digest(root)
    change(root)
    assert tree_digest(root) != before


@pytest.mark.parametrize("name", ["__pycache__/net.pyc", "scripts/__pycache__/a.pyc", ".git/HEAD"])
def test_what_a_run_leaves_behind_does_not_change_the_digest(root: Path, name: str) -> None:
    """Bytecode and version control are no content."""
    before = tree_digest(root)
    (root / name).parent.mkdir(parents=True)
    (root / name).write_text("left behind")
    assert tree_digest(root) == before


def test_the_digest_does_not_depend_on_where_the_bundle_lies(root: Path, bundles: Path) -> None:
    """A copy is the same bundle."""
    assert tree_digest(root) == tree_digest(bundles / "record_classification")


def test_bundles_are_found_directly_and_one_level_below(bundles: Path) -> None:
    """A folder of bundles is all of its bundles, in alphabetical order."""
    below = find_bundles([bundles])
    assert [path.name for path in below] == sorted(path.name for path in bundles.iterdir())
    assert find_bundles([bundles / "misbehaving"]) == [bundles / "misbehaving"]


def test_a_bundle_that_is_named_twice_is_served_once(bundles: Path) -> None:
    """``bedside serve apps apps/heart`` means heart once."""
    assert len(find_bundles([bundles, bundles / "misbehaving"])) == len(find_bundles([bundles]))


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_a_path_without_a_bundle_is_refused(tmp_path: Path, kind: str) -> None:
    """A typing error is told at the start, not by a server without models."""
    path = tmp_path / kind
    if kind == "file":
        path.write_text("")
    elif kind == "empty":
        path.mkdir()
    with pytest.raises(ConfigurationError, match=kind):
        find_bundles([path])


def test_metadata_must_be_there(root: Path) -> None:
    """Without it the folder is no bundle."""
    (root / "configs" / "metadata.json").unlink()
    with pytest.raises(InvalidBundle, match=r"metadata\.json"):
        open_bundle(root)


def test_a_path_with_a_typing_error_is_told_as_such(tmp_path: Path) -> None:
    """Not as a bundle that lacks its metadata."""
    with pytest.raises(InvalidBundle, match=r"there is no folder .*/spelen"):
        open_bundle(tmp_path / "spelen")


@pytest.mark.parametrize("name", ["models/x", "configs/metadata.json", "bedside.toml", "models/deep/x"])
def test_a_pipe_in_a_bundle_is_refused_unread(root: Path, name: str) -> None:
    """Reading it would wait for ever."""
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).unlink(missing_ok=True)
    os.mkfifo(root / name)
    with pytest.raises(InvalidBundle) as caught:
        open_bundle(root)
    assert caught.value.field in {name, Path(name).name}


@pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd", "/", "../outside", "x"])
def test_a_link_that_leaves_the_bundle_is_refused(root: Path, target: str) -> None:
    """What it leads to is not part of what was delivered; a link to itself leads nowhere."""
    (root.parent / "outside").mkdir()
    (root / "models" / "x").symlink_to(root.parent / "outside" if target == "../outside" else target)
    with pytest.raises(InvalidBundle) as caught:
        open_bundle(root)
    assert caught.value.field == "models/x"


def test_a_link_within_the_bundle_is_its_content(root: Path) -> None:
    """As Kubernetes mounts a ConfigMap; one to a device in the version control's folder is not."""
    (root / "models" / "best.pt").symlink_to("model.pt")
    assert open_bundle(root).digest == tree_digest(root)
    (root / ".git").mkdir()
    os.mkfifo(root / ".git" / "pipe")
    assert open_bundle(root).digest == tree_digest(root)
    (root / "models" / "pipe").symlink_to("../.git/pipe")
    with pytest.raises(InvalidBundle, match="models/pipe"):
        open_bundle(root)


def test_a_folder_that_is_no_bundle_is_not_walked(tmp_path: Path) -> None:
    """``bedside bundle inspect /`` says at once that it is none, whatever lies below it."""
    (tmp_path / "x").symlink_to("/")
    with pytest.raises(InvalidBundle, match=r"metadata\.json is missing"):
        open_bundle(tmp_path)


def test_a_folder_is_a_value(root: Path) -> None:
    """It can be sent to a model's process and compared."""
    folder: BundleFolder = open_bundle(root)
    assert folder == open_bundle(root)
    assert json.loads(folder.metadata.model_dump_json())["version"] == "1.2.0"


def test_a_bundle_can_be_served_under_another_name(bundles: Path) -> None:
    """KServe mounts every bundle at the same place; the content, and so the digest, is the same."""
    folder = open_bundle(bundles / "record_classification")
    renamed = folder.named("heart-2")
    assert (renamed.name, renamed.digest, renamed.root) == ("heart-2", folder.digest, folder.root)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "-a"])
def test_a_name_that_is_no_address_is_refused(bundles: Path, name: str) -> None:
    """It would stand in every path."""
    with pytest.raises(ConfigurationError):
        open_bundle(bundles / "record_classification").named(name)
