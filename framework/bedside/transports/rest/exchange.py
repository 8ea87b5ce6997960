"""One request on its way: what an operation of the data plane is given."""

from collections.abc import Awaitable, Callable

from bedside.dataplane.call import Call
from bedside.interfaces import ServedModel
from bedside.transports.rest.body import Body
from bedside.transports.rest.head import Head
from bedside.transports.rest.reply import Reply


class Exchange:
    """Header section, body and accounting of one request."""

    __slots__ = ("body", "call", "head")

    def __init__(self, head: Head, body: Body, call: Call) -> None:
        self.head = head
        self.body = body
        self.call = call


Operation = Callable[[Exchange, ServedModel], Awaitable[Reply]]
"""Reads the body, runs the model and returns the answer; raises BedsideError."""
