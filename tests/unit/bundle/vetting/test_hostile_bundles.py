"""The corpus of tests/assets/hostile_bundles: nothing of it is admitted, and nothing of it is ever run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bedside.bundle.folder import open_bundle
from bedside.bundle.vetting import SitePolicy, pure_configuration, vet
from bedside.bundle.vetting.rules import RULES
from bedside.errors import BundleError
from bedside.settings import AdmissionSettings

REPOSITORY = Path(__file__).resolve().parents[4]
APPS = sorted(path.parents[1] for path in (REPOSITORY / "apps").glob("*/configs/inference.json"))
HARMLESS = ("volume_segmentation", "plane_classification", "record_classification", "missing_weights")
# open_bundle says no to these; every other one must be recognised as a bundle and refused for its defect.
NO_BUNDLES = {"metadata_missing", "configuration_missing", "policy_deep", "policy_leads_outside", "zip_two_bundles"}


@pytest.fixture(scope="module")
def corpus(hostile: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the whole corpus once."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile.CANARY.unlink(missing_ok=True)
    hostile.build_all(folder)
    return folder


def cases(corpus: Path, hostile: Any) -> list[Path]:
    """Return every bundle and every archive of the corpus."""
    return [corpus / name for name in hostile.BUNDLES] + [corpus / f"{name}.zip" for name in hostile.ARCHIVES]


def test_nothing_hostile_is_admitted(corpus: Path, hostile: Any) -> None:
    """Each is refused, with a place, an explanation and a remedy, for its defect and not for being no bundle."""
    admitted, beside_the_point = [], []
    for path in cases(corpus, hostile):
        verdict = vet(path, AdmissionSettings(), SitePolicy())
        if verdict.admitted:
            admitted.append(path.name)
        elif {finding.rule for finding in verdict.refusals} == {"not_a_bundle"} and path.stem not in NO_BUNDLES:
            beside_the_point.append(path.name)
        assert all(finding.where and finding.explanation and finding.remedy for finding in verdict.findings)
        json.dumps(verdict.to_json())
    assert (admitted, beside_the_point) == ([], [])
    assert len(cases(corpus, hostile)) >= 60


def test_nothing_hostile_is_imported_or_run(corpus: Path, hostile: Any) -> None:
    """In a process of its own: no torch, no MONAI, no module of a bundle, and no canary."""
    code = (
        "import sys; from pathlib import Path\n"
        "from bedside.bundle.vetting import SitePolicy, vet; from bedside.settings import AdmissionSettings\n"
        "before = set(sys.modules)\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()): vet(path, AdmissionSettings(), SitePolicy())\n"
        "new = {name for name in set(sys.modules) - before if not name.startswith('encodings')} - {'unicodedata'}\n"
        "print(sorted(new), [name for name in ('torch', 'monai', 'numpy.core', 'onnx') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(corpus)], capture_output=True, text=True, check=True, cwd=corpus
    )
    assert result.stdout.strip() == "[] []"
    assert not hostile.CANARY.exists()


def test_no_policy_for_code_lets_in_what_is_wrong_as_a_file(corpus: Path, hostile: Any) -> None:
    """A pinned digest accepts code; links, devices, bombs, broken files and pickles stay out."""
    for name in hostile.BUNDLES:
        verdict = vet(corpus / name, AdmissionSettings(), SitePolicy())
        if not verdict.digest or all(RULES[finding.rule].code for finding in verdict.refusals):
            continue
        policy = SitePolicy(scripts="pinned", allowed_digests=(verdict.digest,))
        assert not vet(corpus / name, AdmissionSettings(), policy).admitted, name


def test_nothing_hostile_runs_inside_the_server(corpus: Path, hostile: Any) -> None:
    """What is refused for what it would run is not pure either."""
    for name in hostile.BUNDLES:
        verdict = vet(corpus / name, AdmissionSettings(), SitePolicy())
        configuration = {"target", "expression", "import", "special_key", "lookup_by_name", "macro", "unsafe_load"}
        if configuration & {finding.rule for finding in verdict.refusals}:
            assert not pure_configuration(open_bundle(corpus / name)), name


@pytest.mark.parametrize("root", APPS, ids=lambda path: path.name)
def test_the_bundles_in_apps_are_data_only(root: Path) -> None:
    """Without any policy."""
    verdict = vet(root, AdmissionSettings(), SitePolicy())
    assert (verdict.admitted, verdict.trust, verdict.reason) == (True, "data_only", "")
    assert verdict.digest == open_bundle(root).digest


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_bundles_are_data_only(bundles: Path, name: str) -> None:
    """Segmentation, classification, records; missing weights are not vetting's business."""
    verdict = vet(bundles / name, AdmissionSettings(), SitePolicy())
    assert (verdict.admitted, verdict.trust) == (True, "data_only")


@pytest.mark.parametrize("root", APPS, ids=lambda path: path.name)
def test_an_archive_of_a_harmless_bundle_is_admitted(root: Path, tmp_path: Path) -> None:
    """With the bundle's folder inside (MONAI bundle specification), or the files at the top."""
    for name, base in (("outer", root.name), ("inner", ".")):
        folder = root.parent if name == "outer" else root
        archive = Path(shutil.make_archive(str(tmp_path / name), "zip", folder, base))
        verdict = vet(archive, AdmissionSettings(), SitePolicy())
        assert (verdict.admitted, verdict.trust) == (True, "data_only"), verdict.reason
        assert verdict.digest == open_bundle(root).digest


def test_nothing_is_no_bundle(tmp_path: Path) -> None:
    """A path that does not exist is told as an error, not as a verdict."""
    with pytest.raises(BundleError, match="neither"):
        vet(tmp_path / "missing", AdmissionSettings(), SitePolicy())
