"""What messages of all signals are made of."""

from collections.abc import Mapping

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bedside.version import __version__

SCOPE = InstrumentationScope(name="bedside", version=__version__)

NANOSECONDS = 1_000_000_000


def attribute(name: str, value: str | int) -> KeyValue:
    """Return an attribute."""
    any_value = AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
    return KeyValue(key=name, value=any_value)


def resource(about: Mapping[str, str]) -> Resource:
    """Return who sends."""
    return Resource(attributes=[attribute(name, value) for name, value in about.items()])
