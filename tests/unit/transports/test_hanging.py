"""A radiograph that hung in another way goes in as a tensor of bytes, and its mask comes back as it was sent."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.unit.transports.dicom_world import maker
from tests.unit.transports.fakes import FakeExecutor, FakeModel, World, make_world
from tests.unit.transports.grpc.station import station
from tritonclient.grpc import service_pb2

from bedside.bundle.contract import Contract, InputSpec, OutputSpec
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.types import DecodedImage, OutputArray, Prediction, ValidatedInputs

pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")

CHEST = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
"""As it hangs: rows run to the patient's left, columns to the feet. Its lower half is brighter than 100."""

STORED = {"upright": ("LF", CHEST), "upside_down": ("LH", CHEST[::-1]), "turned_to_the_left": ("FR", np.rot90(CHEST))}
IMAGE = InputSpec("image", "image", ("application/dicom",), 2, dicom=DicomPolicy(orientation="turn"))
MASK = OutputSpec("mask", "segmentation", labels={0: "background", 1: "lung"}, like_input="image")
CONTRACT = Contract("lungs", "1", "sha256:0", "", "", (IMAGE,), (MASK,), {})


async def segment(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
    """Answer with what is bright, columns first, as MONAI has it; the model sees the chest upright."""
    (item,) = inputs.items
    assert isinstance(item, DecodedImage)
    assert item.shape == (4, 3)
    seen = np.asarray(Image.open(io.BytesIO(item.payload)))
    return Prediction((OutputArray("mask", np.ascontiguousarray((seen > 100).astype(np.uint8).T)),))


@pytest.fixture
def world() -> World:
    """One application with a model of chests."""
    world = make_world(server={"grpc_port": 0})
    world.repository.models["lungs"] = FakeModel(CONTRACT, FakeExecutor(CONTRACT, segment))
    return world


def stored(name: str) -> tuple[bytes, Any]:
    """Return a file, and the mask (columns, rows) that belongs on its pixels as they lie in it."""
    letters, pixels = STORED[name]
    made = maker.radiograph(np.ascontiguousarray(pixels), PatientOrientation=list(letters))
    shown = np.floor(np.clip((pixels - 2047.5) / 4095 + 0.5, 0, 1) * 255 + 0.5)  # PS3.3 §C.11.2.1.2.1
    return maker.files([made])[0], (shown > 100).T.astype(int)


@pytest.mark.parametrize("name", STORED)
async def test_over_http(world: World, name: str) -> None:
    """As JSON."""
    data, mask = stored(name)
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(data).decode()]}
    async with world.client() as client:
        (output,) = (await client.post("/v2/models/lungs/infer", json={"inputs": [tensor]})).json()["outputs"]
    assert output["shape"] == list(mask.shape)
    assert output["data"] == mask.ravel().tolist()


@pytest.mark.parametrize("name", STORED)
async def test_over_grpc(world: World, name: str) -> None:
    """In typed fields."""
    data, mask = stored(name)
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(data)
    async with station(world) as server:
        answer = await server.infer(service_pb2.ModelInferRequest(model_name="lungs", inputs=[tensor]))
    (output,) = answer.outputs
    assert list(output.shape) == list(mask.shape)
    assert list(output.contents.uint_contents) == mask.ravel().tolist()
