"""What bundles take and give beside one image: several files, JSON values, arrays, nothing; values and files."""

import base64
import email
import io
import json
from collections.abc import Mapping
from email.message import Message
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from tests.unit.transports.fakes import World, make_world
from tests.unit.transports.kinds import CONTRACTS, add_kinds

from bedside.codecs.plane import encode_png


@pytest.fixture
def world() -> World:
    """One application with a model of each kind."""
    return add_kinds(make_world())


def volume(length: int = 4) -> bytes:
    """Return a small NIfTI file."""
    return bytes(nibabel.Nifti1Image(np.zeros((2, 3, length), np.uint8), np.eye(4)).to_bytes())


def picture(width: int = 3) -> bytes:
    """Return a small PNG file."""
    return encode_png(np.zeros((2, width), np.uint8))


def array(values: Any) -> bytes:
    """Return a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


Part = tuple[str, tuple[str | None, bytes, str]]


def field(name: str, data: bytes, media_type: str) -> Part:
    """Return one form field."""
    return name, (name, data, media_type)


async def predict(world: World, model: str, *parts: Part, **request: Any) -> httpx.Response:
    """Send a form, or what ``request`` says."""
    async with world.client() as client:
        return await client.post(f"/v1/models/{model}/predict", **({"files": list(parts)} if parts else request))


async def infer(world: World, model: str, *tensors: Mapping[str, Any], **more: Any) -> httpx.Response:
    """Send tensors as JSON."""
    async with world.client() as client:
        return await client.post(f"/v2/models/{model}/infer", json={"inputs": list(tensors), **more})


def tensor(name: str, data: list[Any], datatype: str = "BYTES", shape: list[int] | None = None) -> dict[str, Any]:
    """Return a tensor of the protocol; files and texts are BYTES."""
    plain = [base64.b64encode(item).decode() if isinstance(item, bytes) else item for item in data]
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": plain}


def seen(response: httpx.Response) -> Any:
    """Return what the model saw, of either answer."""
    assert response.status_code == 200, response.text
    document = response.json()
    outputs = document["outputs"]
    return outputs["boxes"]["value"] if isinstance(outputs, dict) else json.loads(outputs[0]["data"][0])


TWO_VOLUMES = [["image", ".nii", [2, 3, 4]], ["image", ".nii", [2, 3, 5]]]


async def test_a_repeated_field_is_several_files(world: World) -> None:
    """Four modalities under one key: the field comes four times, in the order of the channels."""
    first, second = (field("image", volume(length), "application/x-nifti") for length in (4, 5))
    assert seen(await predict(world, "modalities", first, second)) == TWO_VOLUMES
    assert seen(await predict(world, "modalities", second, first)) == TWO_VOLUMES[::-1]
    assert len(seen(await predict(world, "series", *[field("image", picture(), "image/png")] * 5))) == 5


async def test_a_tensor_of_files_is_several_files(world: World) -> None:
    """The same for the Open Inference Protocol: one BYTES tensor, an element per file."""
    assert seen(await infer(world, "modalities", tensor("image", [volume(4), volume(5)]))) == TWO_VOLUMES
    assert len(seen(await infer(world, "series", tensor("image", [picture()] * 5)))) == 5


async def test_values_come_as_json_beside_an_image(world: World) -> None:
    """Points and prompts, each its own field or tensor; what is optional may be left out."""
    image, points = field("image", picture(), "image/png"), field("points", b"[[1,2,3]]", "application/json")
    prompt: Part = ("label_prompt", (None, b"[3]", ""))  # as `curl -F label_prompt=[3]` sends it
    expected = [["image", ".png", [3, 2]], ["points", [[1, 2, 3]]], ["label_prompt", [3]]]
    assert seen(await predict(world, "prompted", image, points, prompt)) == expected
    assert seen(await predict(world, "prompted", points, image)) == expected[:2]
    tensors = [tensor("image", [picture()]), tensor("points", ["[[1,2,3]]"]), tensor("label_prompt", ["[3]"])]
    assert seen(await infer(world, "prompted", *tensors)) == expected
    assert seen(await infer(world, "prompted", *tensors[:2])) == expected[:2]


async def test_values_alone_are_one_json_object(world: World) -> None:
    """A member per input."""
    assert seen(await predict(world, "values", json={"points": [[1, 2, 3]]})) == [["points", [[1, 2, 3]]]]
    assert seen(await predict(world, "values", json={"label_prompt": [1], "points": {"fg": []}})) == [
        ["points", {"fg": []}],
        ["label_prompt", [1]],
    ]


async def test_an_array_comes_as_npy_or_as_a_tensor(world: World) -> None:
    """In the body, in a form, or with the numbers of the protocol: the same array."""
    values = np.arange(4, dtype=np.float32).reshape(1, 4)
    expected = [["latent", "float32", [[0.0, 1.0, 2.0, 3.0]]]]
    headers = {"content-type": "application/x-npy"}
    assert seen(await predict(world, "latent", content=array(values), headers=headers)) == expected
    assert seen(await predict(world, "latent", field("latent", array(values), "application/x-npy"))) == expected
    assert seen(await infer(world, "latent", tensor("latent", [0, 1, 2, 3], "FP32", [1, 4]))) == expected


@pytest.mark.parametrize("model", ["generator", "free"])
@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"content": b"", "headers": {"content-type": "application/octet-stream"}},
        {"content": b"", "headers": {"content-type": "application/json"}},
        {"json": {}},
    ],
)
async def test_a_model_without_inputs_is_called_with_nothing(
    world: World, model: str, request_body: dict[str, Any]
) -> None:
    """An empty body, ``{}``, or no tensors; also where all inputs are optional."""
    assert seen(await predict(world, model, **request_body)) == []
    assert seen(await infer(world, model)) == []


PNG_FIELD, POINTS_FIELD = field("image", picture(), "image/png"), field("points", b"[]", "application/json")


@pytest.mark.parametrize(
    ("model", "parts", "status", "named"),
    [
        ("modalities", [field("image", volume(), "application/x-nifti")], 422, "image"),
        ("modalities", [field("image", volume(), "application/x-nifti")] * 3, 400, "image"),
        ("prompted", [PNG_FIELD], 422, "points"),
        ("prompted", [POINTS_FIELD], 422, "image"),
        ("prompted", [PNG_FIELD, POINTS_FIELD, POINTS_FIELD], 400, "points"),
        ("prompted", [PNG_FIELD, field("points", b"[[1,2", "application/json")], 400, "points"),
        ("prompted", [PNG_FIELD, field("points", b"[NaN]", "application/json")], 400, "points"),
        ("prompted", [PNG_FIELD, field("points", b"[" * 40 + b"]" * 40, "application/json")], 400, "points"),
        ("prompted", [PNG_FIELD, field("points", picture(), "image/png")], 415, "points"),
        ("prompted", [field("image", b"[[1]]", "application/json"), POINTS_FIELD], 415, "image"),
        ("prompted", [PNG_FIELD, POINTS_FIELD, field("point", b"[]", "application/json")], 422, "part name"),
        ("generator", [PNG_FIELD], 422, "part name"),
        ("latent", [field("latent", picture(), "")], 415, "latent"),
        ("latent", [field("latent", b"?", "")], 415, "latent"),
        ("latent", [field("latent", array([1, 2]), "application/x-npy")], 422, "latent"),
        ("latent", [field("latent", array(np.zeros((1, 4))), "application/x-npy")], 422, "latent"),
        ("latent", [field("latent", array(np.full((1, 4), np.nan, "f4")), "application/x-npy")], 422, "latent"),
        ("latent", [field("latent", array(np.array([{}])), "application/x-npy")], 422, "latent"),
    ],
)
async def test_a_wrong_form_is_refused_by_name(
    world: World, model: str, parts: list[Part], status: int, named: str
) -> None:
    """Too few, too many, the wrong kind, no JSON: the field is named and the model does not run."""
    response = await predict(world, model, *parts)
    assert (response.status_code, response.json()["field"]) == (status, named), response.text
    assert world.model(model).executor.runs == 0


@pytest.mark.parametrize(
    ("model", "body", "media_type", "status", "named"),
    [
        ("values", b"", "application/json", 400, "body"),
        ("values", b"[]", "application/json", 400, "body"),
        ("values", b"{}", "application/json", 422, "points"),
        ("values", b'{"points": [], "image": 1}', "application/json", 422, "image"),
        ("values", b'{"points": 1, "points": 2}', "application/json", 400, "points"),
        ("values", b"x", "image/png", 415, "points"),
        ("prompted", b"{}", "application/json", 415, "Content-Type"),
        ("prompted", picture(), "image/png", 422, "body"),
        ("generator", b"x", "application/octet-stream", 422, "body"),
        ("generator", b'{"seed": 1}', "application/json", 422, "seed"),
        ("modalities", volume(), "application/x-nifti", 422, "image"),
        ("latent", b"", "", 400, "latent"),
    ],
)
async def test_a_wrong_body_is_refused_by_name(
    world: World, model: str, body: bytes, media_type: str, status: int, named: str
) -> None:
    """As a form is."""
    response = await predict(world, model, content=body, headers={"content-type": media_type} if media_type else {})
    assert (response.status_code, response.json()["field"]) == (status, named), response.text
    assert world.model(model).executor.runs == 0


@pytest.mark.parametrize(
    ("model", "tensors", "named"),
    [
        ("modalities", [tensor("image", [volume()])], "image"),
        ("modalities", [tensor("image", [volume()] * 3)], "image"),
        ("prompted", [tensor("image", [picture()])], "points"),
        ("prompted", [], "image"),
        ("prompted", [tensor("image", [picture()]), tensor("points", ["[1"])], "points"),
        ("prompted", [tensor("image", [picture()]), tensor("points", [1], "INT64")], "points"),
        ("prompted", [tensor("image", [picture()] * 2), tensor("points", ["[]"])], "points"),
        ("generator", [tensor("image", [picture()])], "image"),
        ("latent", [tensor("latent", [1, 2], "FP32")], "latent"),
        ("latent", [tensor("latent", [1, 2, 3, 4], "FP64", [1, 4])], "latent"),
        ("latent", [tensor("latent", ["[1]"])], "latent"),
        ("segmenter", [tensor("image", [picture(3), picture(4)])], "image"),
    ],
)
async def test_wrong_tensors_are_refused_by_name(
    world: World, model: str, tensors: list[dict[str, Any]], named: str
) -> None:
    """In the protocol's own shape, before the model runs."""
    response = await infer(world, model, *tensors)
    assert (response.status_code, response.json()["error"].partition(":")[0]) == (400, named), response.text
    assert world.model(model).executor.runs == 0


