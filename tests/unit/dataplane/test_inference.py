"""The numbered spine, over stages in memory."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec
from bedside.dataplane.call import Call
from bedside.dataplane.inference import INLINE_DECODE_BYTES, Row
from bedside.errors import (
    BedsideError,
    DeadlineExceeded,
    ExpiredToken,
    InsufficientScope,
    MalformedPayload,
    MissingToken,
    ModelNotFound,
    NotAcceptable,
    RunFailed,
    UnknownInput,
    WrongShape,
)
from bedside.types import (
    Finding,
    OutputArray,
    Prediction,
    RawInput,
    RawPart,
    RawRecord,
    RawTensor,
    UnverifiedToken,
    ValidatedInputs,
)

TOKEN = UnverifiedToken("token")
PART = RawPart(None, "application/x-nifti", b"voxels")
IMAGE = InputSpec("image", "image", spatial_dims=3, channels=(1,))
MASK = InputSpec("mask", "image", spatial_dims=3, channels=(1,))
RECORD = InputSpec("features", "record", features=(FeatureSpec("age"),))


def contract(*inputs: InputSpec) -> Contract:
    """Return the contract of a model with those inputs."""
    return Contract("spleen", "1.2.0", "sha256:0", "", "", inputs, (), {})


async def whole(stages: Any, call: Call, *raw: RawInput, media_type: str = "application/gzip", **limits: float) -> None:
    """Take a call through every stage, as a transport does."""
    plane = stages.plane(**limits)
    try:
        served = await plane.admit(call, TOKEN, "spleen", None)
        (row, *_) = await plane.infer(call, served, raw or [PART])
        await plane.encode(call, served, row, media_type)
    except BedsideError as error:
        call.error = error
        raise
    finally:
        plane.account(call)


async def test_stages_are_taken_in_their_order(stages: Any, call: Call) -> None:
    """Authenticate, authorise, resolve, decode, run, encode, account."""
    await whole(stages, call)
    assert stages.order == ["authenticate", "authorise", "resolve", "decode", "run", "encode", "account"]


async def test_the_call_gathers_what_stage_nine_accounts_for(stages: Any, call: Call) -> None:
    """Who, which model, how much and how long; nothing of the input."""
    await whole(stages, call)
    assert call.principal is not None
    assert (call.principal.subject, call.model, call.version, call.digest, call.device) == (
        "somebody",
        "spleen",
        "1.2.0",
        "sha256:0",
        "cpu",
    )
    assert (call.rows, call.input_bytes, call.output_bytes) == (1, 6, 5)
    assert set(call.stages) == {"authenticate", "decode", "run", "inference", "queue", "encode"}
    assert stages.accounted == [call]


@pytest.mark.parametrize("token", [None, ""])
async def test_without_a_token_nothing_else_is_taken(stages: Any, call: Call, token: str | None) -> None:
    """MissingToken, before anybody is asked."""
    with pytest.raises(MissingToken):
        await stages.plane().admit(call, UnverifiedToken(token) if token is not None else None, "spleen", None)
    assert stages.order == []
    assert "authenticate" in call.stages


async def test_authorisation_comes_before_the_look_up(stages: Any, call: Call) -> None:
    """Without the scope one cannot learn which models exist, and no name is accounted for."""
    stages.fails = {"authorise": InsufficientScope(), "resolve": ModelNotFound()}
    with pytest.raises(InsufficientScope):
        await whole(stages, call)
    assert stages.order == ["authenticate", "authorise", "account"]
    assert call.model == ""


@pytest.mark.parametrize(
    ("stage", "error", "timed"),
    [
        ("authenticate", ExpiredToken(), {"authenticate"}),
        ("authorise", InsufficientScope(), {"authenticate"}),
        ("resolve", ModelNotFound(), {"authenticate"}),
        ("decode", MalformedPayload(), {"authenticate", "decode"}),
        ("run", RunFailed(), {"authenticate", "decode", "run"}),
        ("encode", NotAcceptable(), {"authenticate", "decode", "run", "inference", "queue", "encode"}),
    ],
)
async def test_an_error_ends_the_call_and_keeps_the_times(
    stages: Any, call: Call, stage: str, error: BedsideError, timed: set[str]
) -> None:
    """No later stage is taken, the stages so far are timed, and the call is accounted for."""
    stages.fails = {stage: error}
    with pytest.raises(type(error)):
        await whole(stages, call)
    assert stages.order[-2:] == [stage, "account"]
    assert set(call.stages) == timed
    assert call.error is error


async def test_an_input_that_breaks_the_contract_is_never_queued(stages: Any, call: Call) -> None:
    """Validation names the field before anything runs."""
    stages.decoded_shape = (2, 3)
    with pytest.raises(WrongShape) as caught:
        await whole(stages, call)
    assert caught.value.field == "image"
    assert "run" not in stages.order


@pytest.mark.parametrize(
    ("media_type", "size", "here"),
    [
        ("application/json", INLINE_DECODE_BYTES, True),
        ("application/json", INLINE_DECODE_BYTES + 1, False),
        ("image/tiff", 100, False),
    ],
    ids=["small_record", "large_record", "small_file"],
)
async def test_files_and_large_inputs_are_decoded_off_the_event_loop(
    stages: Any, call: Call, media_type: str, size: int, *, here: bool
) -> None:
    """Small records are not worth the hop; a small file may be seconds of work."""
    await whole(stages, call, RawPart(None, media_type, bytes(size)))
    assert (stages.threads["decode"] == threading.get_ident()) is here


async def test_decoding_takes_no_longer_than_the_call_may(stages: Any, call: Call) -> None:
    """A file that takes for ever to decode costs its caller the deadline, and nobody else anything."""
    may_end = threading.Event()
    stages.decode_part = lambda *_: may_end.wait(30)
    try:
        with pytest.raises(DeadlineExceeded):
            await whole(stages, call, request_seconds=0.05)
    finally:
        may_end.set()
    assert "run" not in stages.order
    assert call.stages["decode"] > 0


@pytest.mark.parametrize(("media_type", "here"), [("application/json", True), ("application/gzip", False)])
async def test_files_are_encoded_off_the_event_loop(stages: Any, call: Call, media_type: str, *, here: bool) -> None:
    """Compression takes its time; a small document does not."""
    await whole(stages, call, media_type=media_type)
    assert (stages.threads["encode"] == threading.get_ident()) is here


@pytest.mark.parametrize(("size", "here"), [(INLINE_DECODE_BYTES, True), (INLINE_DECODE_BYTES + 1, False)])
async def test_a_document_on_a_large_mask_is_written_off_the_event_loop(
    stages: Any, call: Call, size: int, *, here: bool
) -> None:
    """Its voxels are counted for it."""
    plane = stages.plane()
    served = await plane.admit(call, TOKEN, "spleen", None)
    row = Row(ValidatedInputs(()), Prediction((OutputArray("pred", np.zeros(size, np.uint8)),)))
    await plane.encode(call, served, row, "application/json")
    assert (stages.threads["encode"] == threading.get_ident()) is here


async def test_what_is_answered_is_found_in_the_thread_that_writes_it(stages: Any, call: Call) -> None:
    """Counting the voxels of a volume takes as long as packing it."""
    stages.watches = True
    plane = stages.plane()
    served = await plane.admit(call, TOKEN, "spleen", None)
    (row,) = await plane.infer(call, served, [PART])
    await plane.encode(call, served, row, "application/gzip")
    assert call.findings == (Finding(("healthy", 1.0)),)
    assert stages.threads["find"] == stages.threads["encode"] != threading.get_ident()


@pytest.mark.parametrize(("size", "here"), [(1, True), (INLINE_DECODE_BYTES, False)])
async def test_of_tensors_every_row_is_found(stages: Any, call: Call, size: int, *, here: bool) -> None:
    """In their order, after the message has been made; of large ones off the event loop."""
    stages.watches = True
    plane = stages.plane()
    served = await plane.admit(call, TOKEN, "spleen", None)
    rows = [Row(ValidatedInputs(()), Prediction((OutputArray("pred", np.zeros(size, np.uint8)),)))] * 2

    def write(of: Contract, written: Sequence[Row]) -> str:
        stages.take("write")
        return f"{len(written)} rows of {of.model}"

    assert await plane.write(call, served, rows, write) == "2 rows of spleen"
    assert call.findings == [Finding(("healthy", 1.0)), Finding(("healthy", 0.5))]
    assert stages.order[-3:] == ["write", "find", "find"]
    assert (stages.threads["find"] == stages.threads["write"] == threading.get_ident()) is here
    assert call.stages["encode"] > 0


async def test_where_nobody_watches_nothing_is_looked_for(stages: Any, call: Call) -> None:
    """Neither in files nor in tensors."""
    plane = stages.plane()
    served = await plane.admit(call, TOKEN, "spleen", None)
    (row,) = await plane.infer(call, served, [PART])
    await plane.encode(call, served, row, "application/gzip")
    await plane.write(call, served, [row], lambda *_: None)
    assert "find" not in stages.order
    assert call.findings == ()


async def test_the_executor_gets_what_is_left_of_the_time(stages: Any, call: Call) -> None:
    """Time spent on the way is not given twice."""
    call.started -= 10
    await whole(stages, call, request_seconds=30.0)
    (timeout,) = stages.timeouts
    assert 0 < timeout < 20


async def test_a_call_that_has_used_up_its_time_is_not_queued(stages: Any, call: Call) -> None:
    """DeadlineExceeded, without a run."""
    call.started -= 10
    with pytest.raises(DeadlineExceeded):
        await whole(stages, call, request_seconds=5.0)
    assert "run" not in stages.order


async def test_a_record_goes_to_the_record_input(stages: Any, call: Call) -> None:
    """A JSON document of named numbers."""
    stages.contract = contract(RECORD)
    await whole(stages, call, RawRecord({"age": 63}))
    assert (stages.order.count("run"), call.input_bytes) == (1, 0)


async def test_a_record_for_an_image_model_is_refused(stages: Any, call: Call) -> None:
    """It takes none, and the body is named."""
    with pytest.raises(UnknownInput) as caught:
        await whole(stages, call, RawRecord({"age": 63}))
    assert caught.value.field == "body"


async def test_named_parts_go_to_their_inputs(stages: Any, call: Call) -> None:
    """Two images, in any order."""
    stages.contract = contract(IMAGE, MASK)
    parts = [RawPart(name, "application/x-nifti", b"voxels") for name in ("mask", "image")]
    await whole(stages, call, *parts)
    assert stages.order.count("decode") == 2


@pytest.mark.parametrize(("name", "field"), [(None, "body"), ("liver", "part name")])
async def test_a_part_that_belongs_to_no_input_is_refused(
    stages: Any, call: Call, name: str | None, field: str
) -> None:
    """With several inputs a body needs a name, and the name must be one of theirs."""
    stages.contract = contract(IMAGE, MASK)
    with pytest.raises(UnknownInput, match="image, mask") as caught:
        await whole(stages, call, RawPart(name, "application/x-nifti", b"voxels"))
    assert caught.value.field == field


async def test_every_row_of_a_tensor_request_is_run(stages: Any, call: Call) -> None:
    """Rows are items; their times add up."""
    stages.contract, stages.rows = contract(RECORD), 3
    plane = stages.plane()
    served = await plane.admit(call, TOKEN, "spleen", None)
    rows = await plane.infer(call, served, [RawTensor("features", "FP32", (3, 1), bytes(12))])
    assert (len(rows), call.rows, stages.order.count("run")) == (3, 3, 3)


class Slow:
    """Runs rows that take a turn of the loop; the first of a call fails where it is to, and the others then hang."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.running: list[int] = []
        self.at_one_time: list[int] = []
        self.cancelled: list[int] = []

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one."""
        number = len(self.at_one_time)
        self.running.append(number)
        self.at_one_time.append(len(self.running))
        try:
            await asyncio.sleep(0)
            if self.error is not None and number == 0:
                raise self.error
            if self.error is not None:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.running.remove(number)
        return Prediction((OutputArray("pred", np.array(number)),))


async def test_rows_are_handed_over_as_many_as_may_share_a_run(stages: Any, call: Call) -> None:
    """Two by two, in order; when one fails the call fails, and the row beside it is let go."""
    slow = Slow()
    stages.contract, stages.rows, stages.concurrency, stages.run = contract(RECORD), 5, 2, slow.run
    plane = stages.plane()
    served = await plane.admit(call, TOKEN, "spleen", None)
    raw = [RawTensor("features", "FP32", (5, 1), bytes(20))]
    rows = await plane.infer(call, served, raw)
    assert [int(row.prediction.arrays[0].array) for row in rows] == [0, 1, 2, 3, 4]
    assert slow.at_one_time == [1, 2, 1, 2, 1]
    slow.error, slow.at_one_time = RunFailed(), []
    with pytest.raises(RunFailed):
        await plane.infer(call, served, raw)
    await asyncio.sleep(0)
    assert (slow.cancelled, slow.running) == ([1], [])


async def test_a_size_that_the_transport_knows_is_kept(stages: Any, call: Call) -> None:
    """The bytes on the wire, not those after the envelope was opened."""
    call.input_bytes = 1000
    await whole(stages, call)
    assert call.input_bytes == 1000


async def test_media_types_are_those_of_the_encoder(stages: Any, call: Call) -> None:
    """The preferred one first."""
    plane = stages.plane()
    served = await plane.admit(call, TOKEN, "spleen", None)
    assert plane.available(served) == ("application/gzip", "application/json")


async def test_close_releases_the_stages(stages: Any) -> None:
    """Threads and connections."""
    plane = stages.plane()
    await plane.close()
    assert stages.order == ["close"]
    with pytest.raises(RuntimeError):
        plane._decoders.submit(print)


def test_a_call_knows_how_long_it_has_taken(call: Call) -> None:
    """Seconds since it was received."""
    call.started -= 5
    assert call.seconds >= 5


async def test_calls_that_come_at_one_time_take_each_stage_together(stages: Any) -> None:
    """All are decoded before the first is run, all are run before the first is encoded."""
    both = [Call(name, "rest", "predict") for name in ("first", "second")]
    await asyncio.gather(*(whole(stages, call) for call in both))
    steps = [step for step in stages.order if step in ("decode", "run", "encode")]
    assert steps == ["decode", "decode", "run", "run", "encode", "encode"]
