"""The share of the audit trail that callers have whom nobody knows."""

from bedside.observability.audit_strangers import Strangers


def test_each_minute_has_its_share() -> None:
    """Those beyond are counted, and told once the minute is over."""
    strangers = Strangers(2)
    assert [strangers.admits(1000.0 + second) for second in range(4)] == [True, True, False, False]
    assert strangers.beyond(1059.0) == 0
    assert strangers.beyond(1060.0) == 2
    assert strangers.beyond(1060.0) == 0
    assert strangers.admits(1060.0)


def test_a_clock_that_is_set_back_begins_another_minute() -> None:
    """Else nobody would be recorded until it has caught up."""
    strangers = Strangers(1)
    assert [strangers.admits(2000.0), strangers.admits(2001.0), strangers.admits(1000.0)] == [True, False, True]


def test_at_the_end_all_are_told_at_once() -> None:
    """Though their minute is not over."""
    strangers = Strangers(0)
    assert not strangers.admits(1000.0)
    assert strangers.beyond() == 1
