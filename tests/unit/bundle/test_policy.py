"""``bedside.toml``, the optional policy beside a bundle."""

from pathlib import Path

import pytest

from bedside.bundle.policy import Policy, read_policy
from bedside.errors import InvalidBundle


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    """A process of its own, and the usual configuration file."""
    assert read_policy(tmp_path) == Policy(execution="process", config_files=())


def test_a_file_is_read(tmp_path: Path) -> None:
    """Both settings."""
    (tmp_path / "bedside.toml").write_text('execution = "inline"\nconfig_files = ["inference.yaml"]\n')
    assert read_policy(tmp_path) == Policy(execution="inline", config_files=("inference.yaml",))


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b'execution = "thread"', "bedside.toml#execution"),
        (b"executoin = 'inline'", "bedside.toml#executoin"),
        (b"config_files = 3", "bedside.toml#config_files"),
        (b"execution = ", "bedside.toml"),
        (b"\xff\xfe", "bedside.toml"),
        (b"x = " + b"[" * 50_000, "bedside.toml"),
    ],
)
def test_a_file_with_a_mistake_names_it(tmp_path: Path, content: bytes, field: str) -> None:
    """A misspelt setting must not silently be the default."""
    (tmp_path / "bedside.toml").write_bytes(content)
    with pytest.raises(InvalidBundle) as caught:
        read_policy(tmp_path)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("executoin = 'inline'", "executoin: no such setting; did you mean 'execution'?"),
        ("[inputs.image]\nleast_extend_mm = 3", "least_extend_mm: no such setting; did you mean 'least_extent_mm'?"),
        ("[dicom]\nqqq = 3", "dicom.qqq: no such setting; there are: "),
        ("[[dicom.series]]\ninputt = 'image'", "no such setting; did you mean 'input'?"),
    ],
)
def test_a_misspelt_setting_is_told_with_what_was_meant(tmp_path: Path, content: str, what: str) -> None:
    """At any depth, below names of the author's own as well."""
    (tmp_path / "bedside.toml").write_text(content)
    with pytest.raises(InvalidBundle) as caught:
        read_policy(tmp_path)
    assert what in caught.value.detail
