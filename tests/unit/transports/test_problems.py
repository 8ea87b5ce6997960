"""The table from the error tree to HTTP."""

import orjson
import pytest
from tests.unit.transports.fakes import every_error

from bedside import errors
from bedside.errors import BedsideError
from bedside.transports.rest.problems import PROBLEMS, http_problem, problem_of, problem_reply, v2_error_reply


@pytest.mark.parametrize("cls", list(every_error()), ids=lambda cls: cls.__name__)
def test_every_error_has_its_own_row(cls: type[BedsideError]) -> None:
    """No error falls back on an ancestor's row unseen."""
    assert cls in PROBLEMS


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Unauthenticated(), 401),
        (errors.InsufficientScope(), 403),
        (errors.ModelNotFound(), 404),
        (errors.NotAcceptable(), 406),
        (errors.RequestTimeout(), 408),
        (errors.PayloadTooLarge(), 413),
        (errors.UnsupportedMediaType(), 415),
        (errors.MalformedPayload(), 400),
        (errors.WrongShape(), 422),
        (errors.QueueFull(), 503),
        (errors.DeadlineExceeded(), 504),
        (errors.InputNotProcessable(), 422),
        (errors.RunFailed(), 500),
        (errors.WorkerCrashed(), 502),
        (errors.LoadFailed(), 409),
        (errors.ConfigurationError(), 500),
    ],
    ids=lambda value: type(value).__name__,
)
def test_statuses(error: BedsideError, status: int) -> None:
    """The statuses that clients rely on."""
    assert problem_of(error).status == status


def test_titles_and_slugs_belong_to_one_status() -> None:
    """A problem type has one status and one title, wherever it occurs (RFC 9457 §3.1.1)."""
    by_slug: dict[str, set[tuple[int, str]]] = {}
    for row in PROBLEMS.values():
        by_slug.setdefault(row.slug, set()).add((row.status, row.title))
    assert all(len(rows) == 1 for rows in by_slug.values())


def test_an_unknown_error_has_its_ancestors_row() -> None:
    """An error made elsewhere is still answered."""

    class Special(errors.WrongShape):
        """Mend it."""

    assert problem_of(Special()).status == 422


def test_problem_document() -> None:
    """The members of RFC 9457 §3.1, ours, and the field."""
    reply = problem_reply(errors.WrongShape("is flat", field="image"), "id1")
    assert reply.media_type == "application/problem+json"
    assert orjson.loads(reply.body) == {
        "type": "urn:bedside:problem:wrong-shape",
        "title": "Wrong shape",
        "status": 422,
        "detail": "is flat",
        "request_id": "id1",
        "field": "image",
    }


def test_not_acceptable_tells_what_there_is() -> None:
    """406 has a list to choose from."""
    reply = problem_reply(errors.NotAcceptable(available=("application/json",)), "id1")
    assert orjson.loads(reply.body)["available"] == ["application/json"]


def test_v2_names_the_field_in_the_text() -> None:
    """The protocol has one member, so the field goes into it; 422 becomes 400."""
    reply = v2_error_reply(errors.WrongShape("is flat", field="image"), "id1")
    assert (reply.status, orjson.loads(reply.body)) == (400, {"error": "image: is flat"})


def test_v2_server_errors_carry_the_request_id() -> None:
    """Whoever reports a failure can quote it."""
    assert b"id1" in v2_error_reply(errors.RunFailed("failed"), "id1").body
    assert b"id1" not in v2_error_reply(errors.QueueFull("full"), "id1").body


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (errors.MissingToken(), 'Bearer realm="bedside"'),
        (errors.InvalidToken(), 'Bearer realm="bedside", error="invalid_token"'),
        (errors.ExpiredToken(), 'Bearer realm="bedside", error="invalid_token"'),
        (
            errors.InsufficientScope(scope="bedside.infer:heart"),
            'Bearer realm="bedside", error="insufficient_scope", scope="bedside.infer:heart"',
        ),
        (errors.InsufficientScope(scope='bedside.infer:a"b'), 'Bearer realm="bedside", error="insufficient_scope"'),
        (errors.InsufficientScope(scope="bedside.infer:a\r\nb"), 'Bearer realm="bedside", error="insufficient_scope"'),
    ],
)
def test_challenges(error: BedsideError, challenge: str) -> None:
    """WWW-Authenticate as RFC 6750 §3 has it; a scope that cannot be quoted is left out."""
    assert problem_reply(error, "id1").headers == ((b"www-authenticate", challenge.encode()),)


def test_unavailable_says_when_to_come_back() -> None:
    """Retry-After on 503 (RFC 9110 §10.2.3)."""
    error = errors.QueueFull()
    error.retry_after_seconds = 7
    assert problem_reply(error, "id1").headers == ((b"retry-after", b"7"),)


@pytest.mark.parametrize("path", ["/v2/x", "/x"])
def test_http_problems_keep_the_paths_shape(path: str) -> None:
    """404 outside the table looks like every other error of its path."""
    document = orjson.loads(http_problem(404, "id1", path).body)
    assert ("error" in document) == path.startswith("/v2")
