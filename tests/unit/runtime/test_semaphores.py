"""Semaphores of ``multiprocessing`` without a name."""

import subprocess
import sys

_USES = """
import _multiprocessing, multiprocessing, threading
from multiprocessing.pool import ThreadPool
from bedside.runtime import semaphores
assert _multiprocessing.SemLock is not semaphores._UnnamedSemaphore
semaphores.keep_in_memory()
multiprocessing.set_start_method("forkserver")
with ThreadPool(4) as pool:
    assert sorted(pool.map(lambda n: n * n, range(100))) == [n * n for n in range(100)]
lock = multiprocessing.Lock()
assert lock.acquire() and not lock.acquire(timeout=0.01)
lock.release()
try:
    lock.release()
except ValueError:
    pass
else:
    raise AssertionError("released more often than acquired")
with multiprocessing.RLock() as _, multiprocessing.Semaphore(2) as _:
    event = multiprocessing.Event()
    threading.Thread(target=event.set).start()
    assert event.wait(30)
assert lock._semlock.name is None
print("used")
"""


def test_pools_of_threads_and_locks_work_without_a_name() -> None:
    """Pool, lock, reentrant lock, semaphore and event do what they do elsewhere, and none has a name."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _USES], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("used", 0), done.stderr[-2000:]
