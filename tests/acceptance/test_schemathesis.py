"""The server keeps the promises of its own ``/openapi.json``, whatever is generated from it."""

from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.acceptance.conftest import Served

BINARY = ("image/png", "image/jpeg", "image/tiff", "application/x-nifti", "application/gzip", "application/x-npy")
DICOM = ("application/dicom", "application/zip", "multipart/related")


@schemathesis.serializer(*BINARY, *DICOM)  # type: ignore[untyped-decorator]
def as_bytes(_context: Any, value: Any) -> bytes:
    """Send a generated binary value as it is."""
    return bytes(getattr(value, "data", value if isinstance(value, bytes) else str(value).encode()))


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES_EACH = 20


def test_answers_conform_to_the_schema(served: Served) -> None:
    """No 5xx, and every answer has a documented status, type and shape, for generated calls of every operation."""
    headers = {"Authorization": f"Bearer {served.token('bedside.infer', 'bedside.admin')}"}
    document = httpx.get(f"{served.url}/openapi.json", headers=headers).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=served.url, request_timeout=60)  # jobs that were handed in run meanwhile
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if "/repository/models/" in operation.path:
            continue  # unloading a model would take it from the tests that run beside this one
        tried += 1

        @settings(
            max_examples=EXAMPLES_EACH,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def conforms(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        conforms()
    assert tried >= 10
