"""``kill -9`` of one model's process, again and again, while ten models are called over HTTP."""

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.conftest import Served, start, stop

VICTIM = "heart_0"
HEALTHY = [f"heart_{number}" for number in range(1, 10)]
OWN_FAILURES = {502, 503, 504}
ANSWERS_BETWEEN = 10
PAUSE_SECONDS = 0.01
"""Between a caller's answer and its next call: a steady load, not as much as the machine can take."""


@dataclass(frozen=True)
class Ten:
    """A server with ten models, and the folder of their bundles."""

    served: Served
    folder: Path

    def process_of(self, model: str) -> int | None:
        """Return the process id of a model, by its working directory."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").readlink() == self.folder / model:
                    return int(entry.name)
        return None

    def open_files(self) -> tuple[int, int]:
        """Return how many descriptors and threads the server has."""
        of = Path(f"/proc/{self.served.process.pid}")
        return len(list((of / "fd").iterdir())), len(list((of / "task").iterdir()))


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory, bundles: Path) -> Iterator[Ten]:
    """Serve ten copies of a bundle, each in a process of its own."""
    folder = tmp_path_factory.mktemp("ten").resolve()
    for name in (VICTIM, *HEALTHY):
        shutil.copytree(bundles / "record_classification", folder / name)
    served = start([folder], tmp_path_factory.mktemp("server"), BEDSIDE_RUNTIME__RESTART_BACKOFF_SECONDS="0.1")
    yield Ten(served, folder)
    assert stop(served) == 0


def record(age: int) -> dict[str, float]:
    """Return a record whose probabilities no other age has."""
    return {"age": age, "chol": 1, "thalach": 1}


class Callers:
    """Calls models steadily, and counts what they answered.

    Args:
        client: to the server.
        expected: by age, the probabilities.
    """

    def __init__(self, client: httpx.AsyncClient, expected: dict[int, Any]) -> None:
        self._client = client
        self._expected = expected
        self.seen: dict[str, Counter[int]] = {name: Counter() for name in (VICTIM, *HEALTHY)}
        self.mixed_up: list[str] = []
        self.going = True

    async def call(self, model: str, age: int) -> None:
        """Call one model, each time with another age, until told to end."""
        while self.going:
            age = age + 1 if age + 1 in self._expected else min(self._expected)
            answer = await self._client.post(f"/v1/models/{model}/predict", json=record(age))
            self.seen[model][answer.status_code] += 1
            if answer.status_code == httpx.codes.OK and answer.json()["probabilities"] != self._expected[age]:
                self.mixed_up.append(model)
            await asyncio.sleep(PAUSE_SECONDS)

    async def answers(self, model: str) -> None:
        """Wait until a model has answered 200 so many times more."""
        until = self.seen[model][200] + ANSWERS_BETWEEN
        while self.seen[model][200] < until:  # noqa: ASYNC110 - the callers count, and set no events
            await asyncio.sleep(PAUSE_SECONDS)


async def kill(ten: Ten, callers: Callers, times: int) -> None:
    """Kill the victim's process so many times; each time wait until it answers again."""
    for _ in range(times):
        pid = ten.process_of(VICTIM)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await callers.answers(VICTIM)
        assert ten.process_of(VICTIM) != pid


async def kill_under_load(ten: Ten, kills: int) -> None:
    """Kill one of ten models under load, and check what everybody was answered."""
    headers = {"Authorization": f"Bearer {ten.served.token()}"}
    async with httpx.AsyncClient(base_url=ten.served.url, headers=headers, timeout=60) as client:
        expected = {}
        for age in range(30, 60):
            answer = await client.post(f"/v1/models/{VICTIM}/predict", json=record(age))
            expected[age] = answer.json()["probabilities"]
        assert len({str(probabilities) for probabilities in expected.values()}) == len(expected)
        callers = Callers(client, expected)
        tasks = [asyncio.ensure_future(callers.call(model, 30 + n)) for n, model in enumerate(callers.seen)]
        await kill(ten, callers, 1)  # what is made once (threads of a pool) is there from now on
        before = ten.open_files()
        await kill(ten, callers, kills)
        after = ten.open_files()
        callers.going = False
        await asyncio.gather(*tasks)
        ready = await client.get(f"/v2/models/{VICTIM}/ready")
    assert {name: dict(seen) for name, seen in callers.seen.items() if name != VICTIM and set(seen) != {200}} == {}
    assert all(callers.seen[name][200] >= kills for name in HEALTHY)
    assert set(callers.seen[VICTIM]) - {200} <= OWN_FAILURES
    assert callers.mixed_up == []
    assert ready.status_code == httpx.codes.OK
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2


async def test_killing_a_model_hurts_nobody_else(ten: Ten) -> None:
    """The others' error rate is 0, its own callers get an answer, it is ready again, and the server does not grow."""
    await kill_under_load(ten, 2)


@pytest.mark.slow
async def test_killing_a_model_over_and_over_hurts_nobody_else(ten: Ten) -> None:
    """The same, so often that whatever leaks with each process would show."""
    await kill_under_load(ten, 12)
