"""``ModelInfer``: typed and raw tensors, and what must be refused, by name."""

from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.transports.fakes import RECORD, FakeExecutor, FakeModel
from tests.unit.transports.grpc.station import (
    ADMIN,
    RAW_RECORD,
    Station,
    bare,
    raw_request,
    request,
    station,
    typed,
    volume_request,
)
from tritonclient.grpc import service_pb2

from bedside.bundle.contract import OutputSpec
from bedside.codecs import Codecs
from bedside.errors import BedsideError, RequestError
from bedside.settings import LimitSettings
from bedside.transports.grpc.infer_request import infer_request, parse_message
from bedside.types import OutputArray, OutputFile, Prediction, ValidatedInputs

EXPECTED = pytest.approx([0.37, 0.63])


async def test_typed_request_typed_answer(heart: Station) -> None:
    """Who sends lists gets lists."""
    answer = await heart.infer(request())

    (output,) = answer.outputs
    assert (answer.model_name, answer.model_version) == ("heart", "1.0.0")
    assert (output.name, output.datatype, list(output.shape)) == ("probabilities", "FP32", [1, 2])
    assert list(output.contents.fp32_contents) == EXPECTED
    assert not answer.raw_output_contents
    assert output.parameters["labels"].string_param == '["absent","present"]'


async def test_raw_request_raw_answer(heart: Station) -> None:
    """Who sends bytes gets bytes, one element for each output."""
    answer = await heart.infer(raw_request())

    assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == EXPECTED
    assert not answer.outputs[0].HasField("contents")


@pytest.mark.parametrize("asked", [request, raw_request], ids=["typed", "raw"])
async def test_what_is_answered_is_watched(heart: Station, asked: Any) -> None:
    """As what predict answers: the class and how sure."""
    await heart.infer(asked())
    (finding,) = heart.world.sink.only.findings
    assert finding.predicted is not None
    assert finding.predicted[0] == "present"
    assert finding.predicted[1] == pytest.approx(0.63)


async def test_one_tensor_per_feature(heart: Station) -> None:
    """Features as tensors of their own, of whatever numeric datatype, several rows at once."""
    age = typed("age", [2], "INT32", int_contents=[63, 41])
    chol = typed("chol", [2, 1], "FP64", fp64_contents=[233, float("nan")])

    (output,) = (await heart.infer(request(age, chol))).outputs

    assert list(output.shape) == [2, 2]
    assert list(output.contents.fp32_contents) == pytest.approx([0.37, 0.63, 0.59, 0.41])
    assert heart.world.sink.only.rows == 2


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("INT8", "int_contents"),
        ("INT16", "int_contents"),
        ("INT32", "int_contents"),
        ("INT64", "int64_contents"),
        ("UINT8", "uint_contents"),
        ("UINT16", "uint_contents"),
        ("UINT32", "uint_contents"),
        ("UINT64", "uint64_contents"),
        ("FP32", "fp32_contents"),
        ("FP64", "fp64_contents"),
    ],
)
async def test_every_datatype_has_its_field(heart: Station, datatype: str, field: str) -> None:
    """The table of InferTensorContents."""
    (output,) = (await heart.infer(request(typed("features", [1, 2], datatype, **{field: [63, 100]})))).outputs

    assert list(output.contents.fp32_contents) == EXPECTED


async def test_bytes_typed_and_raw(heart: Station) -> None:
    """BYTES: each element as it is, or with four bytes of length before it; here a missing value."""
    age, chol = bare("age", [1], "FP32"), bare("chol", [1], "BYTES")
    as_raw = request(age, chol, raw=[RAW_RECORD[:4], b"\x01\0\0\0?"])
    as_typed = request(typed("age", [1], fp32_contents=[63]), typed("chol", [1], "BYTES", bytes_contents=[b"?"]))

    assert np.frombuffer((await heart.infer(as_raw)).raw_output_contents[0], "<f4").tolist() == EXPECTED
    assert list((await heart.infer(as_typed)).outputs[0].contents.fp32_contents) == EXPECTED


async def test_volume_with_its_geometry(heart: Station) -> None:
    """An array goes with the parameter that says where it lies, a list as JSON text."""
    answer = await heart.infer(volume_request((2, 3, 4)))

    assert list(answer.outputs[0].shape) == [2, 3, 4]
    assert answer.raw_output_contents[0] == bytes([1] * 24)


async def test_id_and_requested_outputs(heart: Station) -> None:
    """The identifier comes back, and the results that were asked for."""
    answer = await heart.infer(raw_request(id="study 4", outputs=[{"name": "probabilities"}]))

    assert answer.id == "study 4"
    assert [output.name for output in answer.outputs] == ["probabilities"]


