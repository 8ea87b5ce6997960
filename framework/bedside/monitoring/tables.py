"""Tables beside the jobs': what was predicted, and what the first answers of a bundle were like."""

from sqlalchemy import Column, Float, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

PREDICTIONS = Table(
    "bedside_answers",
    METADATA,
    Column("model", String(255), primary_key=True),
    Column("request_id", String(36), primary_key=True),
    # Callers may choose their request ids: one that takes another's has answers of its own under it.
    Column("owner", String(64), primary_key=True),
    Column("version", Text, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("created", Float(53), nullable=False),
    Column("prediction", Text, nullable=False, default=""),
    Column("probability", Float(53)),
    Column("quantities", Text, nullable=False, default="[]"),
    Column("truth", Text),
    Column("told", Float(53)),
    Index("bedside_answers_created", "created"),
    Index("bedside_answers_told", "told"),
)
"""``quantities`` and ``truth`` are JSON; ``told`` is when the truth came. Times are seconds since the epoch."""

REFERENCES = Table(
    "bedside_prediction_references",
    METADATA,
    Column("digest", String(80), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("total", Integer, nullable=False),
    Column("counts", Text, nullable=False),
)
"""``counts`` is a JSON object: how many answers fell into each bin."""
