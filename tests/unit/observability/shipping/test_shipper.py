"""Emptying the spool: in order, as long as it takes, no line twice, none for ever."""

import fcntl
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import pytest
from tests.unit.observability.conftest import Capture

from bedside.log_settings import ElasticSettings
from bedside.observability.shipping.shipper import Shipper
from bedside.observability.shipping.spool import Spool, SpooledLine
from bedside.observability.shipping.verdicts import NotDelivered, Refusal, Verdict

Build = Callable[..., Capture]
Answer = Callable[[Sequence[SpooledLine]], Verdict]
SOON = 20.0  # seconds that a thread may take on a busy machine


def all_taken(batch: Sequence[SpooledLine]) -> Verdict:
    """Take a batch."""
    return Verdict(len(batch), (), None)


class Cluster:
    """Answers as it is told to, one answer after the other, then takes everything."""

    def __init__(self, *answers: Answer | NotDelivered) -> None:
        self.answers = list(answers)
        self.batches: list[list[bytes]] = []
        self.taken: list[bytes] = []
        self.closed = False
        self.changed = threading.Condition()

    def send(self, batch: Sequence[SpooledLine]) -> Verdict:
        """Answer."""
        with self.changed:
            self.batches.append([entry.line for entry in batch])
            answer = self.answers.pop(0) if self.answers else all_taken
            try:
                if isinstance(answer, NotDelivered):
                    raise answer
                verdict = answer(batch)
                refused = {refusal.line for refusal in verdict.refused}
                self.taken += [entry.line for entry in batch[: verdict.settled] if entry not in refused]
                return verdict
            finally:
                self.changed.notify_all()

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def wait(self, lines: int) -> None:
        """Wait until so many lines were taken."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.taken) >= lines, SOON)


SETTINGS = ElasticSettings(retry_seconds=0.001, retry_most_seconds=0.002, flush_seconds=0.001, stop_seconds=SOON)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """Return an empty one."""
    spool = Spool(tmp_path, 10**7)
    yield spool
    spool.close()


def shipped(spool: Spool, cluster: Cluster, settings: ElasticSettings = SETTINGS) -> Shipper:
    """Ship until the spool is empty or the cluster does not answer at the end."""
    shipper = Shipper(spool, cluster, settings)
    shipper.start()
    return shipper


def test_lines_arrive_in_their_order_in_batches(capture: Build, spool: Spool) -> None:
    """Those that came before the start, and those that come while it runs."""
    capture()
    spool.write(b"1\n2\n3\n")
    cluster = Cluster()
    shipper = shipped(spool, cluster, SETTINGS.model_copy(update={"batch_lines": 2}))
    cluster.wait(3)
    spool.write(b"4\n")
    cluster.wait(4)
    shipper.close()
    assert cluster.batches == [[b"1", b"2"], [b"3"], [b"4"]]
    assert (shipper.shipped, shipper.refused, cluster.closed) == (4, 0, True)


def test_what_waits_is_sent_before_the_end(capture: Build, spool: Spool) -> None:
    """Closing is no reason to lose, or to be late with, the last lines."""
    capture()
    spool.write(b"".join(b"%d\n" % number for number in range(2500)))
    cluster = Cluster()
    shipped(spool, cluster).close()
    assert cluster.taken == [b"%d" % number for number in range(2500)]


def test_a_cluster_that_is_away_is_told_of_once_and_so_is_its_return(capture: Build, spool: Spool) -> None:
    """The same lines are tried again, in their order; nothing of an address or a key is in the events."""
    captured = capture()
    spool.write(b"1\n2\n")
    cluster = Cluster(NotDelivered("ConnectionError"), NotDelivered("ConnectionTimeout"), NotDelivered("ApiError", 503))
    shipper = shipped(spool, cluster)
    cluster.wait(2)
    shipper.close()
    assert cluster.batches == [[b"1", b"2"]] * 4
    down, up = captured.records
    assert (down["message"], down["log.level"], down["error"]["type"]) == (
        "log_shipping_failed",
        "warning",
        "ConnectionError",
    )
    assert (up["message"], up["bedside"]["log"]["lines"]) == ("log_shipping_resumed", 0)


def test_a_refused_key_is_waited_out(capture: Build, spool: Spool) -> None:
    """401 and 403: somebody will mend the key; no line is given up."""
    captured = capture()
    spool.write(b"1\n")
    cluster = Cluster(NotDelivered("AuthenticationException", 401), NotDelivered("AuthorizationException", 403))
    shipper = shipped(spool, cluster)
    cluster.wait(1)
    shipper.close()
    assert captured.records[0]["http"]["response"] == {"status_code": 401}


def test_an_overloaded_cluster_gets_the_rest_again(capture: Build, spool: Spool) -> None:
    """429 for the second of three: the first is done, the others come again in their order."""
    capture()
    spool.write(b"1\n2\n3\n")
    cluster = Cluster(lambda _: Verdict(1, (), 429))
    shipper = shipped(spool, cluster)
    cluster.wait(3)
    shipper.close()
    assert cluster.batches == [[b"1", b"2", b"3"], [b"2", b"3"]]
    assert cluster.taken == [b"1", b"2", b"3"]


def test_a_line_that_no_mapping_fits_is_kept_and_holds_nobody_up(capture: Build, spool: Spool, tmp_path: Path) -> None:
    """It is in refused.ndjson with its reason; told when it begins, and not for each."""
    captured = capture()
    spool.write(b'{"a":1}\n{"a":"x"}\n{"a":2}\n')

    def second_refused(batch: Sequence[SpooledLine]) -> Verdict:
        return Verdict(len(batch), (Refusal(batch[1], 400, "document_parsing_exception"),), None)

    cluster = Cluster(second_refused, second_refused)
    settings = SETTINGS.model_copy(update={"batch_lines": 3})
    shipper = shipped(spool, cluster, settings)
    cluster.wait(2)
    spool.write(b'{"a":3}\n{"a":"y"}\n{"a":4}\n')
    cluster.wait(4)
    shipper.close()
    assert cluster.taken == [b'{"a":1}', b'{"a":2}', b'{"a":3}', b'{"a":4}']
    assert (shipper.shipped, shipper.refused) == (4, 2)
    kept = [orjson.loads(line) for line in (tmp_path / "refused.ndjson").read_bytes().splitlines()]
    assert kept == [
        {"status": 400, "error": "document_parsing_exception", "line": '{"a":"x"}'},
        {"status": 400, "error": "document_parsing_exception", "line": '{"a":"y"}'},
    ]
    (told,) = captured.records
    assert (told["message"], told["error"]["type"]) == ("log_lines_refused", "document_parsing_exception")


@pytest.mark.parametrize("room", [0, 60])
def test_refused_lines_keep_their_bound(capture: Build, spool: Spool, tmp_path: Path, room: int) -> None:
    """Beyond it they are counted only."""
    capture()
    spool.write(b"1\n2\n3\n")
    cluster = Cluster(lambda batch: Verdict(3, tuple(Refusal(entry, 400, "x") for entry in batch), None))
    shipper = shipped(spool, cluster, SETTINGS.model_copy(update={"refused_bytes": room}))
    shipper.close()
    assert shipper.refused == 3
    assert (tmp_path / "refused.ndjson").stat().st_size == (room and 38)


def test_refused_lines_that_cannot_be_kept_hold_nobody_up(capture: Build, spool: Spool, tmp_path: Path) -> None:
    """Whatever is in the file's place."""
    capture()
    (tmp_path / "refused.ndjson").mkdir()
    spool.write(b"1\n2\n")
    cluster = Cluster(lambda batch: Verdict(1, (Refusal(batch[0], 400, "x"),), 429))
    shipper = shipped(spool, cluster)
    cluster.wait(1)
    shipper.close()
    assert (cluster.taken, shipper.refused) == ([b"2"], 1)


