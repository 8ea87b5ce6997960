"""What memory this process has and had, as the kernel counts it."""

from contextlib import suppress
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc_pid_clear_refs(5)


def status_bytes(name: str) -> int:
    """Return a size of this process: ``VmRSS``, ``VmHWM`` (its peak), ``VmData``. Raises OSError where none is told."""
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name}")


def forget_peak() -> None:
    """Let the peak begin anew at what is resident now; where the kernel cannot, it goes on."""
    with suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
