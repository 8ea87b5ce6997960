"""Versions exchanged while calls go on: none fails, and each is answered by exactly one version."""

import asyncio
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import httpx
import pytest
from tests.acceptance.conftest import APPS, Served, start, stop

SWAPS = int(os.environ.get("HOT_SWAPS", "100"))
"""A thousand take some five minutes; what they gave is in docs/repository.md."""

CALLERS = 4
RECORD = json.loads((APPS / "heart_disease" / "golden" / "cases.json").read_text())[2]["inputs"]["features"]


def release(models: Path, version: str, labels: tuple[str, str]) -> None:
    """Put a version into the repository whose answers are told apart by the names of its classes."""
    root = models / "heart" / version
    shutil.copytree(APPS / "heart_disease", root)
    shutil.rmtree(root / "golden")
    path = root / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["version"] = version
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = dict(enumerate(labels))
    path.write_text(json.dumps(metadata))


LABELS = {"1.0.0": ("no", "yes"), "1.1.0": ("absent", "present")}


async def call(
    client: httpx.AsyncClient, seen: Counter[str], digests: dict[str, set[str]], done: asyncio.Event
) -> None:
    """Call without a version, one after the other, until the swaps are over; check every answer."""
    while not done.is_set():
        response = await client.post("/v1/models/heart/predict", json=RECORD)
        assert response.status_code == 200, response.text
        document, version = response.json(), response.headers["bedside-model-version"]
        assert document["version"] == version
        assert set(document["probabilities"]) == set(LABELS[version])
        digests[version].add(response.headers["bedside-model-digest"])
        seen[version] += 1


async def swap(served: Served) -> tuple[Counter[str], dict[str, set[str]]]:
    """Load and unload the newer version under load; return answers and digests by version."""
    seen: Counter[str] = Counter()
    digests: dict[str, set[str]] = {version: set() for version in LABELS}
    done = asyncio.Event()
    headers = {"Authorization": f"Bearer {served.token('bedside.infer', 'bedside.admin', seconds=86400)}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=120) as client:
        callers = [asyncio.create_task(call(client, seen, digests, done)) for _ in range(CALLERS)]
        for number in range(SWAPS):
            action = "load" if number % 2 else "unload"
            body = {"parameters": {"version": "1.1.0"}}
            response = await client.post(f"/v2/repository/models/heart/{action}", json=body)
            assert response.status_code == 200, response.text
            assert all(not caller.done() for caller in callers)
        done.set()
        await asyncio.gather(*callers)
    return seen, digests


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_swaps_under_load_lose_no_call(tmp_path: Path) -> None:
    """Version, digest and classes of each answer agree; both versions have answered."""
    for version, labels in LABELS.items():
        release(tmp_path / "models", version, labels)
    served = start([tmp_path / "models"], tmp_path / "server")
    try:
        seen, digests = asyncio.run(swap(served))
    finally:
        assert stop(served) == 0
    assert set(seen) == set(LABELS)
    assert all(len(found) == 1 for found in digests.values())
    assert digests["1.0.0"] != digests["1.1.0"]
    assert sum(seen.values()) > SWAPS
