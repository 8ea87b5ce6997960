"""The quick starts of docs/deployment.md are as short as they say, and what they name is there."""

import re
from pathlib import Path

import pytest
from validation.manifests import ROOT, overlay

REPOSITORY = ROOT.parents[1]
PAGE = REPOSITORY / "docs" / "deployment.md"
MOST_COMMANDS, MOST_LINES = 3, 40
ROW = re.compile(r"^\| \[(.+?)\]\(#([a-z0-9-]+)\) \| (\d+) \| (\d+) \| (.+) \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE.read_text())
IDS = [row[0] for row in ROWS]


def commands(anchor: str) -> list[str]:
    """Return the lines of the first shell block below a heading."""
    heading = re.search(rf"^#+ {anchor.replace('-', '[ -]')}$", PAGE.read_text(), re.MULTILINE | re.IGNORECASE)
    assert heading is not None, anchor
    block = re.search(r"```bash\n(.*?)```", PAGE.read_text()[heading.end() :], re.DOTALL)
    assert block is not None, anchor
    return block[1].splitlines()


def values(cell: str) -> list[Path]:
    """Return the files that a cell of the table links to."""
    return [(PAGE.parent / link).resolve() for link in re.findall(r"\]\(([^)]+)\)", cell)]


def test_there_is_a_quick_start_for_each_target() -> None:
    """One machine, machines on premises with and without a network, AWS, KServe."""
    assert len(ROWS) == 5


@pytest.mark.parametrize(("anchor", "stated"), [(row[1], int(row[2])) for row in ROWS], ids=IDS)
def test_commands_are_few(anchor: str, stated: int) -> None:
    """Each line is one command: none is joined to another, and none goes on."""
    found = commands(anchor)
    assert len(found) == stated <= MOST_COMMANDS
    for line in found:
        assert not re.search(r"&&|;|\\$", line), line


@pytest.mark.parametrize(("stated", "cell"), [(int(row[3]), row[4]) for row in ROWS], ids=IDS)
def test_values_are_few(stated: int, cell: str) -> None:
    """Counted without comments and empty lines, in the files themselves; validate.sh renders and tests with them."""
    lines = [line for path in values(cell) for line in path.read_text().splitlines()]
    assert len([line for line in lines if line.strip() and not line.strip().startswith("#")]) == stated <= MOST_LINES


@pytest.mark.parametrize("anchor", [row[1] for row in ROWS], ids=IDS)
def test_commands_name_what_is_there(anchor: str) -> None:
    """Scripts, their subcommands, overlays and examples."""
    for line in commands(anchor):
        for place in re.findall(r"(?:deploy|infra)/\S+", line):
            assert (REPOSITORY / place).exists(), place
        if script := re.search(r"(\S+\.(?:sh|py)) (\w+)(?: (\S+))?", line):
            known = rf'^  (\w+ \| )?{script[2]}\)|^ +case \["{script[2]}"'
            assert re.search(known, (REPOSITORY / script[1]).read_text(), re.MULTILINE), line
        if script and script[2] == "new":
            assert (REPOSITORY / "infra/terraform/live" / f"{script[3]}-example").is_dir()


def test_k3s_installs_the_charts_of_the_platform() -> None:
    """In the versions that infra/terraform pins."""
    platform = (REPOSITORY / "infra/terraform/modules/platform/main.tf").read_text()
    pinned = dict(re.findall(r'chart = "([a-z-]+)", version = "([^"]+)"', platform))
    charts = [m["spec"] for m in overlay("k3s") if m["kind"] == "HelmChart"]
    assert charts
    for chart in charts:
        assert pinned[chart["chart"].rpartition("/")[2]] == chart["version"]
        assert chart["failurePolicy"] == "abort"
