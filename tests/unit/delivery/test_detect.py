"""Which bundles changed between two commits, in real repositories."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bedside.delivery.detect import Change, as_json, detect, main
from bedside.errors import ConfigurationError

NOTHING = "0" * 40

Commit = Callable[[], str]


def git(repository: Path, *arguments: str) -> str:
    """Run git as nobody in particular."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(repository), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def bundle(repository: Path, name: str, content: str = "{}") -> Path:
    """Write the least that is a bundle."""
    root = repository / "apps" / name
    (root / "configs").mkdir(parents=True, exist_ok=True)
    (root / "configs" / "metadata.json").write_text(content)
    return root


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with the bundles ``ct`` and ``mr`` committed."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    bundle(tmp_path, "ct", '{"version": "ct"}')
    bundle(tmp_path, "mr", '{"version": "mr"}')
    (tmp_path / "README.md").write_text("a")
    return tmp_path


@pytest.fixture
def commit(repository: Path) -> Commit:
    """Return what commits everything and returns the commit."""

    def make() -> str:
        git(repository, "add", "--all")
        git(repository, "commit", "--quiet", "--message", "change")
        return git(repository, "rev-parse", "HEAD")

    return make


def test_on_the_first_push_every_bundle_is_new(repository: Path, commit: Commit) -> None:
    """GitHub gives zeros for the commit before it."""
    changes = detect(repository, NOTHING, commit())
    assert [(change.name, change.kind) for change in changes] == [("ct", "added"), ("mr", "added")]


def test_only_what_changed_is_named(repository: Path, commit: Commit) -> None:
    """A file in one bundle touches neither the other nor anything outside."""
    base = commit()
    bundle(repository, "ct", '{"version": "2"}')
    (repository / "README.md").write_text("b")
    assert detect(repository, base, commit()) == [Change("ct", "apps/ct", "modified")]


def test_no_bundle_changed(repository: Path, commit: Commit) -> None:
    """Documentation alone delivers nothing."""
    base = commit()
    (repository / "README.md").write_text("b")
    assert detect(repository, base, commit()) == []


def test_a_change_that_was_taken_back_is_none(repository: Path, commit: Commit) -> None:
    """Two commits of one push are looked at together."""
    base = commit()
    bundle(repository, "ct", '{"version": "2"}')
    commit()
    bundle(repository, "ct", '{"version": "ct"}')
    assert detect(repository, base, commit()) == []


def test_a_renamed_bundle_is_delivered_and_its_old_name_withdrawn(repository: Path, commit: Commit) -> None:
    """The name is the model's address, so the old one must go."""
    base = commit()
    (repository / "apps" / "ct").rename(repository / "apps" / "ct_lung")
    changes = detect(repository, base, commit())
    assert changes == [Change("ct_lung", "apps/ct_lung", "renamed", previous="ct")]
    assert json.loads(as_json(changes)) | {"changes": []} == {
        "changes": [],
        "deliver": ["ct_lung"],
        "withdraw": ["ct"],
    }


def test_renamed_and_changed_is_one_gone_and_one_new(repository: Path, commit: Commit) -> None:
    """What is not the same bundle under another name is not called one."""
    base = commit()
    (repository / "apps" / "ct").rename(repository / "apps" / "ct_lung")
    bundle(repository, "ct_lung", '{"version": "3"}')
    kinds = {change.name: change.kind for change in detect(repository, base, commit())}
    assert kinds == {"ct": "deleted", "ct_lung": "added"}


def test_a_deleted_bundle_is_withdrawn(repository: Path, commit: Commit) -> None:
    """A folder that lost its metadata is a bundle no longer, too."""
    base = commit()
    (repository / "apps" / "ct" / "configs" / "metadata.json").unlink()
    (repository / "apps" / "ct" / "notes.txt").write_text("a")
    changes = detect(repository, base, commit())
    assert changes == [Change("ct", "apps/ct", "deleted")]
    assert json.loads(as_json(changes))["withdraw"] == ["ct"]


def test_a_merge_is_what_it_brings(repository: Path, commit: Commit) -> None:
    """Seen from the branch before, a merge commit is the other side's changes."""
    base = commit()
    git(repository, "switch", "--quiet", "--create", "other")
    bundle(repository, "mr", '{"version": "2"}')
    commit()
    git(repository, "switch", "--quiet", "main")
    (repository / "README.md").write_text("b")
    base = commit()
    git(repository, "merge", "--quiet", "--no-ff", "--message", "merge", "other")
    assert detect(repository, base, "HEAD") == [Change("mr", "apps/mr", "modified")]


def test_after_a_forced_push_every_bundle_counts_as_new(repository: Path, commit: Commit) -> None:
    """The commit before may be unknown here; delivering once too often is the safe side."""
    head = commit()
    assert {change.kind for change in detect(repository, "a" * 40, head)} == {"added"}


def test_folders_that_are_no_bundles_are_left_alone(repository: Path, commit: Commit) -> None:
    """Nor are files beside them."""
    (repository / "apps" / "shared").mkdir()
    (repository / "apps" / "shared" / "labels.txt").write_text("a")
    (repository / "apps" / "README.md").write_text("a")
    assert {change.name for change in detect(repository, NOTHING, commit())} == {"ct", "mr"}


def test_a_name_with_letters_beyond_ascii_is_read_as_it_is(repository: Path, commit: Commit) -> None:
    """Git quotes such names unless it is asked not to."""
    base = commit()
    bundle(repository, "größe")
    assert [change.name for change in detect(repository, base, commit())] == ["größe"]


def test_a_repository_without_the_folder_has_no_bundles(repository: Path, commit: Commit) -> None:
    """Nothing to deliver is no error."""
    assert detect(repository, NOTHING, commit(), "models") == []


@pytest.mark.parametrize("name", ["--upload-pack=x", "", "a b", "a;b", "-a", "$(id)"])
def test_what_cannot_be_a_commit_never_reaches_git(repository: Path, name: str) -> None:
    """A branch's name comes from whoever opened the pull request."""
    with pytest.raises(ConfigurationError):
        detect(repository, NOTHING, name)


def test_an_unknown_head_is_an_error(repository: Path, commit: Commit) -> None:
    """Delivering nothing in silence would look like success."""
    commit()
    with pytest.raises(ConfigurationError, match="no commit here"):
        detect(repository, NOTHING, "b" * 40)


def test_the_module_prints_one_line_of_json(
    repository: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipeline reads it before it has installed anything."""
    head = commit()
    monkeypatch.chdir(repository)
    assert main([NOTHING, head]) == 0
    assert json.loads(capsys.readouterr().out)["deliver"] == ["ct", "mr"]
    assert main([NOTHING, "nowhere"]) == 1
    assert main([head]) == 2
