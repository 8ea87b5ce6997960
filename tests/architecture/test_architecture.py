"""The shape of the house: sizes, names, and who may import and read what."""

import ast
import importlib
import pkgutil
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import bedside
from bedside import errors, settings
from bedside.observability.events import Event

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = Path(bedside.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
FOLDERS = ("framework", "tests", "apps", "benchmarks", "demo", "deploy", "scripts")
SOURCES = sorted(
    path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py") if "node_modules" not in path.parts
)

MODULE_LINES = 500
FUNCTION_LINES = 50


def named(path: Path) -> str:
    """Return a module's path below the package, for messages."""
    return path.relative_to(PACKAGE).as_posix()


def lengths(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every function of a file with its number of lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(REPOSITORY)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def reads_environment(tree: ast.AST) -> bool:
    """Tell whether a module reads the environment, under whatever name it imports it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb"}:
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            return any(alias.name in {"environ", "environb", "getenv", "getenvb"} for alias in node.names)
    return False


def leaves(error: type[errors.BedsideError] = errors.BedsideError) -> Iterator[type[errors.BedsideError]]:
    """Yield the errors that are raised: those without heirs, and those with."""
    for heir in error.__subclasses__():
        if heir.__module__.startswith(f"{errors.__name__}."):
            yield heir
            yield from leaves(heir)


def fields() -> Iterator[tuple[str, str]]:
    """Yield every setting with its description."""
    for name, group in settings.Settings.model_fields.items():
        inner = group.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            for field_name, field in inner.model_fields.items():
                yield f"{name}.{field_name}", field.description or ""
        else:
            yield name, group.description or ""


def test_no_module_is_too_long() -> None:
    """A module of more than 500 lines is two modules; a test's or a script's, too."""
    lines = {str(path.relative_to(REPOSITORY)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert lines
    assert {name: length for name, length in lines.items() if length > MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    """A function of more than 50 lines is several."""
    found = [function for path in SOURCES for function in lengths(path)]
    assert {name: length for name, length in found if length > FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_only_settings_read_the_environment(path: Path) -> None:
    """Whoever wants to know what can be set need read one file; one other hides what is there from models."""
    assert reads_environment(TREES[path]) == (named(path) in {"settings.py", "environment.py"})


def test_no_module_is_called_after_nothing() -> None:
    """A name that fits everything tells nothing."""
    refused = re.compile("utils?|helpers?|common|misc|manager|base|core")
    assert [named(path) for path in MODULES if refused.fullmatch(path.stem)] == []


@pytest.mark.parametrize("leaf", sorted(set(leaves()), key=str), ids=str)
def test_every_error_gives_advice(leaf: type[errors.BedsideError]) -> None:
    """The docstring is its own, a sentence that tells what to do next."""
    assert leaf.__doc__
    assert leaf.__doc__ != (leaf.__base__ or object).__doc__
    assert re.fullmatch(r"[A-Z].*\.", leaf.advice())


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every error is drawn in it, and nothing else."""
    drawn = set(re.findall(r"\b[A-Z][a-z]\w+", (errors.__doc__ or "").partition("BedsideError\n")[2]))
    assert drawn == {leaf.__name__ for leaf in leaves()}


def test_advice_names_settings_that_exist() -> None:
    """A variable in an error's advice can be set."""
    known = {f"BEDSIDE_{name.upper().replace('.', '__')}" for name, _ in fields()}
    advised = {name for leaf in leaves() for name in re.findall(r"BEDSIDE_[A-Z_]+", leaf.advice())}
    assert advised <= known


@pytest.mark.parametrize(("name", "description"), list(fields()), ids=[name for name, _ in fields()])
def test_every_setting_is_described_with_its_unit(name: str, description: str) -> None:
    """docs/settings.md is made of these; a number without a unit is a riddle."""
    assert description.rstrip().endswith(".")
    units = {"seconds": r"second|time|long|pause|age|delay", "bytes": r"bytes"}
    for suffix, words in units.items():
        if name.endswith(f"_{suffix}"):
            assert re.search(words, description, re.IGNORECASE)


def test_imports_point_downward() -> None:
    """The contracts of import-linter hold."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_server_does_not_import_torch() -> None:
    """Five seconds and 600 MB belong to the models' processes."""
    modules = "bedside.runtime.process, bedside.bootstrap, bedside.cli"
    code = f"import sys, {modules}; print([m for m in ('torch', 'monai', 'ignite') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_module_can_be_imported() -> None:
    """Also those that nothing imports yet; the operators need an SDK that has an environment of its own.

    Whoever imports them can still be ended: only the fork server ignores SIGTERM (``runtime.preload``).
    """
    for module in pkgutil.walk_packages([str(PACKAGE)], "bedside."):
        if not module.name.endswith(("__main__", "monai_deploy.operators")):
            importlib.import_module(module.name)
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN


@pytest.mark.parametrize("event", Event, ids=str)
def test_every_event_is_written_somewhere(event: Event) -> None:
    """docs/logging.md promises no line that never comes."""
    wanted = re.compile(rf"\bEvent\.{event.name}\b|\"{event}\"")
    assert any(wanted.search(path.read_text(encoding="utf-8")) for path in MODULES if path.name != "events.py")
