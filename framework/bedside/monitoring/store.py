"""What was predicted, kept until the truth comes; shared by all replicas over one database."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError

from bedside.monitoring.records import Predicted, Truth
from bedside.monitoring.tables import METADATA, PREDICTIONS, REFERENCES
from bedside.types import Quantity

TRUTH = "truth"
"""Kind of the reference that has a bundle's first truths."""
_AT_ONCE = 500  # rows of one statement: SQLite takes 32,766 parameters


class PredictionStore:
    """Predictions by model, request id and whose it was; thread-safe.

    Args:
        engine: of :func:`bedside.jobs.tables.connect`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        METADATA.create_all(engine)

    def add(self, predictions: Sequence[Predicted]) -> int:
        """Keep predictions; return how many hold what the database refuses, and are not kept.

        Of two of one caller with one id the first stays: what was told is not rewritten.
        """
        try:
            with self._engine.begin() as connection:
                for start in range(0, len(predictions), _AT_ONCE):
                    rows = [_row(predicted) for predicted in predictions[start : start + _AT_ONCE]]
                    connection.execute(self._insert(PREDICTIONS).values(rows).on_conflict_do_nothing())
        except (DataError, UnicodeError):  # a text that is too long, has a NUL (PostgreSQL) or half a character
            if len(predictions) == 1:
                return 1
            middle = len(predictions) // 2
            return self.add(predictions[:middle]) + self.add(predictions[middle:])
        return 0

    def find(self, model: str, request_id: str, owner: str) -> Sequence[tuple[Predicted, Truth | None]]:
        """Return predictions with this id and the truth that has come for them: the owner's, else two of others."""
        named = (PREDICTIONS.c.model == model, PREDICTIONS.c.request_id == request_id)
        query = select(PREDICTIONS).where(*named).order_by(PREDICTIONS.c.owner != owner).limit(2)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [(_predicted(row), _truth(row.truth)) for row in rows[: 1 if rows and rows[0].owner == owner else 2]]

    def tell(self, predicted: Predicted, truth: Truth, now: float) -> bool:
        """Put the truth beside its prediction. False: some has come before, and stays."""
        key = PREDICTIONS.primary_key.columns
        mine = [column == getattr(predicted, column.name) for column in key]
        said = json.dumps(truth.label if truth.numbers is None else truth.numbers)
        change = update(PREDICTIONS).where(*mine, PREDICTIONS.c.told.is_(None)).values(truth=said, told=now)
        with self._engine.begin() as connection:
            return connection.execute(change).rowcount == 1

    def told(self, model: str) -> Iterable[tuple[str, str, str, str, int, float]]:
        """Return version, digest, predicted class, true class, how many, and the mean probability of that class."""
        by = (PREDICTIONS.c.version, PREDICTIONS.c.digest, PREDICTIONS.c.prediction, PREDICTIONS.c.truth)
        mine = (PREDICTIONS.c.model == model, PREDICTIONS.c.told.is_not(None), PREDICTIONS.c.prediction != "")
        query = select(*by, func.count(), func.avg(PREDICTIONS.c.probability)).where(*mine).group_by(*by)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [(*row[:3], json.loads(row[3]), row[4], row[5] or 0.0) for row in rows]

    def truths(
        self, model: str, version: str, digest: str, most: int, *, oldest: bool = False
    ) -> tuple[Counter[tuple[str, str]], float]:
        """Return the last truths of a bundle's classes, or its first: how many by true and by predicted class.

        And when the last of them was told, in seconds since the epoch; 0 where none was.
        """
        rows = self._told((model, version, digest), most, PREDICTIONS.c.prediction != "", oldest=oldest)
        counted = Counter((json.loads(row.truth), row.prediction) for row in rows)
        return counted, max((row.told for row in rows), default=0.0)

    def errors(
        self, model: str, version: str, digest: str, most: int, *, oldest: bool = False
    ) -> tuple[dict[tuple[str, str], Counter[float]], float, int]:
        """Return how far a bundle's last answers in numbers were from their truth, or its first: by kind and name.

        To three digits, which are nobody's. And when the last truth was told, as `truths` does; of how many answers.
        """
        rows = self._told((model, version, digest), most, PREDICTIONS.c.prediction == "", oldest=oldest)
        found: dict[tuple[str, str], Counter[float]] = defaultdict(Counter)
        for row in rows:
            true: Mapping[str, float] = json.loads(row.truth)
            for kind, name, number in json.loads(row.quantities):
                if name in true:
                    found[kind, name][float(f"{abs(number - true[name]):.3g}")] += 1
        return found, max((row.told for row in rows), default=0.0), len(rows)

    def _told(self, of: tuple[str, str, str], most: int, which: ColumnElement[bool], *, oldest: bool) -> Sequence[Any]:
        told = PREDICTIONS.c.told
        mine = [
            getattr(PREDICTIONS.c, name) == said for name, said in zip(("model", "version", "digest"), of, strict=True)
        ]
        columns = (PREDICTIONS.c.truth, PREDICTIONS.c.prediction, PREDICTIONS.c.quantities, told)
        query = select(*columns).where(*mine, told.is_not(None), which)
        query = query.order_by(told if oldest else told.desc(), PREDICTIONS.c.request_id).limit(most)
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def told_numbers(self, model: str) -> Iterable[tuple[str, str, Quantity, float]]:
        """Yield version, digest, a quantity that was answered, and its truth."""
        mine = (PREDICTIONS.c.model == model, PREDICTIONS.c.told.is_not(None), PREDICTIONS.c.prediction == "")
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=_AT_ONCE).execute(select(PREDICTIONS).where(*mine)):
                true: Mapping[str, float] = json.loads(row.truth)
                for quantity in _predicted(row).quantities:
                    if quantity.name in true:
                        yield row.version, row.digest, quantity, true[quantity.name]

    def purge(self, created_before: float, most: int) -> None:
        """Forget what is older than a time, and the oldest of what is more than ``most``."""
        created = PREDICTIONS.c.created
        newest = select(created).order_by(created.desc()).offset(most).limit(1)
        with self._engine.begin() as connection:
            limit = connection.execute(newest).scalar()
            connection.execute(delete(PREDICTIONS).where(created <= max(created_before, limit or created_before)))

    def reference(
        self,
        of: tuple[str, str, str],
        counts: Mapping[str, int],
        wanted: int,
        shipped: Mapping[str, int] | None = None,
    ) -> Mapping[str, int]:
        """Return the counts of a bundle's first answers; empty while there are fewer than ``wanted`` of them.

        Until then ``counts`` is added to them: it belongs to the first. What was ``shipped`` with the bundle is taken
        in their place, until it is renewed.

        Args:
            of: digest, kind and name.
            counts: answers by bin.
            wanted: answers that make a reference.
            shipped: the bundle's own.
        """
        mine = [column == value for column, value in zip(REFERENCES.primary_key.columns, of, strict=True)]
        with self._engine.begin() as connection:
            if shipped and connection.execute(select(REFERENCES.c.total).where(*mine)).first() is None:
                return shipped
            connection.execute(self._insert(REFERENCES).values(_empty(*of)).on_conflict_do_nothing())
            row = connection.execute(select(REFERENCES).where(*mine).with_for_update()).one()
            known: dict[str, int] = json.loads(row.counts)
            if row.total >= wanted:
                return known
            added = {label: known.get(label, 0) + counts.get(label, 0) for label in {*known, *counts}}
            values = {"counts": json.dumps(added), "total": row.total + sum(counts.values())}
            connection.execute(update(REFERENCES).where(*mine).values(values))
        return {}

    def references(self, digest: str) -> dict[tuple[str, str], dict[str, int]]:
        """Return what was counted of a bundle's first answers, by kind and name."""
        query = select(REFERENCES).where(REFERENCES.c.digest == digest, REFERENCES.c.kind != TRUTH)
        with self._engine.connect() as connection:
            return {(row.kind, row.name): json.loads(row.counts) for row in connection.execute(query)}

    def renew(self, digest: str, shipped: Iterable[tuple[str, str]]) -> None:
        """Forget a bundle's first answers, and what was shipped (kinds and names); not its first truths."""
        with self._engine.begin() as connection:
            for kind, name in shipped:
                row = _empty(digest, kind, name)
                connection.execute(self._insert(REFERENCES).values(row).on_conflict_do_nothing())
            mine = (REFERENCES.c.digest == digest, REFERENCES.c.kind != TRUTH)
            connection.execute(update(REFERENCES).where(*mine).values(total=0, counts="{}"))


def _empty(digest: str, kind: str, name: str) -> dict[str, Any]:
    return {"digest": digest, "kind": kind, "name": name, "total": 0, "counts": "{}"}


def _row(predicted: Predicted) -> dict[str, Any]:
    values = predicted._asdict()
    said = [(quantity.kind, quantity.name, quantity.number) for quantity in predicted.quantities]
    return values | {"quantities": json.dumps(said)}


def _predicted(row: Any) -> Predicted:
    values = {name: getattr(row, name) for name in Predicted._fields}
    return Predicted(**values | {"quantities": tuple(Quantity(*said) for said in json.loads(row.quantities))})


def _truth(said: str | None) -> Truth | None:
    if said is None:
        return None
    truth = json.loads(said)
    return Truth(label=truth) if isinstance(truth, str) else Truth(numbers=truth)
