"""The command line against the running server and real bundles."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from tests.acceptance.conftest import APPS, Served, golden_cases, golden_file
from typer.testing import CliRunner, Result

from bedside.cli import app, main
from bedside.cli.predict import hand_in, send
from bedside.errors import BedsideError
from bedside.version import __version__


def _run(*arguments: str, **environment: str) -> Result:
    return CliRunner(env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "160", **environment}).invoke(app, arguments)


def _predict(served: Served, *arguments: str, token: str | None = None) -> Result:
    return _run("predict", *arguments, "--url", served.url, BEDSIDE_TOKEN=served.token() if token is None else token)


def _record(tmp_path: Path) -> Path:
    model, case = next(pair for pair in golden_cases() if pair[0] == "heart_disease")
    path = tmp_path / "patient.json"
    path.write_bytes(golden_file(model, case))
    return path


def test_version_is_printed() -> None:
    """`bedside --version` says which one runs."""
    assert __version__ in _run("--version").output


def test_predict_prints_and_saves_a_prediction(served: Served, tmp_path: Path) -> None:
    """A record gives a prediction on the terminal and the answer as a file."""
    result = _predict(served, "heart_disease", str(_record(tmp_path)), "-o", str(tmp_path / "out"))

    assert result.exit_code == 0, result.output
    assert "prediction" in result.output
    assert json.loads((tmp_path / "out" / "patient.heart_disease.json").read_bytes())["model"] == "heart_disease"


def test_predict_saves_mask_and_overlay_and_prints_volumes(served: Served, tmp_path: Path) -> None:
    """A volume gives a mask, an overlay, and millilitres per label."""
    model, case = next(pair for pair in golden_cases() if pair[0] == "hippocampus_mr")
    path = tmp_path / "scan.nii"
    path.write_bytes(golden_file(model, case))

    result = _predict(served, model, str(path), "-o", str(tmp_path))

    assert result.exit_code == 0, result.output
    assert "anterior" in result.output
    assert " mL" in result.output
    assert {file.name for file in tmp_path.glob("scan.hippocampus_mr.*")} == {
        "scan.hippocampus_mr.json",
        "scan.hippocampus_mr.nii.gz",
        "scan.hippocampus_mr.png",
    }


def test_predict_sends_named_inputs(served: Served, tmp_path: Path) -> None:
    """NAME=FILE sends a form with a field per input."""
    picture = APPS / "chest_xray_pneumonia" / "golden" / "grey8.png"

    result = _predict(served, "chest_xray_pneumonia", f"image={picture}", "-o", str(tmp_path))

    assert result.exit_code == 0, result.output
    assert (tmp_path / "grey8.chest_xray_pneumonia.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "token", "says"),
    [
        (("heart_disease", "absent.json"), None, "No such file"),
        (("nobody", "{record}"), None, "404"),
        (("heart_disease", "{record}"), "nonsense", "401"),
        (("chest_xray_pneumonia", "{record}"), None, "415"),
    ],
    ids=["no_file", "no_model", "bad_token", "wrong_kind"],
)
def test_predict_says_what_is_wrong(
    served: Served, tmp_path: Path, arguments: tuple[str, ...], token: str | None, says: str
) -> None:
    """A refusal is one error with the server's own explanation, and a failing exit status."""
    record = str(_record(tmp_path))
    result = _predict(served, *(argument.format(record=record) for argument in arguments), token=token)

    assert result.exit_code != 0
    assert isinstance(result.exception, BedsideError)
    assert says in result.exception.detail


def test_predict_without_a_server_asks_whether_it_runs(tmp_path: Path) -> None:
    """No server is a sentence, not a stack trace."""
    result = _run("predict", "heart_disease", str(_record(tmp_path)), "--url", "http://127.0.0.1:9", "--token", "x")

    assert isinstance(result.exception, BedsideError)
    assert "Is the server running?" in result.exception.detail


def test_token_is_refused_where_an_issuer_is_configured() -> None:
    """Tokens of a configured issuer come from that issuer."""
    result = _run("token", BEDSIDE_AUTH__ISSUER="https://login.example.org/")

    assert isinstance(result.exception, BedsideError)
    assert "issuer" in result.exception.detail


def test_token_of_the_embedded_issuer_is_accepted(served: Served, tmp_path: Path) -> None:
    """What `bedside token` prints opens the server that shares its state folder."""
    token = _run("token", "--scope", "bedside.infer:heart_disease", BEDSIDE_RUNTIME__STATE_DIR=str(served.state))

    result = _predict(served, "heart_disease", str(_record(tmp_path)), "-o", str(tmp_path), token=token.output.strip())

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "model",
    [
        "heart_disease",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("chest_xray_pneumonia", "hippocampus_mr")),
    ],
)
def test_bundle_test_passes_on_the_apps(model: str) -> None:
    """Every bundle that ships passes its own golden cases; `test_the_apps_answer_as_monai_does` asks them all."""
    result = _run("bundle", "test", str(APPS / model))

    assert result.exit_code == 0, result.output
    assert "failed" not in result.output


