"""Request ids of our own."""

from itertools import pairwise

from bedside.observability.request_id import is_request_id, new_request_id


def test_the_next_one_cannot_be_guessed() -> None:
    """They are ids of the form that is taken, and have nothing in common: no prefix, no counter."""
    ids = [new_request_id() for _ in range(600)]
    assert all(map(is_request_id, ids))
    assert len(set(ids)) == 600
    assert len({one[:8] for one in ids}) > 1
    halves = [int(one[16:], 16) for one in ids]
    assert min(abs(left - right) for left, right in pairwise(halves)) > 1_000_000
