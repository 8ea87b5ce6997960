"""Writes events at a steady rate through a log that ships them, as a server would; a process of its own for the tests.

Usage: python shipping_load.py SETTINGS.toml EVENTS PER_SECOND. Three events for each request id; prints what it cost.
"""

import json
import resource
import sys
import time
from pathlib import Path

from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics
from bedside.observability.shipping import open_log
from bedside.settings import load_settings

EVENTS_PER_REQUEST = 3
BURST = 30


def main(config: str, events: int, per_second: int) -> None:
    """Write them."""
    log = open_log(load_settings(Path(config)), Metrics())
    logger = get_logger("bedside.load").bind()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    begin, before, slowest = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    for number in range(0, events, BURST):
        for event in range(number, number + BURST):
            request, place = divmod(event, EVENTS_PER_REQUEST)
            told = time.monotonic()
            logger.info(Event.RESULT_DELIVERED, job=f"{request:032x}", attempt=place)
            slowest = max(slowest, time.monotonic() - told)
        time.sleep(max(0.0, begin + (number + BURST) / per_second - time.monotonic()))
    seconds = time.monotonic() - begin
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    log.close()
    cost = {"seconds": seconds, "lost": log.lost_lines, "grown_kib": grown, "slowest_ms": slowest * 1e3}
    sys.stdout.write(json.dumps(cost) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
