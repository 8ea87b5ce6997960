"""Looks after a gate: ``python -m bedside.delivery.watch SITE``, with a pipe from the gate for its standard input.

A gate that ends in any way of its own says so. One that is killed (``kill -9``, out of memory) says nothing, and the
pipe ends: then its canary loses the weight that it was given. The next command on the site would do the same; this one
does not wait for it. Until then only the standard library is loaded, for the gate measures times meanwhile.
"""

import sys
import time
from pathlib import Path

GRACE_SECONDS = 10.0
"""A process closes its pipes some moments before it counts as ended."""


def main(folder: Path) -> None:
    """Wait for the end of the gate, and take its canary's weight back."""
    if sys.stdin.buffer.read():
        return
    from bedside.delivery.local import Site  # noqa: PLC0415 - see above

    site, deadline = Site(folder), time.monotonic() + GRACE_SECONDS
    while site.mend() and time.monotonic() < deadline:
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
