"""Processes as /proc tells them: CPU time and memory of a whole tree, cores, how busy everybody else is."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """Return the process and all its descendants, as far as they are there."""
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(_children(pid))
    return found


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (task / "children").read_text().split())


def cpu_seconds(root: int) -> float:
    """Return user and system time of the tree, with that of children who have ended and were waited for."""
    return sum(_cpu_seconds(pid) for pid in tree(root))


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        # proc(5): the name in parentheses may hold spaces; utime, stime, cutime, cstime are fields 14 to 17.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICK
    return 0.0


def pss_megabytes(pid: int) -> float:
    """Return the proportional set size: pages shared by n processes count 1/n in each, so that sums are right."""
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


class Peak:
    """The most that a process holds from now on, over what it holds now.

    Args:
        pid: the process.
    """

    def __init__(self, pid: int) -> None:
        self._folder = _PROC / str(pid)
        self._before = self._resident("VmRSS")
        (self._folder / "clear_refs").write_text("5")  # the peak begins anew (proc(5))

    def bytes(self) -> int:
        """Return it in bytes."""
        return self._resident("VmHWM") - self._before

    def _resident(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def command(pid: int) -> str:
    """Return a process's command line, "" where it has gone."""
    with suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def pin(root: int, cores: Sequence[int]) -> None:
    """Keep every thread of the tree on these cores."""
    for pid in tree(root):
        with suppress(OSError):
            for task in (_PROC / str(pid) / "task").iterdir():
                with suppress(OSError):
                    os.sched_setaffinity(int(task.name), cores)


@dataclass(frozen=True, slots=True)
class Busy:
    """CPU seconds of the whole machine since it started: used, and stolen by the hypervisor."""

    used: float
    stolen: float

    @staticmethod
    def now() -> "Busy":
        """Read /proc/stat."""
        user, nice, system, _idle, _wait, irq, soft, steal = map(
            int, (_PROC / "stat").read_text().splitlines()[0].split()[1:9]
        )
        return Busy((user + nice + system + irq + soft) / _TICK, steal / _TICK)


class Server:
    """One server under test, in a process group of its own.

    Args:
        arguments: command line.
        environment: added to this process's own.
        log: file that takes standard output; standard error goes beside it (``.err``).
        folder: working directory.
    """

    def __init__(
        self, arguments: Sequence[str], environment: dict[str, str], log: Path, folder: Path | None = None
    ) -> None:
        self.started = monotonic()
        self.log = log
        self.errors = log.with_suffix(".err")
        with log.open("wb") as output, self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={**os.environ, **environment},
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the id of the first process."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Tell whether it has ended by itself."""
        return self._process.poll() is not None

    def end(self) -> None:
        """Ask it to end, wait, and end what is left of its tree."""
        pids = tree(self.pid)
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        for pid in pids:
            with suppress(ProcessLookupError):
                # Still of our session: the number has not been given to somebody else meanwhile.
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)


def pause_until(deadline: float, step: float = 0.02) -> None:
    """Sleep one step, never beyond the deadline (``time.monotonic``)."""
    sleep(max(0.0, min(step, deadline - monotonic())))
