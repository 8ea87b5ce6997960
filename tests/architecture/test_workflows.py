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


def test_what_runs_code_of_bundles_holds_no_right_and_no_secret() -> None:
    """Golden cases of a pull request run here, whoever sent it."""
    path = next(path for path in WORKFLOWS if path.name == "bundle-to-production.yml")
    job = yaml.safe_load(path.read_text())["jobs"]["check"]
    assert job["permissions"] == {"contents": "read"}
    assert "secrets" not in str(job)
    assert "token" not in str(job).lower()


def test_production_waits_for_dev_and_for_its_approval() -> None:
    """The environment of that name holds the reviewers."""
    folder = WORKFLOWS[0].parent
    pipeline = yaml.safe_load((folder / "bundle-to-production.yml").read_text())["jobs"]
    assert "dev" in pipeline["production"]["needs"]
    assert pipeline["production"]["with"]["environment"] == "production"
    assert pipeline["production"]["with"]["from"] == "dev"
    deliver = yaml.safe_load((folder / "_deliver.yml").read_text())["jobs"]["deliver"]
    assert deliver["environment"] == "${{ inputs.environment }}"


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
