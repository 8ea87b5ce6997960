"""Which variables of the environment children see: lists of those allowed, never of those hidden.

A bundle's code may read its environment, and ``/proc/self/environ`` keeps what a process was started with; so the fork
server, from which all models' processes are forked, is started without the rest. A server that a command starts gets
its settings, and none of the command's credentials.
"""

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_NAMES = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})
_PREFIXES = ("LC_", "PYTHON", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_", "TORCH_", "PYTORCH_")
_SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "KEY", "AUTH")

_SERVER_NAMES = frozenset(
    {
        *("DOCKER_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"),
        # Where credentials are, and none of them: those in the variables are whoever's who runs the command.
        *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
        *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    }
)
_COMMANDS_NAMES = frozenset({"BEDSIDE_TOKEN", "BEDSIDE_URL", "BEDSIDE_CA"})

_starting = threading.Lock()


def allowed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that may be seen: those of the system, of Python, and of the numerical libraries."""
    return {name: value for name, value in environment.items() if _may_be_seen(name)}


def of_a_server(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables for a server that a command starts: its settings besides."""
    settings = {name: value for name, value in environment.items() if name.startswith("BEDSIDE_")}
    named = {name: environment[name] for name in _SERVER_NAMES & environment.keys()}
    found = allowed(environment) | settings | named
    return {name: value for name, value in found.items() if name not in _COMMANDS_NAMES}


@contextmanager
def reduced() -> Iterator[None]:
    """Reduce this process's environment for as long as a child is started.

    It imports nothing from the current folder: who serves a bundle from within its folder would else run what lies
    there as ``torch.py``, before anything is admitted and outside of every sandbox.
    """
    with _starting:
        before = dict(os.environ)
        for name in before.keys() - allowed(before).keys():
            del os.environ[name]
        os.environ["PYTHONSAFEPATH"] = "1"
        try:
            yield
        finally:
            del os.environ["PYTHONSAFEPATH"]
            os.environ.update(before)


def use_scratch(folder: Path) -> None:
    """Send caches and temporary files of libraries to where they are removed with the process."""
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        os.environ[name] = str(folder)
    tempfile.tempdir = str(folder)


def _may_be_seen(name: str) -> bool:
    known = name in _NAMES or name.startswith(_PREFIXES)
    return known and not any(word in name for word in _SECRET)
