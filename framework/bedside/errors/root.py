"""The root of every error, and how a caller's names may be told."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def echo(name: object, known: Iterable[str] = ()) -> str:
    """Return a caller's made-up name for a message, or "(not shown)" where it might identify a person.

    Only plain lower-case identifiers are repeated (tensor and feature names look like that; "DOE^JOHN",
    file names and accession numbers do not). A close match among ``known`` is offered as a correction.
    """
    if not (isinstance(name, str) and _PLAIN_NAME.fullmatch(name)):
        return "(not shown)"
    close = get_close_matches(name, list(known), n=1)
    return f"'{name}' (did you mean '{close[0]}'?)" if close else f"'{name}'"


class BedsideError(Exception):
    """Look at the request id in the server's log."""

    def __init__(self, detail: str = "", *, field: str | None = None) -> None:
        self.detail = detail or self.advice()
        self.field = field
        super().__init__(self.detail)

    @property
    def text(self) -> str:
        """Return the detail, after the field's name where there is one: what protocols with one string are given."""
        return f"{self.field}: {self.detail}" if self.field else self.detail

    @classmethod
    def advice(cls) -> str:
        """Return the first paragraph of the class docstring: what to do next."""
        return " ".join((cls.__doc__ or "").split("\n\n")[0].split())
