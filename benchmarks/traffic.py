"""The requests of the tabular benchmark, how each protocol writes them, and how an answer is known to be right."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from benchmarks.contestants.heart_pipeline import FEATURES, MODELS

Record = dict[str, float]
_MARK = "age"


@dataclass(frozen=True, slots=True)
class Case:
    """One request: which model, with what record; ``number`` is its own."""

    number: int
    model: str
    record: Record

    @property
    def id(self) -> str:
        """Return the id that protocols with ids carry."""
        return f"case-{self.number}"


def make_cases(count: int) -> list[Case]:
    """Return records that differ in every measured feature, over the ten models in turn."""
    return [
        Case(number, model, _record(number))
        for number, model in zip(range(count), islice(cycle(MODELS), count), strict=True)
    ]


def _record(number: int) -> Record:
    measured = {"age": 40 + number / 8, "trestbps": 110 + number / 4, "chol": 180 + number / 2, "oldpeak": number / 64}
    coded = {"sex": number % 2, "cp": 1 + number % 4, "fbs": number % 2, "restecg": number % 3, "exang": number % 2}
    coded |= {"slope": 1 + number % 3, "ca": number % 4, "thal": (3, 6, 7)[number % 3]}
    values = {**measured, **coded, "thalach": 120 + number / 4}
    return {feature: values[feature] for feature in FEATURES}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How cases are written and answers read.

    ``read`` returns what must be the case's own (see :func:`mark`) and the probability of disease.
    """

    path: str
    write: Callable[[Case], Any]
    read: Callable[[dict[str, Any]], tuple[str, float]]
    mark: Callable[[Case], str]


def _read_record(answer: dict[str, Any]) -> tuple[str, float]:
    return str(float(answer[_MARK])), answer["probabilities"]["disease"]


def _read_tensors(answer: dict[str, Any]) -> tuple[str, float]:
    output = next(item for item in answer["outputs"] if item["name"] in {"pred", "predict_proba"})
    return answer["id"], output["data"][1]


def _tensors(name: str) -> Callable[[Case], Any]:
    def write(case: Case) -> Any:
        data = [float(value) for value in case.record.values()]
        tensor = {"name": name, "shape": [1, len(data)], "datatype": "FP64", "data": data}
        return {"id": case.id, "inputs": [tensor]}

    return write


def _mlserver(case: Case) -> Any:
    return {**_tensors("predict")(case), "outputs": [{"name": "predict_proba"}]}


def _record_mark(case: Case) -> str:
    return str(float(case.record[_MARK]))


RECORD = Protocol("/v1/models/{}/predict", lambda case: case.record, _read_record, _record_mark)
"""A JSON object of named features in, the same with the prediction out."""

TENSOR = Protocol("/v2/models/{}/infer", _tensors("features"), _read_tensors, lambda case: case.id)
"""Open Inference Protocol V2, JSON, one tensor of shape [1, 13]."""

MLSERVER_TENSOR = Protocol("/v2/models/{}/infer", _mlserver, _read_tensors, lambda case: case.id)
"""The same, asking MLServer for probabilities; its default is the class alone."""


def http_requests(protocol: Protocol, cases: Sequence[Case], tokens: Sequence[str]) -> tuple[bytes, ...]:
    """Return whole HTTP requests; with ``tokens``, each carries one of them, in turn."""
    fields = [f"Authorization: Bearer {token}\r\n" for token in tokens] or [""]
    return tuple(
        http_request(
            protocol.path.format(case.model), json.dumps(protocol.write(case)).encode(), "application/json", field
        )
        for case, field in zip(cases, islice(cycle(fields), len(cases)), strict=True)
    )


def http_request(path: str, body: bytes, media_type: str, fields: str = "") -> bytes:
    """Return one HTTP/1.1 POST."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Content-Type: {media_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def probabilities(protocol: Protocol, cases: Sequence[Case], bodies: Sequence[bytes]) -> list[float]:
    """Read the answers.

    Raises:
        ValueError: an answer is another case's, or two answers are the same bytes (then comparing proves nothing).
    """
    found = []
    for case, body in zip(cases, bodies, strict=True):
        mark, probability = protocol.read(json.loads(body))
        if mark != protocol.mark(case):
            raise ValueError(f"{case.id} was answered with {mark}")
        found.append(probability)
    if len(set(bodies)) != len(bodies):
        raise ValueError("different requests have the same answer")
    return found
