"""Copies of requests, as a gateway sends them."""

import socket

import httpx
import pytest

from bedside.delivery.mirror import MOST_BYTES, WAITING, Mirror, listening
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
    async with (
        listening(address, "heart", 1 << 20) as mirror,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        answer = await client.post("/v1/models/heart/predict", content=b"{}", headers=headers)
        call = await anext(aiter(mirror.calls()))
    assert answer.status_code == 202
    assert (call.path, call.body) == ("/v1/models/heart/predict", b"{}")
    assert call.headers == {"authorization": "Bearer t", "content-type": "application/json"}


async def test_only_calls_of_the_model_are_kept_and_only_so_many(address: str) -> None:
    """Other models, other routes, what is too large, and what comes while others wait."""
    async with (
        listening(address, "heart", 1 << 20) as mirror,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        for path in ("/v1/models/hearts/predict", "/v1/models/heart/jobs", "/v1/jobs/1"):
            assert (await client.post(path)).status_code == 202
        assert (await client.post("/v1/models/heart/predict", content=bytes(MOST_BYTES + 1))).status_code == 202
        assert mirror.waiting == 0
        for _ in range(WAITING + 5):
            await client.post("/v2/models/heart/versions/1/infer")
        assert mirror.waiting == WAITING


async def post(mirror: Mirror, *chunks: bytes, complete: bool = True) -> None:
    """Send a request chunk by chunk; an incomplete one ends with its caller's going."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request"} if complete else {"type": "http.disconnect"})
    sent = []

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await mirror({"type": "http", "path": "/v1/models/heart/predict", "headers": []}, receive, send)
    assert sent[0]["status"] == 202


async def test_all_bodies_together_take_only_so_much_memory() -> None:
    """One that does not fit is dropped, and one that is taken, or whose caller has gone, makes room."""
    mirror = Mirror("heart", held_bytes=10)
    await post(mirror, b"1234", b"56")
    await post(mirror, b"12", b"34", b"5")
    await post(mirror, b"1234", complete=False)
    assert mirror.waiting == 1
    await post(mirror, b"1234")
    calls = mirror.calls()
    assert [(await anext(calls)).body for _ in range(2)] == [b"123456", b"1234"]
    await post(mirror, b"1234567890")
    assert (await anext(calls)).body == b"1234567890"


@pytest.mark.parametrize("address", ["8000", ":8000", "127.0.0.1:x", "127.0.0.1:99999", "192.0.2.1:8000"])
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    """Also one that is not this machine's."""
    with pytest.raises(ConfigurationError):
        async with listening(address, "heart", 1 << 20):
            pass
