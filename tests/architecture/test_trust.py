"""Types that say that something was checked are made where it is checked."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "framework" / "bedside"
MAKERS = {
    "ValidatedInputs": {
        "bundle/validation.py",
        "bundle/sample.py",  # inputs of nobody, made up to fit a contract
    },
    "Principal": {"security/claims.py", "transports/dicom/assembly.py"},
}


def makers(type_name: str) -> set[str]:
    """Return the modules that call a type."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        if (getattr(node.func, "id", None) or getattr(node.func, "attr", None)) == type_name
    }


@pytest.mark.parametrize("type_name", MAKERS)
def test_what_says_that_it_was_checked_is_made_where_it_is(type_name: str) -> None:
    """A transport that makes one itself has passed a stage by."""
    assert makers(type_name) == MAKERS[type_name]
