"""Requests for pictures share runs over real HTTP, and each caller gets its own answer."""

import asyncio
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.acceptance.conftest import Served

AT_ONCE, REQUESTS = 24, 240
PATH = "/v1/models/chest_xray_pneumonia/predict"
PNG = {"Content-Type": "image/png"}


def _pictures() -> list[bytes]:
    generator = np.random.default_rng(7)
    pictures = []
    for number in range(24):
        stream = io.BytesIO()
        size = (28, 28) if number % 3 else (90, 70)  # two size classes
        Image.fromarray(generator.integers(0, 40 + 9 * number, size, dtype=np.uint8)).save(stream, "PNG")
        pictures.append(stream.getvalue())
    return pictures


async def _send(served: Served, bodies: list[bytes]) -> list[httpx.Response]:
    headers = {"Authorization": f"Bearer {served.token()}", **PNG}
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=60) as client:

        async def one(body: bytes) -> httpx.Response:
            async with gate:
                return await client.post(PATH, content=body)

        return await asyncio.gather(*map(one, bodies))


def test_each_caller_gets_its_own_answer(served: Served, client: httpx.Client) -> None:
    """240 pictures, 24 at one time, among them broken ones: each answer is that of its picture alone."""
    pictures = _pictures()
    alone = [client.post(PATH, content=picture, headers=PNG).json()["probabilities"] for picture in pictures]
    assert len({json.dumps(answer) for answer in alone}) == len(alone)
    chosen = np.random.default_rng(8).integers(-1, len(pictures), REQUESTS)  # -1: a picture that is cut off
    answers = asyncio.run(_send(served, [pictures[n] if n >= 0 else pictures[0][:-9] for n in chosen]))
    for number, answer in zip(chosen, answers, strict=True):
        if number < 0:
            assert answer.status_code == httpx.codes.BAD_REQUEST
        else:
            assert answer.status_code == httpx.codes.OK
            assert answer.json()["probabilities"] == pytest.approx(alone[number], rel=1e-4, abs=1e-6)


def test_the_log_tells_who_shares(served: Served) -> None:
    """The process's event names the size of its batches; a volume's and a record's tell why there are none."""
    started = {}
    for line in served.log.read_text().splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event", {}).get("action") == "model_process_started":
            started[event["inference"]["bundle"]["name"]] = event["inference"]["sharing"]
    pictures = started["chest_xray_pneumonia"]
    assert pictures["size"] > 1 or pictures["why_alone"] in {"slow", "no_gain"}  # as a machine with other work finds it
    assert started["hippocampus_mr"] == {"size": 1, "why_alone": "volumes"}
