"""Parameters of the protocol (``InferParameter``): a text, a number or a truth value, as in its REST form."""

from collections.abc import Mapping
from typing import Any

from bedside.codecs.tensor_request import check_parameter_names
from bedside.errors import BadParameter


def read_parameters(parameters: Any, where: str) -> dict[str, str | float | bool]:
    """Return a map of ``InferParameter`` by name.

    Raises:
        BadParameter: one has no value, or asks for an extension that would change the answer.
    """
    check_parameter_names(parameters, where)
    return {name: _value(parameter, where) for name, parameter in parameters.items()}


def write_parameters(target: Any, parameters: Mapping[str, Any]) -> None:
    """Fill a map of ``InferParameter``."""
    for name, value in parameters.items():
        if isinstance(value, bool):
            target[name].bool_param = value
        elif isinstance(value, int):
            target[name].int64_param = value
        elif isinstance(value, float):
            target[name].double_param = value
        else:
            target[name].string_param = value


def _value(parameter: Any, where: str) -> str | float | bool:
    choice = parameter.WhichOneof("parameter_choice")
    if choice is None:
        raise BadParameter("a parameter is a text, a number or a truth value", field=where)
    value: str | float | bool = getattr(parameter, choice)
    return value
