"""Truth comes to another server than the one that answered, after that has ended: nothing is lost between."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import httpx
import pytest
from tests.acceptance.conftest import APPS, Served, start, stop
from tests.acceptance.test_documentation import BLOCK, DOCS, _run
from tritonclient.grpc import service_pb2, service_pb2_grpc

MODEL = "heart_disease"
RECORD = json.loads((APPS / MODEL / "golden" / "cases.json").read_text())[0]["inputs"]["features"]
PREDICT, TRUTH, ACCURACY = (f"/v1/models/{MODEL}/{end}" for end in ("predict", "truth", "accuracy"))
ANSWERS = 24


def kept(folder: Path, database: Path) -> Served:
    """Start a server that keeps predictions in a database."""
    return start(
        [APPS / MODEL],
        folder,
        BEDSIDE_JOBS__DATABASE=f"sqlite:///{database}",
        BEDSIDE_MONITORING__PREDICTIONS_SECONDS="3600",
    )


def events(served: Served, name: str) -> list[dict[str, object]]:
    """Return what a server that has ended has logged of a name."""
    lines = [json.loads(line) for line in served.log.read_bytes().splitlines() if line.startswith(b"{")]
    return [line["inference"] for line in lines if line["message"] == name]


def answer(served: Served) -> list[tuple[str, int, str]]:
    """Ask in every way, in rows, too; return the ids of the answers, their rows and what they named."""
    rows = [[*{**RECORD, "age": 40 + n % 30}.values()] for n in range(ANSWERS)]
    third = ANSWERS // 3
    with served.client() as client:
        said = [client.post(PREDICT, json=dict(zip(RECORD, row, strict=True))) for row in rows[:third]]
        named = [(answer.headers["x-request-id"], 0, answer.json()["prediction"]) for answer in said]
        packed = {
            "name": "features",
            "datatype": "FP64",
            "shape": [third, len(RECORD)],
            "data": rows[third : 2 * third],
        }
        together = client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [packed]})
        token = client.headers["authorization"]
    (output,) = together.json()["outputs"]
    ids = [together.headers["x-request-id"]] * third
    named += zip(ids, range(third), _classes(output["data"], json.loads(output["parameters"]["labels"])), strict=True)
    with grpc.insecure_channel(served.grpc) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        for row in rows[2 * third :]:
            tensor = service_pb2.ModelInferRequest.InferInputTensor(
                name="features", datatype="FP64", shape=[1, len(row)]
            )
            tensor.contents.fp64_contents.extend(row)
            request = service_pb2.ModelInferRequest(model_name=MODEL, inputs=[tensor])
            reply, done = infer.with_call(request, metadata=(("authorization", token),), timeout=60)
            (output,) = reply.outputs
            classes = _classes(output.contents.fp32_contents, json.loads(output.parameters["labels"].string_param))
            named.append((dict(done.trailing_metadata())["x-request-id"], 0, classes[0]))
    return named


def _classes(numbers: Sequence[float], names: Sequence[str]) -> list[str]:
    """Return the class that each row of probabilities names."""
    rows = zip(*[iter(numbers)] * len(names), strict=True)
    return [names[row.index(max(row))] for row in rows]


def bedside(served: Served, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the scope to tell the truth."""
    environment = {**os.environ, "BEDSIDE_URL": served.url, "BEDSIDE_TOKEN": served.token("bedside.truth")}
    whole = [sys.executable, "-m", "bedside", *command]
    return subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)


def test_truth_that_comes_to_another_server_finds_its_answers(tmp_path: Path) -> None:
    """One answers and is killed; the other takes the truths of a file, counts them and tells how right the first was.

    What a server answered in its last half second is not kept: the first is asked for one, which writes them all.
    """
    database = tmp_path / "shared.db"
    first = kept(tmp_path / "first", database)
    try:
        told = answer(first)
        with first.client("bedside.truth") as client:
            client.post(TRUTH, json={"request_id": told[-1][0], "truth": told[-1][2]}).raise_for_status()
        first.process.kill()
    finally:
        stop(first)
    file = tmp_path / "truths.csv"
    wrong = {"disease": "no disease", "no disease": "disease"}
    lines = [f"{name},{row},{said if number % 4 else wrong[said]}" for number, (name, row, said) in enumerate(told, 1)]
    file.write_text("\n".join(["request_id,row,truth", *lines, f"{'0' * 32},0,disease"]))
    second = kept(tmp_path / "second", database)
    try:
        sent = bedside(second, "truth", "send", MODEL, str(file))
        shown = bedside(second, "truth", "accuracy", MODEL)
        with second.client("bedside.truth") as client:
            (version,) = client.get(ACCURACY).json()["versions"]
        metrics = httpx.get(f"{second.url}/metrics").text
    finally:
        stop(second)
    counted = f"{ANSWERS - 1} new, 0 known, 1 without an answer, 1 told otherwise before\n"
    assert sent.stdout == counted
    assert sent.returncode == 1
    assert version["truths"] == ANSWERS
    assert version["accuracy"] == pytest.approx(19 / 24, abs=1e-4)
    assert f"accuracy {version['accuracy']:g}" in shown.stdout
    right = [event["truth"]["correct"] for event in events(second, "truth_received")]  # type: ignore[index]
    assert len(right) == ANSWERS - 1
    assert 'bedside_truths_total{correct="true"' in metrics
    assert not any(name in second.log.read_text() for name, *_ in told)


def test_the_documentation_can_be_pasted(tmp_path: Path) -> None:
    """The blocks about the truth, one after the other."""
    (tmp_path / "patient.json").write_text(json.dumps(RECORD))
    page = (DOCS / "observability.md").read_text()
    blocks = BLOCK.findall(page[page.index("## Accuracy, where") : page.index("## Drift")])
    served = kept(tmp_path / "served", tmp_path / "jobs.db")
    try:
        tokens = {"TOKEN": served.token(), "TRUTH": served.token("bedside.truth")}
        _run("\n".join(blocks), tmp_path, URL=served.url, **tokens)
    finally:
        stop(served)
    assert len(blocks) == 2
    assert events(served, "truth_received")
