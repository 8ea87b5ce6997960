"""One job through the spine."""

from pathlib import Path

import pytest
from tests.unit.transports.fakes import record_run
from tests.unit.transports.test_jobs import Office, ended

from bedside.jobs.records import Job
from bedside.types import Prediction, RawInput, ValidatedInputs


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Return an office whose lane does not work yet."""
    return Office(tmp_path)


async def test_the_input_is_let_go_before_the_run(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study is not held beside its own volume for as long as a model takes."""
    unpacked, held = office.lane._inputs, list[list[RawInput]]()

    def kept(job: Job) -> list[RawInput]:
        held.append(unpacked(job))
        return held[0]

    monkeypatch.setattr(office.lane, "_inputs", kept)
    seen: list[list[RawInput]] = []

    async def looking(inputs: ValidatedInputs, seconds: float) -> Prediction:
        seen.extend(map(list, held))
        return await record_run(inputs, seconds)

    office.world.model("heart").executor.run_one = looking
    async with office.client() as client, office.working():
        job = await ended(client, await office.submitted(client))
    assert (job["state"], seen) == ("succeeded", [[]])
    assert office.world.sink.calls[-1].owner == office.store.find()[0].owner
