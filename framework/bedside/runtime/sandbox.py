"""Confines a model's process before anything of its bundle is imported, unpickled or run.

Layers, each used where the platform allows it and named where it is: what one kernel lacks another may have, and who
operates the server sees which of them hold (docs/isolation.md). None of them needs a capability; those that a container
gave are dropped.
"""

import ctypes
import os
import resource
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import bedside
from bedside.environment import use_scratch
from bedside.errors import LoadFailed
from bedside.runtime import landlock, libc, seccomp, semaphores

LAYERS = ("no_new_privileges", "capabilities", "network_namespace", "files", "system_calls")
"""All layers, in the order in which they are put on."""

REQUIRED = ("no_new_privileges", "capabilities", "files", "system_calls")
"""What ``runtime.sandbox = "require"`` asks for: the network namespace needs a privilege, and system calls deny the
network without it."""

MAX_FILE_BYTES = 1 << 30
"""Largest file that a model's process may write."""

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWNET, _CLONE_NEWIPC = 0x40000000, 0x08000000
_OOM_SCORE = 500  # of 1000: before the server and what else is on the machine

_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/opt", "/sys", "/etc/ld.so.cache", "/etc/localtime", "/etc/timezone"),
    *("/etc/OpenCL", "/etc/vulkan", "/etc/mime.types", "/etc/alternatives"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/devices", "/proc/version", "/proc/filesystems"),
    *("/proc/sys", "/proc/driver", "/proc/modules", "/proc/uptime", "/proc/loadavg"),
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "nvidia*", "dri", "kfd", "nvidia-caps")


@dataclass(frozen=True, slots=True)
class Room:
    """What a model's process may reach.

    Attributes:
        private: its folder, made by the server; only ``output`` and ``tmp`` in it can be written.
        readable: the bundle, the choice beside it of how it runs, and what the site adds (``runtime.readable_paths``).
    """

    private: Path
    readable: tuple[Path, ...]

    @property
    def inputs(self) -> Path:
        """Return where the server puts the inputs of requests."""
        return self.private / "inputs"

    @property
    def output(self) -> Path:
        """Return the folder for files that the bundle writes by design."""
        return self.private / "output"

    @property
    def scratch(self) -> Path:
        """Return the folder for temporary files."""
        return self.private / "tmp"

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.inputs, self.output, self.scratch):
            folder.mkdir(mode=0o700)


def confine(room: Room, mode: str) -> tuple[str, ...]:
    """Put on every layer that this platform has; return their names.

    Call it on the only thread of a process: what is confined is the thread and those that it starts.

    Args:
        room: what may be reached.
        mode: ``auto``; ``require`` to fail where one of ``REQUIRED`` cannot be had; ``off`` for none.

    Raises:
        LoadFailed: the mode is ``require`` and a layer is missing; nothing of the bundle has been touched.
    """
    _limit_resources()
    use_scratch(room.scratch)
    if mode == "off":
        return ()
    steps: dict[str, Callable[[], None]] = {
        "network_namespace": _leave_network,
        "no_new_privileges": _refuse_privileges,
        "capabilities": _drop_capabilities,
        "files": lambda: _restrict_files(room),
        "system_calls": _filter_calls,
    }
    held = {name for name, step in steps.items() if _succeeds(step)}
    missing = [name for name in REQUIRED if name not in held]
    if missing and mode == "require":
        raise LoadFailed(f"runtime.sandbox is 'require', and this platform lacks: {', '.join(missing)}")
    return tuple(name for name in LAYERS if name in held)


def offer_to_the_kernel() -> None:
    """Let the kernel end this process before the server when memory runs out."""
    place = Path("/proc/self/oom_score_adj")
    with suppress(OSError, ValueError):
        place.write_text(str(max(int(place.read_text()), _OOM_SCORE)))


def keep_only(descriptors: Iterable[int]) -> None:
    """Point every other open descriptor at the null device: closed ones would be taken by the next file."""
    kept = set(descriptors)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in _open_descriptors():
        if descriptor not in kept and descriptor != null:
            os.dup2(null, descriptor, inheritable=descriptor <= 2)
    os.close(null)


def _open_descriptors() -> list[int]:
    try:
        listed = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    except OSError:
        listed = list(range(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 4096)))
    return [descriptor for descriptor in listed if _is_open(descriptor)]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _limit_resources() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the patient
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = MAX_FILE_BYTES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILE_BYTES)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _succeeds(step: Callable[[], None]) -> bool:
    try:
        step()
    except (OSError, AttributeError):
        return False
    return True


def _leave_network() -> None:
    libc.call("unshare", _CLONE_NEWNET | _CLONE_NEWIPC)  # a network without any device, not even loopback


def _refuse_privileges() -> None:
    libc.call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _drop_capabilities() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        with suppress(OSError):  # one who has none may not drop what he could not get back anyway: no_new_privs
            libc.call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    libc.call("capset", header, (ctypes.c_uint32 * 6)())


def _restrict_files(room: Room) -> None:
    if not landlock.version():
        raise OSError("no Landlock")
    rights = {
        landlock.READ: [*_installed(), *map(Path, _SYSTEM), *room.readable, room.private, Path(f"/proc/{os.getpid()}")],
        landlock.WRITE: [room.output, room.scratch],
        landlock.USE: [*_devices(), Path(f"/proc/{os.getpid()}/clear_refs")],
    }
    landlock.restrict(rights)
    semaphores.keep_in_memory()  # named ones would be files in /dev/shm


def _installed() -> Iterator[Path]:
    yield from (Path(sys.prefix), Path(sys.base_prefix), *map(Path, bedside.__path__))
    yield from (Path(place) for place in sysconfig.get_paths().values())


def _devices() -> list[Path]:
    return [path for pattern in _DEVICES for path in Path("/dev").glob(pattern)]


def _filter_calls() -> None:
    if not seccomp.supported():
        raise OSError("no filter for this architecture")
    seccomp.install()
