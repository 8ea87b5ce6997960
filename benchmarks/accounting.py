"""``python -m benchmarks.accounting``: CPU of stage 9 per call, by where log and spans go (docs/shipping.md).

Of the thread that answers, and of the whole process: the log's writer and the shipper have threads of their own. The
calls are those of a record: eight stages, one caller, all well. Elasticsearch and the collector are not there:
what a client has to do with a batch is done by :class:`_Taken` and :class:`_Encoded`.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bedside.dataplane.call import Call
from bedside.log_settings import ElasticSettings, LogSettings
from bedside.observability.accounting import Accountant
from bedside.observability.logging import configure
from bedside.observability.metrics import Metrics
from bedside.observability.otlp.collector import Collector
from bedside.observability.otlp.recorder import Recorder
from bedside.observability.request_id import new_request_id
from bedside.observability.shipping.shipper import Shipper
from bedside.observability.shipping.spool import Spool, SpooledLine
from bedside.observability.shipping.verdicts import Verdict
from bedside.otlp_settings import TracingSettings
from bedside.settings import Settings
from bedside.types import Principal

CALLS = 20_000
ROUNDS = 5
SECONDS = 4  # that a round takes
CASES = (
    *(("stdout", None, CALLS), ("elasticsearch", None, CALLS), ("both", None, CALLS)),
    *(("stdout", None, CALLS // 10), ("stdout", 1.0, CALLS // 10)),  # at a tenth of the pace: nine spans a call
)
STAGES = ("receive", "authenticate", "resolve", "decode", "validate", "queue", "run", "encode")


class _Taken:
    """Takes every batch, and does the work on it that a client's request would."""

    def send(self, batch: Sequence[SpooledLine]) -> Verdict:
        body = b"".join(b'{"create":{"_id":"%s"}}\n%s\n' % (entry.id.encode(), entry.line) for entry in batch)
        assert body
        json.loads(json.dumps({"items": [{"create": {"status": 201}}] * len(batch)}))
        return Verdict(len(batch), (), None)

    def close(self) -> None:
        pass


class _Encoded(Collector):
    """Takes every batch, encoded as it would be sent."""

    def send(self, message: bytes) -> bytes:
        """Take it."""
        assert message
        return b""


def call() -> Call:
    """Return a call that has ended well."""
    ended = Call(request_id=new_request_id(), transport="rest", operation="infer")
    ended.model, ended.version, ended.digest, ended.device = "heart_disease", "1.0.0", "sha256:" + "0" * 64, "cpu"
    ended.principal = Principal("caller", "https://issuer.example", frozenset({"bedside.infer"}), 0.0)
    ended.rows, ended.input_bytes, ended.output_bytes = 1, 300, 200
    ended.stages = dict.fromkeys(STAGES, 0.00012)
    return ended


def measure(sink: str, ratio: float | None, count: int, folder: Path) -> tuple[float, float]:
    """Return microseconds of CPU per call: of the answering thread, of the process; no tracing where ratio is None."""
    tracer = None
    shipper = spool = None
    if sink != "stdout":
        settings = ElasticSettings(urls=("http://127.0.0.1:9",))
        spool = Spool(folder, settings.spool_bytes)
        shipper = Shipper(spool, _Taken(), settings)
    elastic = ElasticSettings(urls=("http://127.0.0.1:9",))
    with Path(os.devnull).open("wb", buffering=0) as stream:
        log = configure(Settings(log=LogSettings(sink=sink), elastic=elastic), stream=stream, spool=spool)
        if shipper is not None:
            shipper.start()
            log.closed = shipper.close
        if ratio is not None:
            tracing = TracingSettings(endpoint="http://127.0.0.1:9", ratio=ratio, stop_seconds=60)
            tracer = Recorder(_Encoded(tracing, "tracing"), tracing, {"service.name": "bedside"})
        accountant = Accountant(Metrics(), b"0" * 32, log, tracer)
        thread, process = 0.0, time.process_time()
        begin, pacing = time.monotonic(), 0.0
        for number in range(0, count, 50):
            calls = [call() for _ in range(50)]
            start = time.thread_time()
            for ended in calls:
                accountant.account(ended)
            thread += time.thread_time() - start
            start = time.thread_time()
            time.sleep(max(0.0, begin + (number + 50) / count * SECONDS - time.monotonic()))
            pacing += time.thread_time() - start
        making = time.thread_time()
        for _ in range(count):
            call()
        making = time.thread_time() - making
        if tracer is not None:
            tracer.close()
        log.close()
        process = time.process_time() - process - 2 * making - pacing
    assert log.lost_lines == 0
    assert tracer is None or ratio != 1 or tracer.sent_spans == count * (1 + len(STAGES))
    return thread / count * 1e6, process / count * 1e6


def main() -> None:
    """Print a table: the median of the rounds, least to most."""
    print("| `log.sink` | calls a second | tracing | answering thread, µs | whole process, µs |\n|---|---|---|---|---|")
    for sink, ratio, count in CASES:
        found = []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                found.append(measure(sink, ratio, count, Path(folder)))
        cells = [f"{statistics.median(c):.1f} ({min(c):.1f} to {max(c):.1f})" for c in zip(*found, strict=True)]
        print(
            f"| `{sink}` | {count // SECONDS} | {'off' if ratio is None else ratio} | {cells[0]} | {cells[1]} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
