"""``/v1/models``: what is served here."""

import pytest
from tests.unit.transports.fakes import RECORD_BODY, World, make_world
from tests.unit.transports.test_app import get


@pytest.fixture
def world() -> World:
    """One application."""
    return make_world()


PATHS = [
    "/v1/models",
    *(f"/v1/models/heart{suffix}" for suffix in ("", "/card", "/licence", "/versions/1.0.0")),
    *(f"/v1/models/heart/versions/1.0.0/{text}" for text in ("card", "licence")),
]


@pytest.mark.parametrize("path", PATHS)
async def test_who_has_no_token_learns_nothing(world: World, path: str) -> None:
    """And who may not use the model neither."""
    assert (await get(world, path, token="")).status_code == 401
    assert (await get(world, path, token="nobody")).status_code == 403


async def test_the_catalogue_lists_models_with_their_versions(world: World) -> None:
    """Those that the caller may use."""
    heart, mask = (await get(world, "/v1/models")).json()["models"]
    assert (heart["name"], heart["state"], heart["default_version"]) == ("heart", "READY", "1.0.0")
    digest = "sha256:" + "0" * 64
    wanted = {"version": "1.0.0", "state": "READY", "reason": "", "digest": digest, "default": True}
    assert heart["versions"] == [wanted]
    assert (await get(world, "/v1/models", token="mask")).json()["models"] == [mask]


async def test_a_model_describes_itself(world: World) -> None:
    """With contract, metrics, and where to call it."""
    document = (await get(world, "/v1/models/heart")).json()
    assert document["description"] == "Made up."
    assert document["metrics"] == {"accuracy": 0.8}
    assert document["contract"]["inputs"][0]["name"] == "age"
    assert document["notice"] == "Not a medical device."
    assert (await get(world, document["links"]["card"])).status_code == 200


async def test_a_version_describes_itself(world: World) -> None:
    """State and digest beside the contract."""
    document = (await get(world, "/v1/models/mask/versions/2.0.0")).json()
    assert (document["name"], document["version"], document["state"]) == ("mask", "2.0.0", "READY")
    assert document["contract"]["outputs"][0]["name"] == "mask"


async def test_a_model_that_is_not_ready_is_described_by_its_state(world: World) -> None:
    """200: the question was what there is, not whether it answers; its card is not there yet."""
    world.model("heart").state = "UNAVAILABLE"
    world.model("heart").reason = "no weights"
    document = (await get(world, "/v1/models/heart")).json()
    assert (document["state"], document["versions"][0]["reason"]) == ("UNAVAILABLE", "no weights")
    assert "contract" not in document
    assert (await get(world, "/v1/models/heart/card")).status_code == 503


async def test_the_card_is_markdown(world: World) -> None:
    """As text, which no browser runs."""
    response = await get(world, "/v1/models/heart/card")
    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.text == "# Heart\n"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/none",
        "/v1/models/none/versions/1",
        "/v1/models/heart/versions/9",
        "/v1/models/heart/versions/9/card",
        "/v1/models/heart/licence",
        "/v1/models/mask/card",
    ],
)
async def test_what_is_not_there_is_not_found(world: World, path: str) -> None:
    """Models, versions, and texts that a bundle does not have."""
    response = await get(world, path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_answers_name_the_copy_that_gave_them(world: World) -> None:
    """Version and digest, and nobody holds the model afterwards."""
    async with world.client() as client:
        response = await client.post(
            "/v1/models/heart/predict", content=RECORD_BODY, headers={"content-type": "application/json"}
        )
    assert response.headers["bedside-model-version"] == "1.0.0"
    assert response.headers["bedside-model-digest"] == "sha256:" + "0" * 64
    assert world.model("heart").holders == 0


async def test_one_version_can_be_loaded_and_unloaded(world: World) -> None:
    """By the parameter ``version``; anything else there is refused."""
    path = "/v2/repository/models/heart"
    body = {"parameters": {"version": "1.0.0"}}
    assert (await get(world, f"{path}/unload", "POST", "admin", json=body)).status_code == 200
    assert (await get(world, f"{path}/load", "POST", "admin", json=body)).status_code == 200
    assert (await get(world, f"{path}/load", "POST", "admin", json={"parameters": {"other": 1}})).status_code == 200
    assert world.repository.asked == ["1.0.0", "1.0.0", None]
    for wrong in ({"parameters": {"version": 1}}, {"parameters": ["version"]}, {"parameters": "1.0.0"}):
        assert (await get(world, f"{path}/load", "POST", "admin", json=wrong)).status_code == 400
