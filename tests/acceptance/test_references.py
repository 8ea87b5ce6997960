"""``golden/reference.json`` of the bundles in ``apps/``, and the command that writes it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import APPS, golden_cases, golden_file
from typer.testing import CliRunner, Result

from bedside.bundle.reference import FILE, Counts, parse_reference
from bedside.cli import app
from bedside.errors import BedsideError

ANSWERS = {"chest_xray_pneumonia": 624, "heart_disease": 303, "hippocampus_mr": 208}
"""How many cases each reference is of, as the bundle's README says."""
slow = pytest.mark.slow


def shipped(model: str) -> tuple[dict[str, Any], Counts]:
    """Return a bundle's reference, as it stands and as it is read."""
    text = (APPS / model / FILE).read_text()
    return json.loads(text), parse_reference(text)


@pytest.mark.parametrize("model", ANSWERS)
def test_each_reference_is_of_all_cases_and_of_the_bundles_own_words(model: str) -> None:
    """Every aspect counts every case once, under the names of the contract; nothing else stands in the file."""
    document, counts = shipped(model)
    assert document.keys() == {"description", "counts"}
    assert {sum(bins.values()) for bins in counts.values()} == {ANSWERS[model]}
    metadata = json.loads((APPS / model / "configs" / "metadata.json").read_bytes())
    names = set(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values())
    if ("class", "all") in counts:
        assert counts.keys() == {("class", "all"), ("confidence", "all")}
        assert set(counts["class", "all"]) == names
    else:
        assert counts.keys() == {("volume", name) for name in names - {"background"}}


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("heart_disease", "heart_disease"),
        pytest.param("chest_xray_pneumonia", "pneumonia_mnist", marks=slow),
        pytest.param("hippocampus_mr", "hippocampus_mr", marks=slow),
    ],
)
def test_what_ships_is_what_the_documented_command_writes(
    bedside_data: Path, tmp_path: Path, model: str, data: str
) -> None:
    """Of the data that the README names; on another processor a few answers may fall into the next bin."""
    copy = Path(shutil.copytree(APPS / model, tmp_path / model))
    (copy / FILE).unlink()
    script = copy / "golden" / "make_reference.py"
    if script.exists():
        subprocess.run([sys.executable, script, bedside_data / data], check=True)
    else:
        description = shipped(model)[0]["description"]
        files = sorted(str(path) for path in (bedside_data / data / "images").iterdir())
        assert count(copy, *files, "--description", description).exit_code == 0
    written = json.loads((copy / FILE).read_bytes())
    document, counts = shipped(model)
    assert written["description"] == document["description"]
    found = parse_reference(json.dumps(written))
    assert found.keys() == counts.keys()
    for aspect, bins in counts.items():
        moved = sum(abs(bins.get(at, 0) - found[aspect].get(at, 0)) for at in {*bins, *found[aspect]}) / 2
        assert moved <= ANSWERS[model] / 100


def count(bundle: Path, *arguments: str) -> Result:
    """Run the command."""
    return CliRunner(env={"NO_COLOR": "1", "COLUMNS": "300"}).invoke(
        app, ["bundle", "reference", str(bundle), *arguments]
    )


@pytest.fixture
def heart(tmp_path: Path) -> Path:
    """Return a copy of a bundle, without its reference."""
    copy = Path(shutil.copytree(APPS / "heart_disease", tmp_path / "heart_disease"))
    (copy / FILE).unlink()
    return copy


@pytest.fixture
def record(tmp_path: Path) -> str:
    """Return a file with a record whose answer is known."""
    model, case = next(pair for pair in golden_cases() if pair[0] == "heart_disease")
    path = tmp_path / "doe_john.json"
    path.write_bytes(golden_file(model, case))
    return str(path)


def test_answers_are_counted_and_the_digest_covers_them(heart: Path, record: str) -> None:
    """A file that stands for a named input counts, too; of the file's name nothing is kept."""
    result = count(heart, *[record] * 49, f"features={record}", "--description", "one record, fifty times")
    assert result.exit_code == 0, result.output
    assert "class all: 50 answers in 1 bins" in result.output
    text = (heart / FILE).read_text()
    assert sum(parse_reference(text)["class", "all"].values()) == 50
    assert "doe" not in text


def test_of_fewer_than_fifty_cases_nothing_is_written(heart: Path, record: str) -> None:
    """It would be about somebody, and its drift be chance."""
    result = count(heart, *[record] * 49, "--description", "too few")
    assert isinstance(result.exception, BedsideError)
    assert "fewer than 50" in result.exception.detail
    assert not (heart / FILE).exists()


def test_a_case_that_is_refused_ends_it_by_its_number(heart: Path, record: str, tmp_path: Path) -> None:
    """Not by its file's name, which may be a patient's; and nothing is written."""
    broken = tmp_path / "roe_jane.json"
    broken.write_text('{"age": "old"}')
    result = count(heart, record, str(broken), "--description", "one is broken")
    assert isinstance(result.exception, BedsideError)
    assert "case 2 of 2" in result.exception.detail
    assert "roe" not in result.exception.detail
    assert not (heart / FILE).exists()
