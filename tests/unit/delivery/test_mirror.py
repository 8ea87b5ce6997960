"""Copies of requests, as a gateway sends them."""

import socket

import httpx
import pytest

from bedside.delivery.mirror import MOST_BYTES, WAITING, listening
from bedside.errors import ConfigurationError


@pytest.fixture
def address() -> str:
    """Return a free address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_a_copy_is_answered_at_once_and_kept_with_its_token(address: str) -> None:
    """What only concerns the way between two servers is left out."""
    headers = {"authorization": "Bearer t", "content-type": "application/json", "x-other": "a"}
    async with listening(address, "heart") as mirror, httpx.AsyncClient(base_url=f"http://{address}") as client:
        answer = await client.post("/v1/models/heart/predict", content=b"{}", headers=headers)
        call = await anext(aiter(mirror.calls()))
    assert answer.status_code == 202
    assert (call.path, call.body) == ("/v1/models/heart/predict", b"{}")
    assert call.headers == {"authorization": "Bearer t", "content-type": "application/json"}


async def test_only_calls_of_the_model_are_kept_and_only_so_many(address: str) -> None:
    """Other models, other routes, what is too large, and what comes while others wait."""
    async with listening(address, "heart") as mirror, httpx.AsyncClient(base_url=f"http://{address}") as client:
        for path in ("/v1/models/hearts/predict", "/v1/models/heart/jobs", "/v1/jobs/1"):
            assert (await client.post(path)).status_code == 202
        assert (await client.post("/v1/models/heart/predict", content=bytes(MOST_BYTES + 1))).status_code == 202
        assert mirror.waiting == 0
        for _ in range(WAITING + 5):
            await client.post("/v2/models/heart/versions/1/infer")
        assert mirror.waiting == WAITING


@pytest.mark.parametrize("address", ["8000", ":8000", "127.0.0.1:x", "127.0.0.1:99999", "192.0.2.1:8000"])
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    """Also one that is not this machine's."""
    with pytest.raises(ConfigurationError):
        async with listening(address, "heart"):
            pass