def test_a_batch_that_is_too_large_is_halved(capture: Build, spool: Spool) -> None:
    """413: down to the one line that is too large by itself, which is given up; then batches are whole again."""
    capture()
    spool.write(b"1\n2\n3\n4\n")

    def bounded(batch: Sequence[SpooledLine]) -> Verdict:
        if any(entry.line == b"3" for entry in batch):
            raise NotDelivered("ApiError", 413)
        return all_taken(batch)

    cluster = Cluster(*[bounded] * 9)
    shipper = shipped(spool, cluster)
    cluster.wait(3)
    shipper.close()
    assert cluster.taken == [b"1", b"2", b"4"]
    assert shipper.refused == 1
    assert spool.waiting_lines == 0


def test_a_full_spool_is_told(capture: Build, tmp_path: Path) -> None:
    """Lines are being lost: somebody must look at it."""
    captured = capture()
    spool = Spool(tmp_path, 64 * 1024)
    spool.write(b"x" * 20_000 + b"\n")
    with pytest.raises(OSError, match="takes no lines"):
        spool.write(b"x" * 90_000 + b"\n")
    shipped(spool, Cluster()).close()
    assert [record["message"] for record in captured.records] == ["log_spool_full"]


def test_a_damaged_spool_is_told(capture: Build, tmp_path: Path) -> None:
    """What was in it is not sent."""
    captured = capture()
    (tmp_path / "lines.db").write_bytes(b"no database" * 1000)
    shipped(Spool(tmp_path, 10**7), Cluster()).close()
    assert [record["message"] for record in captured.records] == ["log_spool_damaged"]


