"""What the documentation names is there."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
]
BLOCK = re.compile(r"```.*?```", re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?")
PLACEHOLDER = re.compile(r"(^|/)[A-Z]+(/|$)")
ELSEWHERE = {"docs/README.md", "deploy/bedside", "deploy/bedside-primary"}
"""A bundle's own page; Deployments, as kubectl names them."""


def tracked() -> set[str]:
    """Return the files and folders of the repository, without what was made beside them."""
    command = ["git", "-C", str(REPOSITORY), "ls-files"]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {*files, *(str(folder) for name in files for folder in Path(name).parents)}


def named(text: str, folders: set[str]) -> Iterator[str]:
    """Yield the repository's paths among what stands in backticks."""
    for word in (word for code in CODE.findall(text) for word in code.split()):
        if PATH.fullmatch(word) and word.partition("/")[0] in folders and not PLACEHOLDER.search(word):
            yield word.rstrip("/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_of_a_page_exist(page: Path) -> None:
    """Those in backticks; scripts/docs.py looks at the links."""
    text, known = BLOCK.sub("", page.read_text(encoding="utf-8")), tracked()
    paths = set(named(text, {name.partition("/")[0] for name in known if "/" in name}))
    assert paths - known <= ELSEWHERE


def test_paths_are_found() -> None:
    """A path that is not there is one of those that are looked for."""
    found = set(named("`scripts/gone.py --all`, `apps/NAME`, `image/png`, `bedside serve apps/`", {"scripts", "apps"}))
    assert found == {"scripts/gone.py"}
