"""Bundles as MONAI Deploy applications: the real SDK runs ``app.py``, and the answer is the service's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from coverage import Coverage
from tests.acceptance.conftest import APPS
from tests.acceptance.test_dicom import STUDIES, made, names_in, predict, zipped
from tests.unit.codecs.dicom.cases import MAKE, without_times

import bedside
from bedside.monai_deploy.package import export

pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")

SDK = APPS.parent / ".venv-monai-deploy" / "bin" / "python"
pytestmark = pytest.mark.skipif(not SDK.exists(), reason="make test-servers installs MONAI Deploy's App SDK")


def python() -> list[str]:
    """Return what runs an application; where the tests' coverage is measured, so is its own."""
    measured = Coverage.current()
    if measured is None:
        return [str(SDK)]
    settings = APPS.parent / "pyproject.toml"
    data = Path(measured.config.data_file).resolve()
    return [str(SDK), "-m", "coverage", "run", f"--rcfile={settings}", f"--data-file={data}"]


def run(app: Path, study: Path, output: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run an application as its author would: python app.py -i study/ -o out/."""
    output.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(bedside.__file__).parents[1]),
        # The SDK's environment borrows what the tests' has, so the model's sandbox must let it be read, too.
        "BEDSIDE_RUNTIME__READABLE_PATHS": json.dumps([str(Path(sys.prefix).resolve())]),
    }
    command = [*python(), str(app), "-i", str(study), "-o", str(output), *map(str, arguments)]
    return subprocess.run(command, cwd=output.parent, env=environment, capture_output=True, text=True, check=False)


def written(folder: Path, files: list[bytes]) -> Path:
    """Write a series into a folder of its own."""
    folder.mkdir()
    for number, data in enumerate(files):
        (folder / f"{number}.dcm").write_bytes(data)
    return folder


@pytest.fixture(params=["made_up", pytest.param(STUDIES[0], marks=pytest.mark.slow)])
def series(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the folder of a series, made up or of a real patient."""
    if request.param == "made_up":
        return written(tmp_path / "in", made(MAKE))
    folder: Path = request.getfixturevalue("bedside_data") / "hippocampus_mr" / "dicom" / request.param
    return folder


def test_the_application_gives_the_services_segmentation(client: httpx.Client, series: Path, tmp_path: Path) -> None:
    """The same mask bit for bit, the same UIDs, the same everything but the time."""
    done = run(APPS / "hippocampus_mr" / "app.py", series, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"segmentation.dcm", "report.dcm"}
    ours = without_times((tmp_path / "out" / "segmentation.dcm").read_bytes())
    served = without_times(predict(client, zipped(series), "application/dicom").content)
    assert ours.PixelData == served.PixelData
    assert ours.SOPInstanceUID == served.SOPInstanceUID
    assert ours == served
    assert not [name for name in names_in(series) if name and name in done.stdout + done.stderr]


@pytest.mark.slow
def test_the_default_application_gives_the_services_answer(client: httpx.Client, tmp_path: Path) -> None:
    """What `bedside map export` packs for a bundle without ``app.py``, run where it will lie in the image."""
    chest = APPS / "chest_xray_pneumonia"
    root = export(chest, tmp_path / "map") / "rootfs" / "opt" / "holoscan"
    (tmp_path / "in").mkdir()
    image = (chest / "golden" / "grey8.png").read_bytes()
    (tmp_path / "in" / "x.png").write_bytes(image)
    done = run(root / "app" / "app.py", tmp_path / "in", tmp_path / "out", "-m", root / "models")
    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "out" / "result.json").read_bytes())
    headers = {"Content-Type": "image/png", "Accept": "application/json"}
    served = client.post(f"/v1/models/{chest.name}/predict", content=image, headers=headers).json()
    assert answer == {name: value for name, value in served.items() if name in answer}
    assert "prediction" in answer


@pytest.mark.slow
def test_a_refused_series_ends_the_application_with_its_reason(tmp_path: Path) -> None:
    """Status 1, one sentence, nothing written, and nothing of the patient; the SDK would have made a volume of it."""
    series = written(tmp_path / "in", made(MAKE, (*range(9), *range(10, 20))))
    done = run(APPS / "hippocampus_mr" / "app.py", series, tmp_path / "out")
    assert done.returncode == 1
    assert "at least one slice is missing" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "out").iterdir())
    assert not [secret for secret in MAKE.SECRETS if secret in done.stdout + done.stderr]
