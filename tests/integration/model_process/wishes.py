"""A bundle that misbehaves on wish, in processes of its own, and what is seen of them."""

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from bedside.bundle.folder import open_bundle
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings
from bedside.types import DecodedRecord, ValidatedInputs

EXIT, HANG, RAISE, SEGFAULT, PRINT, WELL = 101.0, 102.0, 103.0, 104.0, 105.0, 5.0
LONG = 60.0
Serve = Callable[..., AbstractAsyncContextManager[ProcessExecutor]]


def record(first: float) -> ValidatedInputs:
    """Return a record whose first number is the wish of the misbehaving bundle."""
    return ValidatedInputs((DecodedRecord("features", np.array([first, 1, 1], np.float32), {}),))


def pids(executor: ProcessExecutor) -> list[int]:
    """Return the process ids of an executor's processes."""
    return [process._process.pid for process in executor._all if process._process and process._process.pid]


def gone(pid: int) -> bool:
    """Tell whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except FileNotFoundError:
        return True


def tell_imports(root: Path, folder: Path, told: Connection) -> None:
    """Load a bundle in this process, and tell which modules that imported."""
    from bedside.runtime.loading import load  # noqa: PLC0415 - torch, which the fork server has

    before = set(sys.modules)
    load(open_bundle(root), RuntimeSettings(device="cpu"), Staging(folder), folder)
    told.send(sorted(set(sys.modules) - before))
