"""Results as Open Inference Protocol tensors ($response_output), for the JSON and the binary form.

A model of records answers with the rows on the first axis, however many there are; a model of images, which takes
one at a time, with the array as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.contract import Contract, OutputSpec
from bedside.codecs.elements import NUMPY_OF
from bedside.errors import RunFailed
from bedside.types import Prediction

_DATATYPE_OF = {dtype.newbyteorder("="): name for name, dtype in NUMPY_OF.items()} | {np.dtype(np.bool_): "BOOL"}


@dataclass(frozen=True, slots=True)
class AnswerTensor:
    """One output of a response.

    Attributes:
        name: result name of the contract.
        datatype: of the protocol, for example ``FP32``.
        shape: axis lengths; at least one axis, as the protocol has no scalars.
        parameters: ``labels`` (names by index) and ``affine`` (16 numbers, row-major, voxel to RAS+ mm), if known.
        array: the values, C-contiguous.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, Any]
    array: NDArray[Any]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; serialise with ``codecs.report.encode_json``, which writes float32 shortest.

        Raises:
            RunFailed: NaN or infinity, which JSON does not have (RFC 8259 §6) and orjson would make null.
        """
        if self.array.dtype.kind == "f" and not np.isfinite(self.array).all():
            raise RunFailed(f"'{self.name}' holds NaN or infinity; only binary data can carry that", field=self.name)
        return {**self._head(self.parameters), "data": self.array.ravel()}

    def to_binary(self) -> tuple[dict[str, Any], bytes]:
        """Return the JSON head and the little-endian bytes of the binary tensor extension."""
        data = self.array.astype(self.array.dtype.newbyteorder("<"), copy=False).tobytes()
        return self._head({**self.parameters, "binary_data_size": len(data)}), data

    def _head(self, parameters: dict[str, Any]) -> dict[str, Any]:
        head: dict[str, Any] = {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}
        return {**head, "parameters": parameters} if parameters else head


def answer_tensors(contract: Contract, predictions: Sequence[Prediction]) -> list[AnswerTensor]:
    """Return every result, the rows' predictions put together.

    Args:
        contract: of the model that ran.
        predictions: one per row, at least one; each has the same results.

    Raises:
        RunFailed: the rows' results do not fit together, or have a type that the protocol lacks.
    """
    stacked = contract.record is not None or len(predictions) > 1
    specs = {spec.name: spec for spec in contract.outputs}
    answers = []
    for index, first in enumerate(predictions[0].arrays):
        rows = [prediction.arrays[index].array for prediction in predictions]
        if len({row.shape for row in rows}) > 1:
            raise RunFailed("the rows of one request gave results of different shapes", field=first.name)
        array = np.stack(rows) if stacked else np.atleast_1d(rows[0])
        spec = specs.get(first.name, OutputSpec(first.name, "tensor"))
        answers.append(_answer(array, spec, None if stacked else first.affine))
    return answers


def _answer(array: NDArray[Any], spec: OutputSpec, affine: NDArray[np.float64] | None) -> AnswerTensor:
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    datatype = _DATATYPE_OF.get(array.dtype)
    if datatype is None:
        raise RunFailed(f"results of type {array.dtype.name} have no datatype in the protocol", field=spec.name)
    parameters: dict[str, Any] = {}
    if spec.labels:
        parameters["labels"] = [spec.labels.get(index, "") for index in range(max(spec.labels) + 1)]
    if affine is not None:
        parameters["affine"] = [float(number) for number in affine.ravel()]
    return AnswerTensor(spec.name, datatype, array.shape, parameters, array)
