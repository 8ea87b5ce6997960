"""The connection to the jobs' database."""

import shutil
from pathlib import Path

import pytest

from bedside.errors import ConfigurationError, JobStoreUnavailable
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


@pytest.mark.parametrize("url", ["no url", "postgresql+nosuchdriver://h/d"])
def test_what_is_no_database_is_a_setting_to_mend(url: str) -> None:
    """Named, without its value, which may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        connect(url)
    assert caught.value.field == "jobs.database"
