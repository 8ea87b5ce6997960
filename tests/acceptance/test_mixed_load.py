"""10,000 good and bad requests at once: nothing is lost, and nobody gets somebody else's answer."""

import asyncio
import io
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.acceptance.conftest import APPS, Served

from bedside.bundle.golden import read_golden
from bedside.types import RawRecord

REQUESTS = 10_000
AT_ONCE = 48
DISTINCT = 200


@dataclass(frozen=True)
class Planned:
    """One request and the answer that it must get: a status, and where it is 200, what the body must hold."""

    model: str
    media: str
    body: bytes
    status: int
    holds: dict[str, Any]


def _records() -> list[dict[str, float]]:
    item = read_golden(APPS / "heart_disease")[0].raw_inputs()[0]
    assert isinstance(item, RawRecord)
    return [{**item.values, "age": 29 + number % 48, "chol": 150 + number} for number in range(DISTINCT)]


def _pictures() -> list[bytes]:
    generator = np.random.default_rng(0)
    pictures = []
    for _ in range(20):
        stream = io.BytesIO()
        Image.fromarray(generator.integers(0, 255, (32, 32), dtype=np.uint8)).save(stream, "PNG")
        pictures.append(stream.getvalue())
    return pictures


def _reference(client: httpx.Client, model: str, media: str, body: bytes) -> dict[str, Any]:
    """Return what the model answers when nobody else calls it."""
    response = client.post(f"/v1/models/{model}/predict", content=body, headers={"Content-Type": media})
    assert response.status_code == 200, response.text
    return {"probabilities": response.json()["probabilities"]}


def _plan(client: httpx.Client) -> list[Planned]:
    good: list[Planned] = []
    for record in _records():
        body = json.dumps(record).encode()
        reference = _reference(client, "heart_disease", "application/json", body)
        good.append(Planned("heart_disease", "application/json", body, 200, {**record, **reference}))
    for picture in _pictures():
        reference = _reference(client, "chest_xray_pneumonia", "image/png", picture)
        good.append(Planned("chest_xray_pneumonia", "image/png", picture, 200, reference))
    bad = [
        Planned("heart_disease", "application/json", b'{"age": 1}', 422, {}),
        Planned("heart_disease", "application/json", b"{", 400, {}),
        Planned("chest_xray_pneumonia", "image/png", _pictures()[0][:-9], 400, {}),
        Planned("heart_disease", "image/png", _pictures()[0], 415, {}),
        Planned("nobody", "application/json", b"{}", 404, {}),
    ]
    order = np.random.default_rng(1)
    # Pictures are twenty times as dear as records: a tenth of the calls keeps the test short.
    weights = np.array([4.0 if plan.model == "heart_disease" else 5.0 for plan in good] + [60.0] * len(bad))
    chosen = order.choice(len(good) + len(bad), size=REQUESTS, p=weights / weights.sum())
    return [(good + bad)[index] for index in chosen]


async def _send_all(served: Served, plan: list[Planned]) -> list[str]:
    gate = asyncio.Semaphore(AT_ONCE)
    headers = {"Authorization": f"Bearer {served.token()}"}
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=60, limits=limits) as client:

        async def one(planned: Planned) -> str:
            async with gate:
                path = f"/v1/models/{planned.model}/predict"
                answer = await client.post(path, content=planned.body, headers={"Content-Type": planned.media})
                while answer.status_code == 503:  # a full queue is an honest answer; ask again
                    await asyncio.sleep(0.05)
                    answer = await client.post(path, content=planned.body, headers={"Content-Type": planned.media})
            if answer.status_code != planned.status:
                return f"{planned.model}: {answer.status_code} instead of {planned.status}"
            body = answer.json()
            wrong = [
                name for name, value in planned.holds.items() if body[name] != pytest.approx(value, rel=1e-5, abs=1e-6)
            ]
            return f"{planned.model}: {wrong} of another request" if wrong else "as planned"

        return await asyncio.gather(*(one(planned) for planned in plan))


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_is_mixed_up(served: Served, client: httpx.Client) -> None:
    """Each of 10,000 concurrent requests gets its own answer, that of a quiet server; pictures may share a run."""
    plan = _plan(client)

    outcomes = Counter(asyncio.run(_send_all(served, plan)))

    assert outcomes == {"as planned": REQUESTS}
