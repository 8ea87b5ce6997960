"""Results as Open Inference Protocol tensors ($response_output), for the JSON and the binary form.

A model of records answers with the rows on the first axis, however many there are; any other with the array as it is
for one row, and with the rows on the first axis for several. Values and files are BYTES: JSON text, and a file's bytes,
which in the JSON form are base64 (RFC 4648 §4) as in a request.
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from bedside.bundle.contract import Contract, OutputSpec
from bedside.bundle.media_types import media_type_of_suffix
from bedside.bundle.remembered import Remembered
from bedside.codecs.cautions import cautions_by_row
from bedside.codecs.elements import NUMPY_OF, all_finite
from bedside.codecs.report import encode_json
from bedside.codecs.tensor_request import InferRequest
from bedside.errors import RunFailed
from bedside.types import OutputArray, Prediction, ValidatedInputs

JSON_TEXT = "application/json"
_DATATYPE_OF = {dtype.newbyteorder("="): name for name, dtype in NUMPY_OF.items()} | {np.dtype(np.bool_): "BOOL"}


class AnswerTensor(NamedTuple):
    """One output of a response.

    Attributes:
        name: result name of the contract.
        datatype: of the protocol, for example ``FP32``.
        shape: axis lengths; at least one axis, as the protocol has no scalars.
        parameters: as the protocol has them, lists as JSON text: ``labels`` (names by index) and ``affine`` (16
            numbers for each row, row-major, voxel to RAS+ mm), if known; ``content_type`` of BYTES, and the
            ``filename`` that the bundle gave a file.
        array: the values, C-contiguous; objects of type bytes for BYTES.
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
        if self.datatype == "BYTES":
            is_text = self.parameters.get("content_type") == JSON_TEXT
            data = [element.decode() if is_text else base64.b64encode(element).decode() for element in self.array]
            return {**self._head(self.parameters), "data": data}
        if not all_finite(self.array):
            raise RunFailed(f"'{self.name}' holds NaN or infinity; only binary data can carry that", field=self.name)
        return {**self._head(self.parameters), "data": self.array.ravel()}

    def to_binary(self) -> tuple[dict[str, Any], bytes]:
        """Return the JSON head and the little-endian bytes of the binary tensor extension."""
        data = self.to_bytes()
        return self._head({**self.parameters, "binary_data_size": len(data)}), data

    def to_bytes(self) -> bytes:
        """Return the elements, little-endian, row-major; those of BYTES each behind its length."""
        if self.datatype == "BYTES":
            return b"".join(len(element).to_bytes(4, "little") + element for element in self.array)
        return self.array.astype(self.array.dtype.newbyteorder("<"), copy=False).tobytes()

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
    specs = _specs_of(contract)
    answers = []
    for index, first in enumerate(predictions[0].arrays):
        rows = [prediction.arrays[index] for prediction in predictions]
        spec = specs.get(first.name) or OutputSpec(first.name, "tensor")
        answers.append(_answer(_stack(rows) if stacked else np.atleast_1d(first.array), spec, rows))
    return [*answers, *_values(predictions), *_files(predictions)]


def wanted_tensors(request: InferRequest, tensors: Sequence[AnswerTensor]) -> list[tuple[AnswerTensor, bool]]:
    """Return the results asked for in the order asked for, else all; each with whether it goes as raw bytes.

    Raises:
        RunFailed: one is missing.
    """
    if request.outputs is None:
        return [(tensor, request.binary) for tensor in tensors]
    by_name = {tensor.name: tensor for tensor in tensors}
    try:
        return [(by_name[output.name], output.binary) for output in request.outputs]
    except KeyError:
        raise RunFailed("the model gave no result of a name that its contract has") from None


def answer_parameters(contract: Contract, rows: Sequence[ValidatedInputs]) -> dict[str, str]:
    """Return the parameters of the whole answer: ``warnings`` by row, as JSON text, where there are any."""
    warnings = cautions_by_row(contract, rows)
    return {"warnings": orjson.dumps(warnings).decode()} if warnings else {}


def _values(predictions: Sequence[Prediction]) -> Iterator[AnswerTensor]:
    for name in predictions[0].values:
        texts = [encode_json(prediction.values.get(name)) for prediction in predictions]
        yield _bytes_tensor(name, texts, {"content_type": JSON_TEXT})


def _files(predictions: Sequence[Prediction]) -> Iterator[AnswerTensor]:
    if len({len(prediction.files) for prediction in predictions}) > 1:
        raise RunFailed("the rows of one request gave different numbers of files")
    for index, first in enumerate(predictions[0].files):
        parameters = {"content_type": media_type_of_suffix(first.suffix)}
        if first.name:
            parameters["filename"] = first.name + first.suffix
        yield _bytes_tensor(f"file_{index}", [prediction.files[index].data for prediction in predictions], parameters)


def _bytes_tensor(name: str, elements: Sequence[bytes], parameters: dict[str, Any]) -> AnswerTensor:
    array = np.empty(len(elements), object)  # np.array() would strip the zeros at the end of bytes
    array[:] = elements
    return AnswerTensor(name, "BYTES", array.shape, parameters, array)


def _stack(rows: Sequence[OutputArray]) -> NDArray[Any]:
    if len(rows) == 1:
        return rows[0].array[np.newaxis]
    if len({row.stored.shape for row in rows}) > 1:
        raise RunFailed("the rows of one request gave results of different shapes", field=rows[0].name)
    return np.stack([row.array for row in rows])


def _answer(array: NDArray[Any], spec: OutputSpec, rows: Sequence[OutputArray]) -> AnswerTensor:
    if not (array.flags.c_contiguous and array.dtype.isnative):
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    datatype = _DATATYPE_OF.get(array.dtype)
    if datatype is None:
        raise RunFailed(f"results of type {array.dtype.name} have no datatype in the protocol", field=spec.name)
    parameters: dict[str, Any] = {}
    if spec.labels:
        parameters["labels"] = _labels_of(spec)
    affines = [row.affine for row in rows if row.affine is not None]
    if len(affines) == len(rows):
        numbers = [float(number) for affine in affines for number in affine.ravel()]
        parameters["affine"] = orjson.dumps(numbers).decode()
    return AnswerTensor(spec.name, datatype, array.shape, parameters, array)


def _by_name(contract: Contract) -> dict[str, OutputSpec]:
    return {spec.name: spec for spec in contract.outputs}


_specs_of = Remembered(_by_name)


def _list_labels(spec: OutputSpec) -> str:
    return orjson.dumps([spec.labels.get(index, "") for index in range(max(spec.labels) + 1)]).decode()


_labels_of = Remembered(_list_labels)
