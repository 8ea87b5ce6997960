"""Both databases keep predictions alike."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.postgres import postgres

from bedside.jobs.tables import connect
from bedside.monitoring.records import Predicted, Truth
from bedside.monitoring.store import PredictionStore
from bedside.types import Quantity

DIGEST = "sha256:" + "0" * 64
VOLUME = Predicted("0" * 32, "mr", "1", DIGEST, 1.0, quantities=(Quantity("volume", "head", 1.5),))
NAMED = Predicted("1" * 32, "cxr", "1", DIGEST, 2.0, "normal", 0.75)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('store') / Path('jobs.db')}"
        return
    with postgres() as found:
        yield found


def test_databases_keep_predictions_alike(url: str) -> None:
    """Written once, told once, summed up, and forgotten."""
    store, other = (PredictionStore(connect(url)) for _ in range(2))
    for _ in range(2):
        store.add([VOLUME, NAMED])
    assert other.find("mr", VOLUME.request_id, "me") == [(VOLUME, None)]
    assert [of.tell(NAMED, Truth("sick"), 3.0) for of in (store, other)] == [True, False]
    assert other.find("cxr", NAMED.request_id, "me") == [(NAMED, Truth("sick"))]
    assert store.tell(VOLUME, Truth(numbers={"head": 1.25}), 3.0)
    assert list(other.told("cxr")) == [("1", DIGEST, "normal", "sick", 1, 0.75)]
    assert list(other.told_numbers("mr")) == [("1", DIGEST, VOLUME.quantities[0], 1.25)]
    store.purge(1.0, 10)
    assert [bool(store.find(of.model, of.request_id, "me")) for of in (VOLUME, NAMED)] == [False, True]
    store.purge(0.0, 0)
    assert not store.find("cxr", NAMED.request_id, "me")


def test_databases_tell_callers_apart(url: str) -> None:
    """Of answers with one id the asker's own is found, else two of others; what is refused keeps no other out."""
    store = PredictionStore(connect(url))
    mine, yours = (NAMED._replace(request_id="2" * 32, owner=owner) for owner in ("me", "you"))
    assert store.add([yours, mine, mine._replace(request_id="3" * 32, prediction="half a \ud800")]) == 1
    found = {who: [of.owner for of, _ in store.find("cxr", mine.request_id, who)] for who in ("me", "you", "she")}
    assert (found["me"], found["you"], set(found["she"])) == (["me"], ["you"], {"me", "you"})
    assert store.tell(mine, Truth("sick"), 3.0)
    assert store.find("cxr", mine.request_id, "you") == [(yours, None)]
    store.purge(3.0, 0)


def test_databases_keep_references_alike(url: str) -> None:
    """The first answers, of all replicas together, and no more than that."""
    store, other = (PredictionStore(connect(url)) for _ in range(2))
    key = (DIGEST, "class", "all")
    assert store.reference(key, {"a": 60}, 100) == {}
    assert other.reference(key, {"a": 30, "b": 10}, 100) == {}
    assert store.reference(key, {"b": 1000}, 100) == {"a": 90, "b": 10}


def test_databases_renew_references_alike(url: str) -> None:
    """What was shipped is taken until then; first truths stay."""
    store = PredictionStore(connect(url))
    digest = "sha256:" + "1" * 64
    key, truths = (digest, "class", "all"), (digest, "truth", "all")
    shipped = {"a": 7}
    store.reference(truths, {"c": 50}, 50)
    assert store.reference(key, {"a": 60}, 50, shipped) == shipped
    store.renew(digest, [("class", "all")])
    assert store.reference(key, {"a": 60}, 50, shipped) == {}
    assert store.reference(key, {"a": 60}, 50, shipped) == {"a": 60}
    assert store.references(digest) == {("class", "all"): {"a": 60}}
    store.renew(digest, [])
    assert store.references(digest) == {("class", "all"): {}}
    assert store.reference(truths, {}, 50) == {"c": 50}
