"""(e) Batching: pictures at several concurrencies, sharing runs and one by one.

Two servers that differ in ``runtime.batch_size`` alone take turns; each caller sends its next picture when it has the
answer to the last one. Every answer is compared with that of its picture alone.
"""

import asyncio
import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import isclose
from time import perf_counter
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.processes import Busy, cpu_seconds
from benchmarks.services import REPOSITORY, Running, Workspace, bedside, start, wait_ready

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
