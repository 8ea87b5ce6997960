"""Workflows order the steps; what a step does is a script that a laptop runs too."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOWS = sorted((Path(__file__).resolve().parents[2] / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
OURS = re.compile(r"(make|deploy/|infra/terraform/|cosign sign |mkdir -p published &&)")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return one workflow."""
    return dict(yaml.safe_load(request.param.read_text()))


def jobs(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the jobs that have steps of their own."""
    return [job for job in workflow["jobs"].values() if "steps" in job]


def read(name: str) -> dict[str, Any]:
    """Return the jobs of one workflow."""
    return dict(yaml.safe_load((WORKFLOWS[0].parent / name).read_text())["jobs"])


def ancestors(of: dict[str, Any], name: str) -> set[str]:
    """Return the jobs that one waits for."""
    needs = of[name].get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*(ancestors(of, other) for other in direct))


def test_nothing_is_permitted_that_a_job_does_not_ask_for(workflow: dict[str, Any]) -> None:
    """The default is no right at all, and each job lists its own."""
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert "permissions" in job


def test_every_job_ends(workflow: dict[str, Any]) -> None:
    """GitHub's own limit is six hours."""
    for job in jobs(workflow):
        assert job["timeout-minutes"] <= 60
        assert job["runs-on"] in {"ubuntu-24.04", "${{ vars.DELIVERY_RUNNER || 'ubuntu-24.04' }}"}


def test_actions_are_pinned_by_commit(workflow: dict[str, Any]) -> None:
    """A tag can be moved by whoever takes an action over."""
    for job in jobs(workflow):
        for step in job["steps"]:
            if "uses" in step:
                assert PINNED.fullmatch(step["uses"]), step["uses"]


def test_a_checkout_leaves_no_token_behind(workflow: dict[str, Any]) -> None:
    """Later steps run code of bundles."""
    for job in jobs(workflow):
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_steps_are_lines_that_a_laptop_runs(workflow: dict[str, Any]) -> None:
    """No logic lives in a workflow, and nothing of an event is pasted into a shell."""
    for job in jobs(workflow):
        for step in job["steps"]:
            if "run" in step:
                assert OURS.match(step["run"]), step["run"]
                assert "\n" not in step["run"]
                assert "${{" not in step["run"]


def test_what_runs_code_of_bundles_writes_nothing_and_holds_no_secret() -> None:
    """Golden cases of a pull request run here, whoever sent it; the token to pull with is gone by then."""
    job = read("bundle-to-production.yml")["check"]
    assert set(job["permissions"].values()) == {"read"}
    assert "secrets" not in str(job)
    runs = [step for step in job["steps"] if "run" in step]
    assert [step["run"] for step in runs if "token" in str(step).lower()] == ["deploy/pinned.sh pull"]
    assert "pipeline.sh check" in runs[-1]["run"]
    assert runs[-1]["env"] == {"BUNDLE": "${{ matrix.bundle }}"}


def test_what_leaves_the_repository_waits_for_every_test(workflow: dict[str, Any]) -> None:
    """Whatever may write comes after ci.yml: images, artefacts, releases, deliveries. Taking back waits for nothing."""
    exempt = {"deliver", "rollback", "plan"}  # called by those that wait; taken back by hand; a role that only reads
    for name, job in workflow["jobs"].items():
        if "write" in job["permissions"].values() and name not in exempt:
            before = ancestors(workflow["jobs"], name)
            assert "tests" in before, name
            assert workflow["jobs"]["tests"]["uses"] == "./.github/workflows/ci.yml"


def test_the_tests_get_no_secret_and_are_all_of_them(workflow: dict[str, Any]) -> None:
    """What is called is what a pull request sees, without a condition of its own on any job."""
    if "tests" in workflow["jobs"]:
        tests = workflow["jobs"]["tests"]
        assert tests["permissions"] == {"contents": "read"}
        assert "secrets" not in tests
        assert tests.get("if") in {None, "github.event_name == 'push'"}
    called = read("ci.yml")
    assert {"check", "infra", "test"} <= called.keys()
    assert not [name for name, job in called.items() if "if" in job]


def test_production_waits_for_dev_for_the_gate_and_for_its_approval() -> None:
    """Each has ended well, which one that was skipped has not; the environment of that name holds the reviewers."""
    pipeline = read("bundle-to-production.yml")
    assert set(pipeline["production"]["needs"]) == {"detect", "dev", "gate"}
    assert {"tests", "publish"} <= set(pipeline["dev"]["needs"])
    for job, needed in {"dev": ("tests", "publish"), "gate": ("dev",), "production": ("dev", "gate")}.items():
        for name in needed:
            assert f"needs.{name}.result == 'success'" in pipeline[job]["if"]
    assert pipeline["production"]["with"]["environment"] == "production"
    assert pipeline["production"]["with"]["from"] == "dev"
    assert read("_deliver.yml")["deliver"]["environment"] == "${{ inputs.environment }}"


def test_a_gate_that_has_nobody_to_ask_is_not_skipped() -> None:
    """Its step always runs: it refuses, or says NOT JUDGED where the site has said that there is no candidate."""
    (judge,) = [step for step in read("bundle-to-production.yml")["gate"]["steps"] if "gate" in step.get("run", "")]
    assert "if" not in judge
    assert "continue-on-error" not in judge
    assert judge["env"]["CANDIDATE"] == "${{ vars.GATE_CANDIDATE }}"


def test_roles_are_trusted_for_the_environments_of_the_workflows() -> None:
    """What Terraform writes into a role's trust is the name by which a job asks for it."""
    root = WORKFLOWS[0].parents[2]
    jobs_of = {path.name: yaml.safe_load(path.read_text())["jobs"] for path in WORKFLOWS}
    asked = {job["with"]["environment"] for job in jobs_of["bundle-to-production.yml"].values() if "with" in job}
    asked |= {job["environment"] for job in jobs_of["infra.yml"].values() if "environment" in job}
    site = (root / "infra/terraform/modules/aws/site/main.tf").read_text()
    trusted = (root / "infra/terraform/modules/aws/github/main.tf").read_text()
    assert asked == {"dev", "production", "infra-plan", "infra-apply"}
    assert 'environment  = var.environment == "prod" ? "production" : var.environment' in site
    assert {name for name in asked if f"environment:{name}" in trusted} == {"infra-plan", "infra-apply"}