async def test_several_images_in_one_tensor_are_answered_one_by_one(world: World) -> None:
    """Each goes through the model by itself; the answers stand below each other."""
    dark, bright = encode_png(np.zeros((2, 3), np.uint8)), encode_png(np.full((2, 3), 9, np.uint8))
    [both] = (await infer(world, "segmenter", tensor("image", [dark, bright]))).json()["outputs"]
    singles = [(await infer(world, "segmenter", tensor("image", [one]))).json()["outputs"][0] for one in (dark, bright)]
    assert (both["shape"], [one["shape"] for one in singles]) == ([2, 3, 2], [[3, 2], [3, 2]])
    assert both["data"] == singles[0]["data"] + singles[1]["data"]
    assert world.model("segmenter").executor.runs == 4


def parts_of(response: httpx.Response) -> list[Message]:
    """Return the parts of a multipart answer."""
    whole = b"Content-Type: " + response.headers["content-type"].encode() + b"\r\n\r\n" + response.content
    return [part for part in email.message_from_bytes(whole).walk() if not part.is_multipart()]


async def test_the_caller_chooses_among_values_and_files(world: World) -> None:
    """JSON holds the values, the multipart answer everything, and the file comes alone where it is asked for."""
    answers = {}
    for accept in ("application/json", "text/csv", "multipart/mixed", "image/png"):
        content = {"content": picture(), "headers": {"content-type": "image/png", "accept": accept}}
        answers[accept] = await predict(world, "reporter", **content)
    assert answers["application/json"].json()["files"] == [
        {"suffix": ".csv", "media_type": "text/csv", "bytes": 8, "name": "report", "text": "x,y\n1,2\n"}
    ]
    assert answers["text/csv"].content == b"x,y\n1,2\n"
    assert answers["text/csv"].headers["content-disposition"] == 'attachment; filename="report.csv"'
    assert [part.get_content_type() for part in parts_of(answers["multipart/mixed"])] == [
        "application/json",
        "text/csv",
    ]
    assert answers["image/png"].status_code == 406
    assert "text/csv" in answers["image/png"].json()["available"]


