"""Copies of requests, as a gateway sends them."""

import asyncio
import base64
import json

import httpx
import pytest

from bedside.delivery.mirror import (
    ASKED_AT_ONCE,
    KNOWN,
    KNOWN_SECONDS,
    MOST_BYTES,
    WAITING,
    Callers,
    Mirror,
    caller_of,
    listening,
)
from bedside.delivery.processes import free_port
from bedside.errors import ConfigurationError

TOKEN = {"authorization": "Bearer t"}


async def everybody(_authorization: str) -> bool:
    """Let everybody in."""
    return True


@pytest.fixture
def address() -> str:
    """Return a free address."""
    return f"127.0.0.1:{free_port()}"


async def test_a_copy_is_answered_at_once_and_kept_with_its_token(address: str) -> None:
    """What only concerns the way between two servers is left out."""
    headers = {"authorization": "Bearer t", "content-type": "application/json", "x-other": "a"}
    async with (
        listening(address, "heart", 1 << 20, everybody) as mirror,
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
        listening(address, "heart", 1 << 20, everybody) as mirror,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        for path in ("/v1/models/hearts/predict", "/v1/models/heart/jobs", "/v1/jobs/1"):
            assert (await client.post(path, headers=TOKEN)).status_code == 202
        assert (
            await client.post("/v1/models/heart/predict", content=bytes(MOST_BYTES + 1), headers=TOKEN)
        ).status_code == 202
        assert mirror.waiting == 0
        for _ in range(WAITING + 5):
            await client.post("/v2/models/heart/versions/1/infer", headers=TOKEN)
        assert mirror.waiting == WAITING // 2


async def post(mirror: Mirror, *chunks: bytes, complete: bool = True, authorization: str = "Bearer t") -> None:
    """Send a request chunk by chunk; an incomplete one ends with its caller's going."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request"} if complete else {"type": "http.disconnect"})
    sent = []

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    headers = [(b"authorization", authorization.encode())]
    await mirror({"type": "http", "path": "/v1/models/heart/predict", "headers": headers}, receive, send)
    assert sent[0]["status"] == 202


async def test_all_bodies_together_take_only_so_much_memory() -> None:
    """One that does not fit is dropped, and one that is taken, or whose caller has gone, makes room."""
    mirror = Mirror("heart", 20, everybody)
    await post(mirror, b"1234", b"56")
    await post(mirror, b"12", b"34", b"5")
    await post(mirror, b"1234", complete=False)
    assert mirror.waiting == 1
    await post(mirror, b"1234")
    calls = mirror.calls()
    assert [(await anext(calls)).body for _ in range(2)] == [b"123456", b"1234"]
    await post(mirror, b"1234567890")
    assert (await anext(calls)).body == b"1234567890"


def token(subject: str, number: int = 0) -> str:
    """Return a token of somebody's as production would have verified it."""
    claims = json.dumps({"iss": "https://login.example", "sub": subject, "jti": number}).encode()
    return f"Bearer e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.signature"


async def test_a_flood_of_one_caller_leaves_room_for_others() -> None:
    """In places and in bytes, however many tokens it has; what was taken makes room again."""
    mirror = Mirror("heart", 1000, everybody)
    for number in range(2 * WAITING):
        await post(mirror, b"{}", authorization=token("flood", number))
    assert mirror.waiting == WAITING // 2
    await post(mirror, bytes(600), authorization=token("flood"))
    await post(mirror, bytes(400), authorization=token("other"))
    assert mirror.waiting == WAITING // 2 + 1
    calls = mirror.calls()
    assert len((await anext(calls)).body) == 2
    await post(mirror, b"{}", authorization=token("flood"))
    bodies = [len((await anext(calls)).body) for _ in range(WAITING // 2 + 1)]
    assert bodies == [2] * (WAITING // 2 - 1) + [400, 2]
    assert not mirror._bytes
    assert not mirror._places


@pytest.mark.parametrize(
    "authorization", ["", "Bearer opaque", "Bearer a.%.c", "Bearer a.e30.c", "Bearer a.W10.c", "Bearer a.gICA.c"]
)
def test_whose_token_is_no_jwt_is_told_by_the_token(authorization: str) -> None:
    """Production has let it in, whatever it is."""
    assert caller_of(authorization) == authorization


@pytest.mark.parametrize("address", ["8000", ":8000", "127.0.0.1:x", "127.0.0.1:99999", "192.0.2.1:8000"])
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    """Also one that is not this machine's."""
    with pytest.raises(ConfigurationError):
        async with listening(address, "heart", 1 << 20, everybody):
            pass


class Production:
    """Lets one token in, and is as slow as it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self, authorization: str) -> bool:
        """Tell whether it is the one."""
        self.asked.append(authorization)
        await self.answers.wait()
        return authorization == TOKEN["authorization"]


async def test_strangers_take_no_place(address: str) -> None:
    """A flood of requests without a token, and with made-up ones, leaves all places to those who may call."""
    production = Production()
    async with (
        listening(address, "heart", 1 << 20, production) as mirror,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        for number in range(2 * WAITING):
            made_up = {} if number % 2 else {"authorization": f"Bearer made-up-{number}"}
            stranger = await client.post("/v1/models/heart/predict", content=bytes(1 << 15), headers=made_up)
            assert stranger.status_code == 202
        assert mirror.waiting == 0
        await client.post("/v1/models/heart/predict", content=b"{}", headers=TOKEN)
        assert mirror.waiting == 1
    assert len(production.asked) == WAITING + 1  # whoever has no token costs production nothing


async def test_production_is_asked_about_few_at_one_time_and_about_each_once() -> None:
    """Strangers cannot have it flooded; whoever is known waits for nobody, whatever strangers do meanwhile."""
    production, now = Production(), [0.0]
    callers = Callers(production, lambda: now[0])
    assert await callers.knows(TOKEN["authorization"])
    production.answers.clear()
    async with asyncio.TaskGroup() as strangers:
        asking = [strangers.create_task(callers.knows(f"Bearer {number}")) for number in range(ASKED_AT_ONCE)]
        await asyncio.sleep(0)
        assert not await callers.knows("Bearer one-more")
        assert await callers.knows(TOKEN["authorization"])
        production.answers.set()
    assert not any(task.result() for task in asking)
    assert len(production.asked) == 1 + ASKED_AT_ONCE
    now[0] = KNOWN_SECONDS
    assert await callers.knows(TOKEN["authorization"])
    assert len(production.asked) == 2 + ASKED_AT_ONCE


async def test_so_many_tokens_are_remembered() -> None:
    """The oldest is asked about again."""
    asked = []

    async def let_in(authorization: str) -> bool:
        asked.append(authorization)
        return True

    callers = Callers(let_in)
    for number in (*range(KNOWN + 1), KNOWN, 0):
        assert await callers.knows(str(number))
    assert len(asked) == KNOWN + 2
