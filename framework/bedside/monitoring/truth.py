"""What a hospital's system says to have been so: parsed, and held against what the model could have answered.

Nothing else passes: a truth is a class of the contract, or numbers by the names of the volumes and values answered.
Neither can be a patient's, and neither is repeated in an error.
"""

from collections.abc import Mapping
from typing import Any

from bedside.bundle.contract import Contract
from bedside.bundle.metadata import is_number
from bedside.errors import BadParameter, MalformedPayload, echo
from bedside.monitoring.records import Predicted, Truth, answer_id
from bedside.observability.request_id import is_request_id
from bedside.types import MOST_ML, Quantity

_MEMBERS = ("request_id", "truth")
_ROWS = 2**31
_LARGEST = 1e6
_TIMES = 100.0
"""A true value is at most a million, or so many times what was answered: an id that was written as a number is more."""


def read_truth(document: Mapping[str, Any]) -> tuple[str, Truth]:
    """Return the answer's id and the truth of ``{"request_id": …, "truth": …}``, of right form and not yet checked.

    ``row`` says which row of a request of tensors is meant, counted from 0, which it is where there is none.

    Raises:
        MalformedPayload: a member is missing, too many, or of another type.
        BadParameter: the request id is none that this server gives or takes, or the row is no row.
    """
    for name in document:
        if name not in (*_MEMBERS, "row"):
            raise MalformedPayload(f"{echo(name, _MEMBERS)} is no member: send request_id and truth", field="body")
    for name in _MEMBERS:
        if name not in document:
            raise MalformedPayload("is missing: send request_id and truth", field=name)
    request_id, said = document["request_id"], document["truth"]
    if not isinstance(request_id, str) or not is_request_id(request_id):
        raise BadParameter("must be the answer's X-Request-ID, or the id of its job", field="request_id")
    row = document.get("row", 0)
    if type(row) is not int or not 0 <= row < _ROWS:
        raise BadParameter("must be the number of a row of the request's tensors, from 0 on", field="row")
    request_id = answer_id(request_id, row)
    if isinstance(said, str):
        return request_id, Truth(label=said)
    if not isinstance(said, dict) or not said or not all(is_number(number) for number in said.values()):
        raise MalformedPayload("must be the name of a class, or an object of finite numbers by name", field="truth")
    return request_id, Truth(numbers={name: float(number) for name, number in said.items()})


def require_possible(truth: Truth, predicted: Predicted, contract: Contract) -> None:
    """Refuse what the model could not have answered.

    Raises:
        BadParameter: naming the member.
    """
    if truth.numbers is None:
        classes = {name for spec in contract.outputs if spec.kind == "probabilities" for name in spec.labels.values()}
        if not predicted.prediction:
            raise BadParameter("must be an object of numbers: the answer named no class", field="truth")
        if truth.label not in classes:
            raise BadParameter(f"must be one of {', '.join(sorted(classes))}", field="truth")
        return
    answered = {quantity.name: quantity for quantity in predicted.quantities}
    if not answered or predicted.prediction:
        raise BadParameter("must be the name of a class: that is what was answered", field="truth")
    for name, number in truth.numbers.items():
        if name not in answered:
            raise BadParameter(f"must have numbers by the names of the answer: {', '.join(answered)}", field="truth")
        if not _is_possible(number, answered[name]):
            raise BadParameter("is beyond what such a volume or value can be", field=f"truth.{name}")


def _is_possible(number: float, answered: Quantity) -> bool:
    if answered.kind == "volume":
        return 0 <= number <= MOST_ML
    return abs(number) <= max(_LARGEST, _TIMES * abs(answered.number))
