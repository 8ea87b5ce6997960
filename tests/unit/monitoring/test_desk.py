"""The truth finds its answer, whichever server gave it, and is counted once."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from tests.unit.monitoring.conftest import DIGEST, SETTINGS, Replica

from bedside.dataplane.call import Call
from bedside.errors import BadParameter, DeadlineExceeded, PredictionNotFound, TruthConflict
from bedside.monitoring.sink import KeepingSink
from bedside.types import Finding, Quantity

ID, OTHER = "0" * 32, "1" * 32
ME, YOU, SYSTEM = "me", "you", "records"


def truth(said: Any, request_id: str = ID) -> dict[str, Any]:
    """Return a request's body."""
    return {"request_id": request_id, "truth": said}


def test_the_truth_finds_an_answer_of_another_replica(replicas: Callable[..., Replica], told: Any) -> None:
    """And of one that has gone; it is logged without either request, and counted as right or wrong."""
    replica = replicas()
    replica.keep(ID, "not sure")
    replica.monitor.flush()
    other = replicas(now=86400.0)
    predicted, new = other.desk.tell("cxr", truth("pneumonia"), ME)
    assert (predicted.prediction, new) == ("not sure", True)
    labels = {"model": "cxr", "version": "1", "prediction": "not sure", "truth": "pneumonia", "correct": "false"}
    assert other.value("bedside_truths_total", **labels) == 1
    (event,) = told("truth_received")
    assert event["inference"]["prediction"] == {"kind": "class", "name": "not_sure"}
    assert event["inference"]["truth"] == {"name": "pneumonia", "correct": 0, "delay_seconds": 86400.0}
    assert "http" not in event
    assert "user" not in event


def test_an_answer_of_this_moment_is_found(replicas: Callable[..., Replica]) -> None:
    """Before it is written down."""
    replica = replicas()
    replica.keep(ID)
    assert replica.desk.tell("cxr", truth("normal"), ME)[1]


def test_each_row_of_a_request_has_its_truth(replicas: Callable[..., Replica]) -> None:
    """Rows that say nothing are not kept; the first needs no number."""
    replica = replicas()
    call = Call(ID, "grpc", "infer", model="cxr", version="1", digest=DIGEST, owner=ME)
    call.findings = [Finding(("normal", 0.9)), Finding(), Finding(("pneumonia", 0.7))]
    KeepingSink(SimpleNamespace(account=lambda _: None), replica.monitor.keep).account(call)
    tell = replica.desk.tell
    assert tell("cxr", truth("pneumonia") | {"row": 2}, ME)[0].prediction == "pneumonia"
    assert [tell("cxr", body, ME)[1] for body in (truth("normal"), truth("normal") | {"row": 0})] == [True, False]
    for row in (1, 3):
        with pytest.raises(PredictionNotFound):
            tell("cxr", truth("normal") | {"row": row}, ME)


def test_of_a_call_that_failed_nothing_is_kept(replicas: Callable[..., Replica]) -> None:
    """Nobody was answered."""
    replica = replicas()
    call = Call(ID, "rest", "infer", model="cxr", findings=[Finding(("normal", 0.9))], error=DeadlineExceeded())
    KeepingSink(SimpleNamespace(account=lambda _: None), replica.monitor.keep).account(call)
    replica.monitor.flush()
    assert not replica.store.find("cxr", ID, ME)


def test_a_truth_told_twice_is_one_and_another_is_refused(replicas: Callable[..., Replica], told: Any) -> None:
    """What has been counted cannot be uncounted."""
    replica = replicas()
    replica.keep(ID)
    assert [replica.desk.tell("cxr", truth("normal"), ME)[1] for _ in range(2)] == [True, False]
    with pytest.raises(TruthConflict):
        replica.desk.tell("cxr", truth("pneumonia"), ME)
    assert len(told("truth_received")) == 1


@pytest.mark.parametrize(("model", "request_id"), [("cxr", OTHER), ("other", ID)])
def test_an_answer_that_is_not_kept_is_not_found(replicas: Callable[..., Replica], model: str, request_id: str) -> None:
    """By its id, of this model alone."""
    replica = replicas()
    replica.keep(ID)
    with pytest.raises(PredictionNotFound):
        replica.desk.tell(model, truth("normal", request_id), ME)


def test_where_nothing_is_kept_that_is_said(replicas: Callable[..., Replica]) -> None:
    """The setting is named."""
    replica = replicas(settings=replace_settings(predictions_seconds=0))
    with pytest.raises(PredictionNotFound, match="predictions_seconds is 0"):
        replica.desk.tell("cxr", truth("normal"), ME)


def replace_settings(**changes: Any) -> Any:
    """Return the settings with changes."""
    return SETTINGS.model_copy(update=changes)


def test_of_two_answers_to_one_caller_with_one_id_the_first_stays(replicas: Callable[..., Replica]) -> None:
    """A caller who repeats an id rewrites nothing."""
    replica = replicas()
    replica.keep(ID, "normal")
    replica.monitor.flush()
    replica.keep(ID, "pneumonia")
    assert replica.desk.tell("cxr", truth("normal"), ME)[0].prediction == "normal"


