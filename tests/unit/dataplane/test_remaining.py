"""How long a call may still take."""

import pytest
from tests.unit.transports.fakes import make_world

from bedside.dataplane.call import Call
from bedside.errors import DeadlineExceeded


@pytest.mark.parametrize(
    ("patience", "limit", "most"), [(1e9, None, 50.0), (20.0, None, 20.0), (1e9, 10.0, 10.0), (5.0, 10.0, 5.0)]
)
def test_the_shortest_of_the_limits_holds(patience: float, limit: float | None, most: float) -> None:
    """The server's or the call's own, and what the caller will wait; less what has passed."""
    plane = make_world(limits={"request_seconds": 50.0}).parts.dataplane
    call = Call("1", "http", "infer", patience=patience, limit_seconds=limit)
    before = most - call.seconds
    assert before >= plane.remaining(call) >= most - call.seconds


def test_no_time_left_is_told_before_anything_is_fetched() -> None:
    """Nobody is given a negative time."""
    plane = make_world().parts.dataplane
    with pytest.raises(DeadlineExceeded):
        plane.remaining(Call("1", "http", "infer", patience=0.0))
