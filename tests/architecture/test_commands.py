"""What the documents, the workflows and a laptop call is there, and is the same."""

import re
from pathlib import Path

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