def test_a_caller_who_takes_anothers_id_has_answers_of_his_own(replicas: Callable[..., Replica]) -> None:
    """Each tells the truth of its own, whoever was first; who is neither is refused."""
    replica = replicas()
    replica.keep(ID, "pneumonia", owner=YOU)
    assert replica.desk.tell("cxr", truth("normal"), SYSTEM)[0].owner == YOU
    replica.keep(ID, "normal", owner=ME)
    with pytest.raises(BadParameter) as caught:
        replica.desk.tell("cxr", truth("normal"), SYSTEM)
    assert caught.value.field == "request_id"
    found, new = replica.desk.tell("cxr", truth("normal"), ME)
    assert (found.prediction, found.owner, new) == ("normal", ME, True)
    (version,) = replica.desk.accuracy("cxr")
    assert version["truths"] == 2


def test_what_the_database_refuses_holds_nothing_up(replicas: Callable[..., Replica]) -> None:
    """It is left out and counted; what came before and after it is kept."""
    replica = replicas()
    for number, prediction in enumerate(["normal", "normal", "half a \ud800", "normal"]):
        replica.keep(f"{number:032x}", prediction)
    replica.monitor.flush()
    found = [bool(replica.store.find("cxr", f"{number:032x}", ME)) for number in range(4)]
    assert found == [True, True, False, True]
    assert replica.monitor.lost == 1


def test_volumes_are_compared_with_the_true_ones(replicas: Callable[..., Replica], told: Any) -> None:
    """To three digits: no number of a patient fits in. Only what was told is counted."""
    replica = replicas()
    replica.keep(ID, "", quantities=(Quantity("volume", "head", 1.5), Quantity("volume", "body", 3.0)))
    replica.desk.tell("cxr", truth({"head": 1.23456}), ME)
    (event,) = told("truth_received")
    assert event["inference"]["prediction"] == {"kind": "volume", "name": "head"}
    assert event["inference"]["truth"] == {"error": 0.265, "absolute_error": 0.265, "delay_seconds": 0.0}
    labels = {"model": "cxr", "version": "1", "kind": "volume", "name": "head"}
    assert replica.value("bedside_truth_absolute_error_sum", **labels) == 0.265
    (version,) = replica.desk.accuracy("cxr")
    assert version["quantities"]["head"]["mean_absolute_error"] == pytest.approx(0.26544)


def test_accuracy_is_told_by_version(replicas: Callable[..., Replica]) -> None:
    """Of the answers whose truth has come: three of four, and the one sick patient was found."""
    replica = replicas()
    cases = [("normal", "normal"), ("normal", "normal"), ("pneumonia", "pneumonia"), ("pneumonia", "normal")]
    for number, (prediction, so) in enumerate(cases):
        replica.keep(f"{number:032x}", prediction)
        replica.desk.tell("cxr", truth(so, f"{number:032x}"), ME)
    replica.keep("f" * 32)
    replica.monitor.flush()
    (version,) = replica.desk.accuracy("cxr")
    assert (version["truths"], version["accuracy"], version["mean_probability"]) == (4, 0.75, 0.9)
    sick = version["classes"]["pneumonia"]
    assert (sick["sensitivity"], sick["specificity"]) == (1.0, 0.6667)
    assert sick["positive_predictive_value"] == 0.5
    assert version["confusion"] == {"normal": {"normal": 2, "pneumonia": 1}, "pneumonia": {"pneumonia": 1}}


def test_what_is_old_or_too_much_is_forgotten(replicas: Callable[..., Replica]) -> None:
    """By age, and by number the oldest first."""
    replica = replicas(settings=replace_settings(predictions_most=2))
    for number in range(4):
        replica.now = float(number)
        replica.keep(f"{number:032x}")
    replica.now = 1001.5
    replica.monitor.work()
    found = [bool(replica.store.find("cxr", f"{number:032x}", ME)) for number in range(4)]
    assert found == [False, False, True, True]


def test_predictions_wait_for_a_database_that_is_away(replicas: Callable[..., Replica], told: Any) -> None:
    """They are written when it answers again; what finds no room is counted."""
    replica = replicas()
    replica.keep(ID)
    with replica.store._engine.begin() as connection:
        connection.execute(text("ALTER TABLE bedside_answers RENAME TO away"))
    replica.monitor.work()
    assert told("job_store_failed")
    with replica.store._engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO bedside_answers"))
    replica.monitor.work()
    assert replica.store.find("cxr", ID, ME)


def test_what_finds_no_room_is_counted(replicas: Callable[..., Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, and no answer waits."""
    monkeypatch.setattr("bedside.monitoring.monitor.MOST_WAITING", 1)
    replica = replicas()
    replica.keep(ID)
    replica.keep(OTHER)
    assert replica.monitor.lost == 1


def test_what_waits_is_written_at_the_end(replicas: Callable[..., Replica]) -> None:
    """By the thread that does it, before it ends."""
    replica = replicas()
    replica.monitor.start()
    replica.keep(ID)
    replica.monitor.close()
    assert replica.store.find("cxr", ID, ME)


def test_a_class_that_the_model_lacks_is_refused(replicas: Callable[..., Replica]) -> None:
    """Nothing is written."""
    replica = replicas()
    replica.keep(ID)
    with pytest.raises(BadParameter):
        replica.desk.tell("cxr", truth("DOE^JOHN"), ME)
    ((_, told),) = replica.store.find("cxr", ID, ME)
    assert told is None