def test_bundle_test_fails_on_another_answer(tmp_path: Path) -> None:
    """A golden case that no longer holds is a failing exit status."""
    copy = tmp_path / "heart_disease"
    shutil.copytree(APPS / "heart_disease", copy)
    cases = json.loads((copy / "golden" / "cases.json").read_text())
    cases[0]["expected"]["pred"]["probabilities"]["disease"] = 0.123
    (copy / "golden" / "cases.json").write_text(json.dumps(cases))

    result = _run("bundle", "test", str(copy))

    assert result.exit_code == 1
    assert "failed" in result.output


def test_bundle_test_tells_machines_how_far_it_agrees_with_monai() -> None:
    """Every case with its counts and both times; the answers are MONAI's to the last bit or the last but one."""
    result = _run("bundle", "test", str(APPS / "heart_disease"), "--json")

    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["digest"].startswith("sha256:")
    assert len(document["cases"]) == 3
    for case in document["cases"]:
        (output,) = case["monai"]["outputs"]
        assert (case["outcome"], case["monai"]["outcome"]) == ("passed", "agrees")
        assert (output["name"], output["elements"]) == ("pred", 2)
        assert output["largest_difference"] < 1e-6
        assert case["monai"]["monai_seconds"] > 0


@pytest.mark.parametrize(("option", "status"), [("--monai", 1), ("--no-monai", 0)])
def test_bundle_test_fails_where_monai_answers_otherwise(
    bundles: Path, tmp_path: Path, option: str, status: int
) -> None:
    """A bundle that draws lots meets a golden case that expects nothing, and differs from MONAI's run all the same."""
    root = Path(shutil.copytree(bundles / "record_classification", tmp_path / "lots"))
    path = root / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["postprocessing"]["transforms"][0]["func"] = "$lambda x: torch.softmax(x + torch.rand_like(x), dim=-1)"
    path.write_text(json.dumps(config))
    record = {"age": 50, "chol": 1, "thalach": 1}
    (root / "golden").mkdir()
    (root / "golden" / "cases.json").write_text(
        json.dumps([{"name": "any", "inputs": {"features": record}, "expected": {}}])
    )

    result = _run("bundle", "test", str(root), option, BEDSIDE_ADMISSION="warn")

    assert result.exit_code == status, result.output
    assert ("differs" in result.output) is (status == 1)


def test_bundle_inspect_prints_the_contract() -> None:
    """The contract names features with their codes, and the answer's classes."""
    result = _run("bundle", "inspect", str(APPS / "heart_disease"))

    assert result.exit_code == 0, result.output
    for word in ("features", "thalach", "typical angina", "may be null", "probabilities", "no disease"):
        assert word in result.output


def test_a_folder_without_bundles_is_named(tmp_path: Path) -> None:
    """`bedside serve` of an empty folder says what it looked for."""
    result = _run("serve", str(tmp_path), "--port", "0")

    assert isinstance(result.exception, BedsideError)
    assert "configs/metadata.json" in result.exception.detail


def test_an_error_is_one_sentence_without_a_stack_trace(tmp_path: Path) -> None:
    """The installed command prints advice and exits with 1."""
    command = [sys.executable, "-m", "bedside", "bundle", "inspect", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("Error:")
    assert "Traceback" not in done.stderr


def test_production_refuses_the_embedded_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    """BEDSIDE_ENV=production without an issuer does not start."""
    monkeypatch.setenv("BEDSIDE_ENV", "production")
    monkeypatch.setattr(sys, "argv", ["bedside", "serve", str(APPS / "heart_disease")])

    with pytest.raises(SystemExit, match="1"):
        main()


def test_a_job_is_followed_window_by_window(served: Served, tmp_path: Path) -> None:
    """A volume of 3 x 2 x 3 windows: the server tells of them, and the answer is that of a plain call."""
    path = tmp_path / "scan.nii"
    volume = np.random.default_rng(0).normal(size=(80, 80, 80)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    told: list[dict[str, Any]] = []
    with served.client() as client:
        followed = hand_in(client, "hippocampus_mr", str(path), None, 120, told.append)
        direct = send(client, "hippocampus_mr", str(path))
    assert followed.parts == direct.parts
    windows = [job["progress"] for job in told if job.get("progress")]
    assert windows
    assert {progress["total"] for progress in windows} == {18}
    assert [progress["done"] for progress in windows] == sorted({progress["done"] for progress in windows})
    assert "progress" not in told[-1]


def test_predict_as_a_job_saves_the_same_files(served: Served, tmp_path: Path) -> None:
    """`--job` changes how it is asked for, not what comes of it."""
    result = _predict(served, "heart_disease", str(_record(tmp_path)), "--job", "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "patient.heart_disease.json").read_bytes())["model"] == "heart_disease"
