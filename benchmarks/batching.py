"""(e) Batching: pictures at several concurrencies, sharing runs and one by one.

Two servers that differ in ``runtime.batch_size`` alone take turns; each caller sends its next picture when it has the
answer to the last one. Every answer is compared with that of its picture alone.
"""

import asyncio
import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import isclose
from statistics import median
from time import perf_counter
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.part import Options, Part, Raw
from benchmarks.processes import Busy, cpu_seconds
from benchmarks.services import REPOSITORY, Running, Workspace, bedside, start, wait_ready
from benchmarks.tables import spread, table

MODEL = "chest_xray_pneumonia"
PATH = f"/v1/models/{MODEL}/predict"
CONCURRENCIES = (1, 4, 8, 16, 32)
SIDES = {"alone": "1", "shared": "8"}
"""``runtime.batch_size`` by the name of the side."""

_PICTURES = 32
_TOLERANCE = 1e-5

Say = Callable[[str], None]


def pictures() -> list[bytes]:
    """Return PNG files of 256 by 256 pixels that differ."""
    generator = np.random.default_rng(0)
    files = []
    for number in range(_PICTURES):
        low = generator.integers(0, 255, (8 + number, 8), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(low).resize((256, 256)).save(stream, "PNG")
        files.append(stream.getvalue())
    return files


def measure(
    workspace: Workspace, rounds: int, seconds: float, concurrencies: Sequence[int], say: Say
) -> dict[str, Any]:
    """Return raw results: one entry for each side, concurrency and round."""
    files, bundle = pictures(), REPOSITORY / "apps" / MODEL
    with ExitStack() as stack:
        servers = {}
        for name, size in SIDES.items():
            running = start(bedside(f"Bedside {name}", lambda _: [bundle], BEDSIDE_RUNTIME__BATCH_SIZE=size), workspace)
            stack.callback(running.server.end)
            wait_ready(running)
            servers[name] = running
        expected = asyncio.run(_alone(servers["alone"], files))
        busy, begin = Busy.now(), perf_counter()
        own = sum(cpu_seconds(running.server.pid) for running in servers.values())
        runs = []
        for number in range(rounds):
            for concurrency in concurrencies:
                for name in sorted(servers, reverse=bool(number % 2)):
                    found = asyncio.run(_saturate(servers[name], files, expected, concurrency, seconds))
                    runs.append({"side": name, "concurrency": concurrency, "round": number, **found})
                    say(f"{name}, {concurrency} at one time: {found['answers'] / found['seconds']:.0f}/s")
        own = sum(cpu_seconds(running.server.pid) for running in servers.values()) - own
        foreign = (Busy.now().used - busy.used - own) / (perf_counter() - begin)
    return {"runs": runs, "foreign_cores": foreign}


def _client(running: Running) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {running.tokens[0]}", "Content-Type": "image/png"}
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", headers=headers, timeout=60)


async def _alone(running: Running, files: Sequence[bytes]) -> list[dict[str, float]]:
    async with _client(running) as client:
        return [(await client.post(PATH, content=file)).json()["probabilities"] for file in files]


async def _saturate(
    running: Running, files: Sequence[bytes], expected: Sequence[dict[str, float]], concurrency: int, seconds: float
) -> dict[str, Any]:
    """Return answers, wrong ones, seconds, latencies of one run; its first tenth warms up and is not counted."""
    begin = perf_counter()
    counted, end = begin + seconds / 10, begin + seconds * 1.1
    latencies: list[float] = []
    wrong = 0
    async with _client(running) as client:

        async def caller(number: int) -> None:
            nonlocal wrong
            while (sent := perf_counter()) < end:
                number = (number + 1) % len(files)
                answer = await client.post(PATH, content=files[number])
                if sent < counted:
                    continue
                latencies.append(perf_counter() - sent)
                right = answer.status_code == httpx.codes.OK and _same(answer.json()["probabilities"], expected[number])
                wrong += not right

        await asyncio.gather(*(caller(number * len(files) // concurrency) for number in range(concurrency)))
    took = perf_counter() - counted
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e3
    return {"answers": len(latencies), "wrong": wrong, "seconds": took, "p50_ms": float(p50), "p99_ms": float(p99)}


def _same(found: dict[str, float], expected: dict[str, float]) -> bool:
    return all(isclose(found[name], value, abs_tol=_TOLERANCE) for name, value in expected.items())


# the section of docs/benchmarks.md


def render(raw: Raw) -> str:
    """Return the section."""
    rows = []
    for concurrency in sorted({run["concurrency"] for run in raw["runs"]}):
        here = [run for run in raw["runs"] if run["concurrency"] == concurrency]
        alone, shared = ([run for run in here if run["side"] == side] for side in ("alone", "shared"))
        rate = [[_rate(run) for run in side] for side in (alone, shared)]
        ratios = [b / a for a, b in zip(*rate, strict=True)]
        p50, p99 = ([[run[key] for run in side] for side in (alone, shared)] for key in ("p50_ms", "p99_ms"))
        rows.append(
            [
                str(concurrency),
                *(spread(found, 0) for found in rate),
                f"{spread(ratios, 2)}×",
                *(f"{median(a):.0f} → {median(b):.0f}" for a, b in (p50, p99)),
            ]
        )
    head = ("callers", "req/s one by one", "req/s sharing runs", "ratio", "p50 ms", "p99 ms")
    wrong, answers = (sum(run[key] for run in raw["runs"]) for key in ("wrong", "answers"))
    return f"""
## (e) Batching: `chest_xray_pneumonia`, PNG in, JSON out

{table(head, rows)}

Two servers, `runtime.batch_size` 1 and 8, take turns; each caller sends its next picture (256 × 256) when it has the
answer to the last one. Median (least to most) of the rounds; the ratio is that inside each round. Others, the load
client among them, used {raw["foreign_cores"]:.1f} cores meanwhile. {wrong} of {answers:,} answers were not those
of their picture alone (within 1e-5).
"""


def _rate(run: Raw) -> float:
    return float(run["answers"] / run["seconds"])


def _run(workspace: Workspace, options: Options) -> dict[str, Any]:
    rounds, concurrencies = (1, (4,)) if options.quick else (options.rounds, CONCURRENCIES)
    return measure(workspace, rounds, 1.0 if options.quick else 2.0, concurrencies, options.say)


PART = Part("batching", _run, render)