async def test_version_in_the_message(heart: Station) -> None:
    """A version that is served answers; another is not found."""
    assert (await heart.infer(request(model_version="1.0.0"))).model_version == "1.0.0"
    assert (await heart.refused(request(model_version="9"))).code() is StatusCode.NOT_FOUND


async def test_half_precision_answers_raw(heart: Station) -> None:
    """FP16 has no typed form: the whole answer is raw, also to a typed request."""

    async def halves(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        return Prediction((OutputArray("probabilities", np.array([0.25, 0.75], np.float16)),))

    contract = replace(RECORD, model="half", outputs=(OutputSpec("probabilities", "tensor", "float16", (2,)),))
    heart.world.repository.models["half"] = FakeModel(contract, FakeExecutor(contract, halves))

    answer = await heart.infer(request(model="half"))

    assert np.frombuffer(answer.raw_output_contents[0], "<f2").tolist() == [0.25, 0.75]


async def test_files_and_values_are_bytes(heart: Station) -> None:
    """What is no array goes as BYTES: each element as it is, or behind its length."""

    async def both(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        return Prediction((), (OutputFile(".bin", b"\0data\0"),), values={"points": [1, 2]})

    contract = replace(RECORD, model="files", outputs=())
    heart.world.repository.models["files"] = FakeModel(contract, FakeExecutor(contract, both))

    as_typed = await heart.infer(request(model="files"))
    as_raw = await heart.infer(raw_request(model="files"))

    assert [output.datatype for output in as_typed.outputs] == ["BYTES", "BYTES"]
    assert [list(output.contents.bytes_contents) for output in as_typed.outputs] == [[b"[1,2]"], [b"\0data\0"]]
    assert list(as_raw.raw_output_contents) == [b"\5\0\0\0[1,2]", b"\6\0\0\0\0data\0"]


async def test_large_tensors_go_through_threads(heart: Station) -> None:
    """A megabyte is decoded and encoded off the event loop, with the same result."""
    shape = (64, 64, 64)
    tensor = typed("image", shape, fp32_contents=[0.0] * 64**3)
    tensor.parameters["affine"].string_param = "[1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1]"

    as_typed = await heart.infer(request(tensor, model="mask"))
    as_raw = await heart.infer(volume_request(shape))

    assert list(as_typed.outputs[0].contents.uint_contents) == [1] * 64**3
    assert as_raw.raw_output_contents[0] == bytes([1]) * 64**3


# Hostile inputs: each a clean refusal that names the field


def _with_parameter(name: str, **value: Any) -> Any:
    tensor = bare()
    tensor.parameters[name].SetInParent()
    for field, content in value.items():
        setattr(tensor.parameters[name], field, content)
    return request(tensor, raw=[RAW_RECORD])


HOSTILE = {
    "no inputs": (request(raw=[RAW_RECORD]), "raw_input_contents"),
    "nothing at all": (service_pb2.ModelInferRequest(model_name="heart"), "features"),
    "raw too short": (request(bare(), raw=[RAW_RECORD[:-1]]), "features"),
    "raw too long": (request(bare(), raw=[RAW_RECORD + b"\0"]), "features"),
    "raw empty": (request(bare(), raw=[b""]), "features"),
    "fewer raw than inputs": (request(bare("age", [1]), bare("chol", [1]), raw=[bytes(4)]), "raw_input_contents"),
    "more raw than inputs": (request(bare(), raw=[RAW_RECORD, b""]), "raw_input_contents"),
    "typed and raw": (request(typed(), raw=[RAW_RECORD]), "inputs[0].contents"),
    "one typed, one raw": (
        request(bare("age", [1]), typed("chol", [1], fp32_contents=[1]), raw=[bytes(4), b""]),
        "inputs[1].contents",
    ),
    "negative axis": (request(typed(shape=[-1, 2])), "inputs[0].shape"),
    "axis of zero": (request(typed(shape=[0, 2])), "features"),
    "no axes": (request(typed(shape=[])), "features"),
    "seventeen axes": (request(typed(shape=[1] * 17)), "inputs[0].shape"),
    "huge shape, tiny data": (volume_request((2**31, 2**31, 2**31), 4), "image"),
    "shape beyond 64 bits in all": (volume_request((2**62, 2**62, 2**62), 0), "image"),
    "typed too few": (request(typed(fp32_contents=[1])), "features"),
    "typed too many": (request(typed(fp32_contents=[1, 2, 3])), "features"),
    "typed none": (request(bare()), "features"),
    "typed in another field": (request(typed(datatype="FP64")), "inputs[0].contents"),
    "typed in two fields": (request(typed(fp32_contents=[1, 2], int_contents=[1, 2])), "inputs[0].contents"),
    "FP16 typed": (request(typed(datatype="FP16")), "inputs[0].contents"),
    "beyond its datatype": (request(typed(datatype="INT8", int_contents=[300, 1])), "features"),
    "truth values": (request(typed(datatype="BOOL", bool_contents=[True, True])), "features"),
    "unknown datatype": (request(typed(datatype="FP99", fp32_contents=[])), "features"),
    "no datatype": (request(typed(datatype="")), "inputs[0].datatype"),
    "no name": (request(typed("")), "inputs[0].name"),
    "unknown name": (request(typed("nope")), "nope"),
    "one name twice": (request(typed(), typed()), "features"),
    "a feature is missing": (request(typed("age", [1], fp32_contents=[63])), "chol"),
    "infinite": (request(typed(fp32_contents=[float("inf"), 1])), "age"),
    "not a number": (request(typed(fp32_contents=[float("nan"), 1])), "age"),
    "length lies, longer": (
        request(bare("age", [1]), bare("chol", [1], "BYTES"), raw=[RAW_RECORD[:4], b"\xff\xff\xff\xff?"]),
        "chol",
    ),
    "length lies, shorter": (
        request(bare("age", [1]), bare("chol", [1], "BYTES"), raw=[RAW_RECORD[:4], b"\0\0\0\0?"]),
        "chol",
    ),
    "length cut off": (request(bare("age", [1]), bare("chol", [1], "BYTES"), raw=[RAW_RECORD[:4], b"\1\0"]), "chol"),
    "unknown output": (raw_request(outputs=[{"name": "nope"}]), "outputs[0].name"),
    "an output twice": (raw_request(outputs=[{"name": "probabilities"}] * 2), "outputs"),
    "an output without a name": (raw_request(outputs=[{}]), "outputs[0].name"),
    "shared memory": (_with_parameter("shared_memory_region", string_param="x"), "inputs[0].parameters"),
    "parameter without a value": (_with_parameter("spacing"), "inputs[0].parameters"),
    "affine that is none": (volume_request(), "image"),
}
HOSTILE["affine that is none"][0].inputs[0].parameters["spacing"].string_param = "[1, 1, 0]"


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_inputs_are_refused_by_name(heart: Station, name: str) -> None:
    """INVALID_ARGUMENT, the field first, and nothing ran."""
    asked, field = HOSTILE[name]

    error = await heart.refused(asked)

    assert error.code() is StatusCode.INVALID_ARGUMENT, error.details()
    assert (error.details() or "").startswith(f"{field}"), error.details()
    assert all(model.executor.runs == 0 for model in heart.world.repository.models.values())


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x7f", b"\x0a\x01\xff", b"\x3a\x7f"])
async def test_bytes_that_are_no_message(heart: Station, data: bytes) -> None:
    """What protobuf cannot read is the caller's mistake, not ours."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await heart.send(data)

    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "message: not an encoded ModelInferRequest"


async def test_typed_contents_have_the_limit_of_json() -> None:
    """Lists cost as JSON does; large tensors go raw."""
    async with station(limits={"json_bytes": 1024}) as small:
        error = await small.refused(request(typed(shape=[1, 400], fp32_contents=[0.0] * 400)))
        volume = await small.infer(volume_request((8, 8, 8)))

    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    assert (error.details() or "").startswith("contents: ")
    assert volume.outputs


async def test_errors_repeat_nothing_of_the_caller(heart: Station) -> None:
    """A made-up name may be a person's."""
    error = await heart.refused(request(typed("DOE^JOHN"), model="heart"))
    unknown = await heart.refused(request(model="DOE^JOHN"), ADMIN)

    assert "DOE" not in (error.details() or "") + (unknown.details() or "")


SPECS = RECORD.inputs


@given(st.data())
def test_raw_contents_of_any_kind_are_decoded_or_refused(data: st.DataObject) -> None:
    """Whatever shape, datatype and bytes: a request error that names a field, or arrays that use every byte."""
    count = data.draw(st.integers(1, 3))
    names = st.sampled_from(["features", "age", "chol", "nope"])
    datatypes = st.sampled_from(["FP32", "FP64", "FP16", "INT8", "UINT64", "BYTES", "BOOL", "BF16", "X"])
    shapes = st.lists(st.integers(-1, 4) | st.integers(2**31, 2**63 - 1), max_size=4)
    inputs = [bare(data.draw(names), data.draw(shapes), data.draw(datatypes)) for _ in range(count)]
    raw = data.draw(st.lists(st.binary(max_size=40), max_size=3))
    encoded = request(*inputs, raw=raw).SerializeToString()
    codecs = Codecs(LimitSettings())

    try:
        parsed = infer_request(parse_message(encoded, 1 << 16))
        rows = codecs.decode_tensors(parsed.inputs, SPECS)
    except RequestError as error:
        assert isinstance(error, BedsideError)  # noqa: PT017 - that it raises at all is not what is tested
    else:
        assert rows
        assert sum(len(tensor.data) for tensor in parsed.inputs) == sum(map(len, raw))
