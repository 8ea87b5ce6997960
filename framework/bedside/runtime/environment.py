"""Which variables of the server's environment its model processes see: a list of those allowed, never of those hidden.

A bundle's code may read its environment, and ``/proc/self/environ`` keeps what a process was started with; so the fork
server, from which all are forked, is started without the rest.
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

_starting = threading.Lock()


def allowed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that may be seen: those of the system, of Python, and of the numerical libraries."""
    return {name: value for name, value in environment.items() if _may_be_seen(name)}


@contextmanager
def reduced() -> Iterator[None]:
    """Reduce this process's environment for as long as a child is started."""
    with _starting:
        before = dict(os.environ)
        for name in before.keys() - allowed(before).keys():
            del os.environ[name]
        try:
            yield
        finally:
            os.environ.update(before)


def use_scratch(folder: Path) -> None:
    """Send caches and temporary files of libraries to where they are removed with the process."""
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        os.environ[name] = str(folder)
    tempfile.tempdir = str(folder)


def _may_be_seen(name: str) -> bool:
    known = name in _NAMES or name.startswith(_PREFIXES)
    return known and not any(word in name for word in _SECRET)
