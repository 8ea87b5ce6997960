"""The table from the error tree to gRPC's status codes."""

import pytest
from grpc import StatusCode
from tests.unit.transports.fakes import every_error

from bedside import errors
from bedside.errors import BedsideError
from bedside.transports.grpc.statuses import STATUSES, details_of, metadata_of, status_of


@pytest.mark.parametrize("cls", list(every_error()), ids=lambda cls: cls.__name__)
def test_every_error_has_its_own_row(cls: type[BedsideError]) -> None:
    """No error falls back on an ancestor's row unseen."""
    assert cls in STATUSES


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.MissingToken(), StatusCode.UNAUTHENTICATED),
        (errors.InsufficientScope(), StatusCode.PERMISSION_DENIED),
        (errors.ModelVersionNotFound(), StatusCode.NOT_FOUND),
        (errors.PayloadTooLarge(), StatusCode.RESOURCE_EXHAUSTED),
        (errors.MalformedPayload(), StatusCode.INVALID_ARGUMENT),
        (errors.WrongShape(), StatusCode.INVALID_ARGUMENT),
        (errors.InputNotProcessable(), StatusCode.INVALID_ARGUMENT),
        (errors.QueueFull(), StatusCode.UNAVAILABLE),
        (errors.DeadlineExceeded(), StatusCode.DEADLINE_EXCEEDED),
        (errors.WorkerCrashed(), StatusCode.INTERNAL),
        (errors.NotAdmitted(), StatusCode.FAILED_PRECONDITION),
    ],
    ids=lambda value: type(value).__name__,
)
def test_statuses(error: BedsideError, status: StatusCode) -> None:
    """The codes that clients rely on."""
    assert status_of(error) == status


def test_an_error_of_a_module_has_its_ancestors_row() -> None:
    """A subclass outside the tree is answered like its parent."""

    class Special(errors.WrongShape):
        """Made up."""

    assert status_of(Special()) is StatusCode.INVALID_ARGUMENT


def test_details_name_the_field() -> None:
    """The field comes first, then what to correct."""
    assert details_of(errors.WrongShape("two axes", field="image"), "r") == "image: two axes"


def test_details_of_our_own_faults_have_the_request_id() -> None:
    """Who cannot mend it can at least say which call it was."""
    assert details_of(errors.RunFailed("failed"), "4711").endswith("(request id 4711)")


def test_who_may_come_back_is_told_when() -> None:
    """As Retry-After over HTTP."""
    assert metadata_of(errors.ModelNotReady()) == (("retry-after", "5"),)
    assert metadata_of(errors.WrongShape()) == ()
