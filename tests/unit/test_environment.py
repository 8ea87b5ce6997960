"""What model processes see of the server's environment."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bedside import environment


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


def test_a_child_imports_nothing_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server, too, which Python starts with that folder first: there may lie a bundle's ``torch.py``."""
    (tmp_path / "hostile.py").write_text("open('ran', 'w').close()")
    (tmp_path / "signal.py").write_text("open('ran', 'w').close()")  # what starting needs as well
    monkeypatch.chdir(tmp_path)
    script = """if __name__ == "__main__":
        import multiprocessing
        from multiprocessing import forkserver
        from bedside import environment
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["hostile"])
        with environment.reduced():
            forkserver.ensure_running()
        process = context.Process(target=print, args=("has run",))
        process.start()
        process.join()
    """
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bedside").write_text(script)  # as an installed command, it has its own folder first
    done = subprocess.run([sys.executable, "bin/bedside"], capture_output=True, text=True, check=True)
    assert done.stdout == "has run\n"
    assert not (tmp_path / "ran").exists()


def test_a_server_gets_its_settings_and_no_credentials_of_the_command() -> None:
    """Bedside's own settings may be secrets; a pipeline's token and keys are not its own."""
    kept = {
        "BEDSIDE_LOG__PSEUDONYM_KEY": "x",
        "PATH": "x",
        "AWS_PROFILE": "x",
        "AWS_CA_BUNDLE": "x",
        "DOCKER_CONFIG": "x",
        "HTTPS_PROXY": "x",
    }
    hidden = {"BEDSIDE_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "x", "GITHUB_TOKEN": "x", "KUBECONFIG": "x"}
    assert environment.of_a_server(kept | hidden) == kept


def test_temporary_files_go_into_the_scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so do caches below the home folder."""
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", None)
    environment.use_scratch(tmp_path)
    assert (tempfile.gettempdir(), str(Path.home())) == (str(tmp_path), str(tmp_path))
