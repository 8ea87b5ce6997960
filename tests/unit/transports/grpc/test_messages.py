"""Descriptors: in step with the .proto files, on the wire what other clients speak, and in nobody's way."""

import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from scripts import protos
from tritonclient.grpc import service_pb2

from bedside.transports.grpc import messages

OURS = [name for name in vars(messages) if name[0].isupper() and name.endswith(("Request", "Response"))]


def test_descriptors_are_in_step() -> None:
    """What the package holds is what protoc makes of its .proto files."""
    assert protos.compiled() == protos.DESCRIPTORS.read_bytes()


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_both_in_one_process(order: str) -> None:
    """Generated modules with the same names in another file are imported before or after ours."""
    imports = ["import bedside.transports.grpc.server", "import tritonclient.grpc"]
    lines = "\n".join(imports if order == "ours first" else imports[::-1])

    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def _fields(message: Any, seen: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return number and type by field name, messages opened up."""
    if message.full_name in seen:
        return {}
    seen = seen | {message.full_name}
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            _fields(field.message_type, seen) if field.type == FieldDescriptor.TYPE_MESSAGE else None,
        )
        for field in message.fields
    }


def _contains(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    for name, (number, kind, repeated, inner) in theirs.items():
        mine = ours.get(name)
        if mine is None or mine[:3] != (number, kind, repeated):
            return False
        if inner is not None and not _contains(mine[3], inner):
            return False
    return True


@pytest.mark.parametrize("name", [name for name in OURS if hasattr(service_pb2, name)])
def test_every_field_of_tritonclient_is_ours(name: str) -> None:
    """Same name, number and type; ours may have more."""
    theirs = getattr(service_pb2, name).DESCRIPTOR

    assert _contains(_fields(getattr(messages, name).DESCRIPTOR), _fields(theirs))


def test_the_messages_compared_are_the_whole_protocol() -> None:
    """A message that tritonclient does not know is not passed over unseen: only the health service's are missing."""
    assert {name for name in OURS if not hasattr(service_pb2, name)} == {"HealthCheckRequest", "HealthCheckResponse"}
