"""What drift is measured against over HTTP: administrators read it and begin it anew, which is recorded."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.transports.fakes import RECORD, Trail, World, make_world

from bedside.jobs.tables import connect
from bedside.monitoring.reference import ReferenceDesk
from bedside.monitoring.store import PredictionStore
from bedside.transports.rest.app import create_app

PATH = "/v1/models/heart/reference"
ADMIN = {"authorization": "Bearer admin"}


@pytest.fixture
def trail() -> Trail:
    """Return an audit trail in memory."""
    return Trail()


@pytest.fixture
def world(tmp_path: Path, trail: Trail) -> World:
    """Return an application whose bundle has a reference."""
    world = make_world(audit=trail)
    shipped = {("class", "all"): {"absent": 60}}

    def bundle_of(model: str, version: str | None) -> tuple[str, str, dict[tuple[str, str], dict[str, int]]]:
        return world.repository.resolve(model, version).version, RECORD.digest, shipped

    desk = ReferenceDesk(PredictionStore(connect(f"sqlite:///{tmp_path / 'jobs.db'}")), bundle_of, 500)
    world.parts = replace(world.parts, reference=desk)
    world.app = create_app(world.parts)
    return world


async def test_it_is_read_and_renewed(world: World, trail: Trail) -> None:
    """In the form of the file; who renewed it is in the audit trail."""
    async with world.client(**ADMIN) as client:
        before = await client.get(PATH)
        renewed = await client.post(f"{PATH}/renew")
        after = await client.get(PATH)
    assert before.json()["counts"] == {"class": {"all": {"absent": 60}}}
    assert renewed.json() == {"model": "heart", "version": "1.0.0", "digest": RECORD.digest, "answers": 500}
    assert (after.status_code, after.json()["type"]) == (404, "urn:bedside:problem:drift-reference-not-found")
    assert ("reference_renewed", "admin", "") in trail.told


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", f"{PATH}/renew")])
async def test_it_is_for_administrators(world: World, method: str, path: str) -> None:
    """A caller of the model may not."""
    async with world.client() as client:
        assert (await client.request(method, path)).status_code == 403


@pytest.mark.parametrize("path", ["/v1/models/made_up/reference/renew", f"{PATH}/renew?version=9"])
async def test_what_is_not_served_has_none(world: World, path: str) -> None:
    """By name and by version."""
    async with world.client(**ADMIN) as client:
        assert (await client.post(path)).status_code == 404
