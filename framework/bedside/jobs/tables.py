"""Tables and connection: SQLite for one server, PostgreSQL where several replicas share the work."""

from typing import Any, TypeAlias

from sqlalchemy import (
    Boolean,
    Column,
    Engine,
    ExceptionContext,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.schema import CreateColumn

from bedside.errors import ConfigurationError, JobStoreUnavailable
from bedside.jobs.states import LIVE

Database: TypeAlias = Engine
"""What stores are made of, for who knows no SQL."""

METADATA = MetaData()

READ_ONLY = {"bedside_read_only": True}
"""Execution options of connections that never write: those of SQLite then wait for no writer, and hold none up."""

_POSTGRES_WAITS = {
    "connect_timeout": 10,  # seconds
    "tcp_user_timeout": 20_000,  # milliseconds
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""A server or a network that vanishes without a word is noticed in half a minute, not after the kernel's two hours."""

_NEW = ("trace_parent", "read_digest")

_LIVE = text("state IN ({})".format(", ".join(f"'{state}'" for state in LIVE)))

JOBS = Table(
    "bedside_jobs",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("key", Text, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("input_digest", String(64), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("destinations", Text, nullable=False, default=""),
    Column("deadline", Float(53), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("created", Float(53), nullable=False),
    Column("not_before", Float(53), nullable=False),
    Column("started", Float(53)),
    Column("finished", Float(53)),
    Column("lease", String(64), nullable=False, default=""),
    Column("lease_until", Float(53), nullable=False, default=0.0),
    Column("done", Integer, nullable=False, default=0),
    Column("total", Integer, nullable=False, default=0),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("error_code", Text, nullable=False, default=""),
    Column("error_detail", Text, nullable=False, default=""),
    Column("result_type", Text, nullable=False, default=""),
    # Newer than the table, and unknown to replicas of a version before it (:func:`_add_new_columns`).
    Column("trace_parent", String(55), nullable=False, server_default=""),
    Column("read_digest", String(64), nullable=False, server_default=""),
    # One live job for one piece of work, whoever submits it twice and to which replica.
    Index("bedside_jobs_live_key", "key", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
    Index("bedside_jobs_next", "state", "not_before", "created"),
    Index("bedside_jobs_finished", "state", "finished"),
)

DELIVERIES = Table(
    "bedside_deliveries",
    METADATA,
    Column("job", String(32), ForeignKey(JOBS.c.id, ondelete="CASCADE"), primary_key=True),
    Column("destination", String(255), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("not_before", Float(53), nullable=False),
    Column("lease_until", Float(53), nullable=False, default=0.0),
    Column("error_code", Text, nullable=False, default=""),
    Index("bedside_deliveries_next", "state", "not_before"),
)


def connect(url: str) -> Engine:
    """Return an engine with the tables there.

    Args:
        url: SQLAlchemy URL, ``sqlite:////path/jobs.db`` or ``postgresql+psycopg://…``.

    Raises:
        ConfigurationError: no such database, or its driver is not installed. The URL may hold a password: it is in no
            message.
    """
    try:
        address = make_url(url)
        waits = _POSTGRES_WAITS if address.get_dialect().driver in {"psycopg", "psycopg2"} else {}
        engine = create_engine(address, pool_pre_ping=True, hide_parameters=True, connect_args=waits)
    except ArgumentError:
        raise ConfigurationError("not a database URL", field="jobs.database") from None
    except ModuleNotFoundError:
        raise ConfigurationError(
            "PostgreSQL needs a driver: pip install 'bedside[postgres]'", field="jobs.database"
        ) from None
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    METADATA.create_all(engine)
    _add_new_columns(engine)
    event.listen(engine, "handle_error", _away)
    return engine


def _add_new_columns(engine: Engine) -> None:
    """Complete the table of an earlier version. They have defaults: its replicas may write for as long as they run."""
    # SQLite has one writer at a time, and this is it; elsewhere another replica may be doing the same.
    unless = "" if engine.dialect.name == "sqlite" else "IF NOT EXISTS "
    with engine.begin() as connection:
        known = {column["name"] for column in inspect(connection).get_columns(JOBS.name)}
        for name in _NEW:
            if name not in known:
                added = CreateColumn(JOBS.c[name]).compile(dialect=engine.dialect)
                connection.execute(text(f"ALTER TABLE {JOBS.name} ADD COLUMN {unless}{added}"))


def _away(context: ExceptionContext) -> None:
    # Whoever asked may ask again, and is told so; the driver's text names hosts and users.
    if isinstance(context.sqlalchemy_exception, OperationalError | InterfaceError) and not context.is_pre_ping:
        raise JobStoreUnavailable from None


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says so, not at the first change
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
        cursor.execute("PRAGMA synchronous=FULL")  # what was committed survives a power cut
        cursor.execute("PRAGMA busy_timeout=10000")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Any) -> None:
        # A transaction that reads first and writes later would fail at once when another has written meanwhile.
        reads_only = READ_ONLY.keys() <= connection.get_execution_options().keys()
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
