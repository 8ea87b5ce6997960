"""Every example of ``/openapi.json`` works when pasted: it is sent, as it stands, to a real server."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.unit.transports.fakes import World, make_world
from tests.unit.transports.kinds import CONTRACTS, add_kinds
from tests.waiting import until

MODELS = ["heart", "mask", *(contract.model for contract in CONTRACTS)]
_SHELL = re.compile(r"```sh\n(.*?)\n```", re.DOTALL)


@pytest.fixture
def world() -> World:
    """One application with a model of each kind."""
    return add_kinds(make_world())


@asynccontextmanager
async def listening(world: World) -> AsyncIterator[str]:
    """Serve on a free port."""
    server = uvicorn.Server(uvicorn.Config(world.app, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def document(world: World) -> Any:
    """Return the OpenAPI document's paths."""
    async with world.client() as client:
        return (await client.get("/openapi.json")).json()["paths"]


async def test_every_shell_example_runs(world: World, tmp_path: Path) -> None:
    """It makes its own files, calls the server and saves an answer."""
    paths = await document(world)
    async with listening(world) as url:
        environment = {**os.environ, "URL": url, "TOKEN": "user"}
        for model in MODELS:
            shell = _SHELL.search(paths[f"/v1/models/{model}/predict"]["post"]["description"])
            assert shell is not None
            folder = tmp_path / model
            folder.mkdir()
            command = ["bash", "-euo", "pipefail", "-c", shell[1]]
            run = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment)
            assert await run.wait() == 0, shell[1]
            assert (folder / "answer").read_bytes()
    assert all(world.model(model).executor.runs == 1 for model in MODELS)


async def test_every_json_example_is_answered(world: World) -> None:
    """Of ``predict`` where a body can be JSON, and of ``infer`` for every kind."""
    paths = await document(world)
    sent = 0
    async with world.client() as client:
        for path, item in paths.items():
            content = item.get("post", {}).get("requestBody", {}).get("content", {})
            if not path.endswith(("/predict", "/infer")) or "application/json" not in content:
                continue
            response = await client.post(path, json=content["application/json"]["example"])
            assert response.status_code == 200, (path, response.text)
            sent += 1
    assert sent == len(MODELS) + 4  # infer of each; predict of heart, values, generator, free


async def test_examples_stay_small(world: World) -> None:
    """A document of all models is read by people and by browsers."""
    for path, item in (await document(world)).items():
        assert len(item.get("post", {}).get("description", "")) < 8192, path
