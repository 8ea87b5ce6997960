"""What pydantic says of a file or of settings, in words for whoever wrote them."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeGuard, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def problems(error: ValidationError, model: type[BaseModel]) -> list[tuple[str, str]]:
    """Return each place, dotted, and what is wrong there; values are not repeated.

    Args:
        error: of ``model``.
        model: whose fields are the keys that may be meant where one is unknown.
    """
    # A misspelt key first: that the right one is missing follows from it.
    found = sorted(error.errors(include_input=False), key=lambda problem: problem["type"] != "extra_forbidden")
    return [(".".join(map(str, problem["loc"])), _text(problem, model)) for problem in found]


def _text(problem: ErrorDetails, model: type[BaseModel]) -> str:
    if problem["type"] != "extra_forbidden":
        return problem["msg"]
    *place, name = problem["loc"]
    known = _keys(model, place)
    close = get_close_matches(str(name), known, n=1)
    meant = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known)}" if known else ""
    return "; ".join(filter(None, ("no such setting", meant)))


def _keys(annotation: Any, place: Iterable[int | str]) -> list[str]:
    for step in place:
        if _is_model(annotation) and step in annotation.model_fields:
            annotation = annotation.model_fields[str(step)].annotation
        else:  # a list, or a mapping with names of the writer's own
            annotation = next(filter(_is_model, get_args(annotation)), None)
    return list(annotation.model_fields) if _is_model(annotation) else []


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
