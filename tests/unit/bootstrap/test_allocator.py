"""What the server's process frees is the system's again."""

import subprocess
import sys
from pathlib import Path

import pytest

from bedside.bootstrap import allocator

_STUDY = """
import sys
from bedside.bootstrap.allocator import return_large_blocks
from bedside.runtime.peak import status_bytes

if sys.argv[1] == "True":
    assert return_large_blocks()
del (large := [bytes(20 << 20)])[0]  # from which glibc learns
before = status_bytes("VmRSS")
slices, headers = [], []
for _ in range(200):
    slices.append(b"s" * (256 << 10))
    headers.append(b"h" * 2000)
slices.clear()
print(status_bytes("VmRSS") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
def test_slices_are_given_back_although_their_headers_stay() -> None:
    """Nothing of 50 MB in slices stays; by itself, glibc keeps some for the next ones."""
    kept = {}
    for told in (True, False):
        run = [sys.executable, "-c", _STUDY, str(told)]
        kept[told] = int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    assert kept[True] < 1 << 20 < kept[False]


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of musl has no such call."""
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    assert not allocator.return_large_blocks()
