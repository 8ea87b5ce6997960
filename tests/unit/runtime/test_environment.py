"""What model processes see of the server's environment."""

import os
import tempfile
from pathlib import Path

import pytest

from bedside.runtime import environment


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "LC_ALL", "PYTHONHASHSEED", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"],
)
def test_what_libraries_need_may_be_seen(name: str) -> None:
    """The system's, Python's and the numerical libraries' variables."""
    assert environment.allowed({name: "value"}) == {name: "value"}


@pytest.mark.parametrize(
    "name",
    [
        "BEDSIDE_AUTH__ISSUER",
        "BEDSIDE_LOG__PSEUDONYM_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "AZURE_CLIENT_SECRET",
        "KUBERNETES_SERVICE_HOST",
        "DATABASE_URL",
        "HF_TOKEN",
        "HTTPS_PROXY",
        "PYTHON_KEYRING_PASSWORD",
        "TORCH_HUB_TOKEN",
        "LD_PRELOAD",
    ],
)
def test_everything_else_is_hidden(name: str) -> None:
    """A list of what may be seen: nobody knows the names of all secrets."""
    assert environment.allowed({name: "secret"}) == {}


def test_the_environment_is_reduced_only_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is started within sees what it may; afterwards all is back, also after a failure."""
    monkeypatch.setenv("BEDSIDE_LOG__PSEUDONYM_KEY", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = dict(os.environ)
    with environment.reduced():
        assert "BEDSIDE_LOG__PSEUDONYM_KEY" not in os.environ
        assert os.environ["OMP_NUM_THREADS"] == "1"
    assert dict(os.environ) == before
    with pytest.raises(KeyError), environment.reduced():
        raise KeyError
    assert dict(os.environ) == before


def test_temporary_files_go_into_the_scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so do caches below the home folder."""
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", None)
    environment.use_scratch(tmp_path)
    assert (tempfile.gettempdir(), str(Path.home())) == (str(tmp_path), str(tmp_path))
