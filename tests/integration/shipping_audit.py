"""Writes audit records through a trail that is shipped, as a server would; a process of its own for the tests.

Usage: python shipping_audit.py SETTINGS.toml RECORDS PER_SECOND
"""

import sys
import time
from pathlib import Path

from bedside.bootstrap.serving import make_audit
from bedside.observability.audit_lines import Record
from bedside.observability.events import AuditAction
from bedside.observability.metrics import Metrics
from bedside.observability.shipping import open_log, open_trail
from bedside.settings import load_settings
from bedside.types import Principal

BURST = 30
SOMEBODY = Principal("alice", "https://issuer", frozenset(), 4e9)


def main(config: str, records: int, per_second: int) -> None:
    """Write them."""
    settings, metrics = load_settings(Path(config)), Metrics()
    log, shipper, trail = open_log(settings, metrics), open_trail(settings, metrics), make_audit(settings, metrics)
    assert trail is not None
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    begin = time.monotonic()
    facts = {"transport": "rest", "operation": "predict", "outcome": "success"}
    for number in range(0, records, BURST):
        for record in range(number, number + BURST):
            varying = {"request_id": f"{record:032x}", "input_hash": "f" * 64, "rows": 1}
            trail.record(Record(AuditAction.MODEL_CALLED, SOMEBODY, facts, varying))
        time.sleep(max(0.0, begin + (number + BURST) / per_second - time.monotonic()))
    trail.close()
    shipper.close()
    log.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