def test_whatever_fails_is_tried_again(capture: Build, spool: Spool) -> None:
    """A defect in a library must not end the log."""
    captured = capture()
    spool.write(b"1\n")

    def defective(_: Sequence[SpooledLine]) -> Verdict:
        raise RuntimeError

    cluster = Cluster(defective)
    shipper = shipped(spool, cluster)
    cluster.wait(1)
    shipper.close()
    assert captured.records[0]["error"]["type"] == "RuntimeError"


def test_of_two_with_one_spool_one_ships_and_then_the_other(capture: Build, spool: Spool, tmp_path: Path) -> None:
    """Else they would send the same lines at one time, out of order."""
    capture()
    cluster = Cluster()
    with (tmp_path / "shipper.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        spool.write(b"1\n")
        waiting = shipped(spool, cluster)
        assert spool.waiting_lines == 1
    cluster.wait(1)
    waiting.close()
    assert cluster.taken == [b"1"]


def test_one_that_never_had_its_turn_ends(capture: Build, spool: Spool, tmp_path: Path) -> None:
    """Its lines are the other's to ship."""
    capture()
    with (tmp_path / "shipper.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shipper = shipped(spool, Cluster())
        spool.write(b"1\n")
        shipper.close()
    again = Spool(tmp_path, 10**7)
    assert again.waiting_lines == 1
    again.close()


def test_a_cluster_that_stays_away_does_not_hold_up_the_end(capture: Build, spool: Spool, tmp_path: Path) -> None:
    """What waits is sent after the next start."""
    capture()
    spool.write(b"1\n")
    shipped(spool, Cluster(*[NotDelivered("ConnectionError")] * 1000)).close()
    cluster, again = Cluster(), Spool(tmp_path, 10**7)
    shipped(again, cluster).close()
    assert cluster.taken == [b"1"]


def test_pauses_double_up_to_the_longest(spool: Spool) -> None:
    """Each shortened by up to a half."""
    settings = ElasticSettings(retry_seconds=1, retry_most_seconds=8)
    shipper = Shipper(spool, Cluster(), settings)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (100, 8)):
        shipper._failures = failures
        assert all(longest / 2 <= shipper._pause() <= longest for _ in range(20))