async def test_values_and_files_are_outputs_of_the_protocol(world: World) -> None:
    """BYTES with a content type: JSON text, and the file in base64; each can be asked for by name."""
    response = await infer(world, "reporter", tensor("image", [picture()]), outputs=[{"name": "file_0"}])
    assert response.json()["outputs"] == [
        {
            "name": "file_0",
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {"content_type": "text/csv", "filename": "report.csv"},
            "data": [base64.b64encode(b"x,y\n1,2\n").decode()],
        }
    ]


async def test_the_metadata_tell_each_kind(world: World) -> None:
    """Datatype and shape as the protocol has them; what it has no word for stands in the parameters."""
    found = {}
    async with world.client() as client:
        for of in CONTRACTS:
            document = (await client.get(f"/v2/models/{of.model}")).json()
            found[of.model] = {item["name"]: item for item in document["inputs"]}, document["outputs"]
    inputs, outputs = found["prompted"]
    assert inputs["points"] == {
        "name": "points",
        "datatype": "BYTES",
        "shape": [-1],
        "parameters": {
            "content": "one JSON value as text per row",
            "media_types": "application/json",
            "example": "[[1,2,3]]",
        },
    }
    assert inputs["label_prompt"]["parameters"]["optional"] is True
    assert found["modalities"][0]["image"]["shape"] == [2]
    assert found["modalities"][0]["image"]["parameters"]["content"] == "2 encoded files of one item"
    assert found["series"][0]["image"]["shape"] == [-1]
    latent = found["latent"][0]["latent"]
    assert (latent["datatype"], latent["shape"]) == ("FP32", [-1, 4])
    assert found["generator"][0] == {}
    assert outputs[0] == {
        "name": "boxes",
        "datatype": "BYTES",
        "shape": [-1],
        "parameters": {"kind": "value", "content_type": "application/json"},
    }
    assert found["reporter"][1][1]["parameters"] == {"kind": "file", "content_type": "text/csv"}
