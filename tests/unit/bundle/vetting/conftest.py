"""Bundles to judge: one with nothing wrong, and the hostile ones of ``tests/assets/hostile_bundles``."""

from pathlib import Path
from typing import Any

import pytest
from tests.assets.hostile_bundles import make_hostile

from bedside.bundle.vetting import SitePolicy, Verdict, vet
from bedside.settings import AdmissionSettings


@pytest.fixture(scope="session")
def hostile() -> Any:
    """Return the maker of hostile bundles."""
    return make_hostile


@pytest.fixture
def root(tmp_path: Path, hostile: Any) -> Path:
    """Return a fresh bundle with nothing wrong with it."""
    folder = tmp_path / "plain"
    hostile.plain(folder)
    return folder


def judged(path: Path, policy: SitePolicy | None = None, /, **limits: Any) -> Verdict:
    """Judge with the built-in policy and limits, or others."""
    return vet(path, AdmissionSettings(**limits), policy or SitePolicy())


def rules(verdict: Verdict, severity: str = "refused") -> set[str]:
    """Return the names of the rules that a verdict mentions with a severity."""
    return {finding.rule for finding in verdict.findings if finding.severity == severity}
