"""The connection to the jobs' database."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from bedside.errors import ConfigurationError, JobStoreUnavailable
from bedside.jobs.records import NewJob
from bedside.jobs.store import JobStore
from bedside.jobs.tables import connect


def test_a_database_that_is_away_is_to_be_asked_again(tmp_path: Path) -> None:
    """Callers get 503, and nothing that the driver says."""
    folder = tmp_path / "secret"
    folder.mkdir()
    engine = connect(f"sqlite:///{folder / 'jobs.db'}")
    engine.dispose()
    shutil.rmtree(folder)
    with pytest.raises(JobStoreUnavailable) as caught:
        JobStore(engine).get("1" * 32)
    assert "secret" not in str(caught.value)


def test_a_database_of_an_earlier_version_is_completed(tmp_path: Path) -> None:
    """Its jobs stay, and replicas of that version go on writing to it."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    new = NewJob("1" * 32, "me", "heart", "1", "d", "2", "text/plain", 1000.0)
    engine = connect(url)
    JobStore(engine).submit(new, 0.0)
    with engine.begin() as connection:
        for column in ("trace_parent", "read_digest"):
            connection.execute(text(f"ALTER TABLE bedside_jobs DROP COLUMN {column}"))
    engine.dispose()
    stores = [JobStore(connect(url)) for _ in range(2)]
    old = stores[0].get("1" * 32)
    assert old is not None
    assert (old.trace_parent, old.read_digest) == ("", "")
    job, _ = stores[1].submit(replace(new, id="3" * 32, owner="you", trace_parent="00-1-2-01"), 1.0)
    assert stores[0].get(job.id) == job
    assert job.trace_parent == "00-1-2-01"


@pytest.mark.parametrize("url", ["no url", "postgresql+nosuchdriver://h/d"])
def test_what_is_no_database_is_a_setting_to_mend(url: str) -> None:
    """Named, without its value, which may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        connect(url)
    assert caught.value.field == "jobs.database"
