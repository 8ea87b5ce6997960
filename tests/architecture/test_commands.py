"""What the documents, the workflows and a laptop call is there, and is the same."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from bedside.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
# In backticks, at the prompt, alone on a line of a shell block, or as a step of a workflow: not "to make sure".
CALL = re.compile(r"(?:`|^\s*(?:\$ |- run: )?)make (?:[A-Z_]+=\S+ )*([a-z-]+)(?=$|`| [A-Z_]+=|\s+#)", re.MULTILINE)
CALLERS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", ".ci/run")),
    *(REPOSITORY / "docs").rglob("*.md"),
    *(REPOSITORY / "infra").rglob("README.md"),
    *(REPOSITORY / "deploy").rglob("README.md"),
    *(REPOSITORY / ".github" / "workflows").glob("*.yml"),
]

# In backticks or as a line of a shell block, to the end of the command; the help of each is in docs/cli.md.
OURS = re.compile(r"(?:`|^(?:\$ )?(?:[A-Z_]+=\S+ )*)bedside ([^`\n#|>;&)]*)", re.MULTILINE)


def called(path: Path) -> list[str]:
    """Return the targets of make that a file calls."""
    return CALL.findall(path.read_text(encoding="utf-8"))


def test_every_target_that_is_called_exists() -> None:
    """Whoever pastes a line gets what the text around it says."""
    calls = {(path.relative_to(REPOSITORY).as_posix(), target) for path in CALLERS for target in called(path)}
    assert ("README.md", "demo") in calls
    assert {call for call in calls if call[1] not in TARGETS} == set()


def test_a_laptop_runs_what_the_workflow_runs() -> None:
    """A change that passes .ci/run passes there, too."""
    laptop = called(REPOSITORY / ".ci" / "run")
    assert {"check", "test", "test-slow", "check-infra", "demo"} <= set(laptop)
    assert set(laptop) == set(called(REPOSITORY / ".github" / "workflows" / "ci.yml"))


def unknown(line: str) -> Iterator[str]:
    """Yield the words of a command line of ours that are neither command nor option."""
    command: Any = typer.main.get_command(app)
    for word in line.split():
        if word.startswith("-"):
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            if word.partition("=")[0] not in known | {"--help"}:
                yield word
        elif found := getattr(command, "commands", None):
            if word not in found:
                yield word
                return
            command = found[word]


def test_every_command_of_ours_exists() -> None:
    """And has the options that the documents give it."""
    lines = {(path.name, line) for path in CALLERS for line in OURS.findall(path.read_text(encoding="utf-8"))}
    assert ("README.md", "serve path/to/bundle") in lines
    assert list(unknown("ship pin --now")) == ["--now"]
    assert {(name, line, *unknown(line)) for name, line in lines if list(unknown(line))} == set()
