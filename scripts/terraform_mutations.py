"""Takes protection away from copies of infra/terraform's modules, one at a time; the module's own tests must then fail.

The argument is a copy of infra/terraform, which is changed. ``--validations`` switches every validation of every module
off instead, in turn, and expects the test of a refused value to fail. Providers are found as ``terraform init`` finds
them.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VALIDATION = re.compile(r"^  validation \{\n.*?^  \}\n", re.DOTALL | re.MULTILINE)
REFUSALS = re.compile(r'^run "refuses_.*?^}\n', re.DOTALL | re.MULTILINE)
VARIABLE = re.compile(r'^variable "([a-z0-9_]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Mutation:
    """A change that no test may let pass: in ``file`` of ``module``, ``old`` becomes ``new``."""

    module: str
    what: str
    old: str
    new: str
    file: str = "main.tf"


MUTATIONS = (
    Mutation("aws/cluster", "public API", "endpoint_public_access  = false", "endpoint_public_access  = true"),
    Mutation("aws/cluster", "IMDSv1", 'http_tokens                 = "required"', 'http_tokens = "optional"'),
    Mutation("aws/cluster", "disks in clear", "encrypted             = true", "encrypted = false"),
    Mutation("aws/cluster", "secrets in clear", 'resources = ["secrets"]', "resources = []"),
    Mutation("aws/cluster", "GPU nodes for all", "for_each = each.value.taints", "for_each = []"),
    Mutation(
        "aws/cluster",
        "creator is administrator",
        "bootstrap_cluster_creator_admin_permissions = false",
        "bootstrap_cluster_creator_admin_permissions = true",
    ),
    Mutation("aws/artifacts", "public bucket", "restrict_public_buckets = true", "restrict_public_buckets = false"),
    Mutation("aws/artifacts", "another key", 'sse_algorithm     = "aws:kms"', 'sse_algorithm = "AES256"'),
    Mutation("aws/artifacts", "tags that move", '"IMMUTABLE"', '"MUTABLE"'),
    Mutation("aws/artifacts", "plain HTTP", 'values   = ["false"]', 'values = ["true"]'),
    Mutation("aws/encryption", "key for ever", "enable_key_rotation     = true", "enable_key_rotation = false"),
    Mutation("aws/network", "endpoints for all", "cidr_ipv4         = var.cidr", 'cidr_ipv4 = "0.0.0.0/0"'),
    Mutation("aws/network", "images to any account", '"aws:ResourceAccount"', '"aws:PrincipalType"'),
    Mutation("aws/network", "flow logs in clear", "kms_key_id        = var.kms_key_arn", ""),
    Mutation("aws/edge", "no token", '"ANY ${path}/{proxy+}" => "JWT"', '"ANY ${path}/{proxy+}" => "NONE"'),
    Mutation("aws/edge", "metrics outside", 'pages    = ["/openapi.json"]', 'pages = ["/openapi.json", "/metrics"]'),
    Mutation("aws/edge", "public balancer", "internal                   = true", "internal = false"),
    Mutation("aws/edge", "no throttling", "throttling_rate_limit    = var.limits.requests_per_second", ""),
    Mutation("aws/edge", "addresses in logs", '"$context.routeKey"', '"$context.identity.sourceIp"'),
    Mutation("aws/edge", "second door", "disable_execute_api_endpoint = true", "disable_execute_api_endpoint = false"),
    Mutation("aws/identity", "service writes bundles", '"s3:GetObject", "s3:GetObjectVersion"', '"s3:PutObject"'),
    Mutation("aws/identity", "service deletes uploads", '"s3:PutObject", "s3:GetObject"', '"s3:*Object"'),
    Mutation("aws/identity", "any target group", "resources = [var.target_group_arn]", 'resources = ["*"]'),
    Mutation("aws/github", "any branch", '"repo:${var.repository}:environment:${var.environment}"', '"repo:*"'),
    Mutation("aws/github", "unbounded roles", 'variable = "iam:PermissionsBoundary"', 'variable = "aws:username"'),
    Mutation("render", "secrets in clear", '"secrets-encryption"    = true', '"secrets-encryption" = false'),
    Mutation("render", "unrestricted pods", 'enforce = "restricted"', 'enforce = "privileged"'),
    Mutation("render", "secrets in audit logs", 'level = "Metadata", resources', 'level = "Request", resources'),
    Mutation("render", "past the mirror", '"disable-default-registry-endpoint" = true', ""),
    Mutation("render", "no checksum", "fetch ${name} ${sum}", "fetch ${name}", "templates/install.sh.tftpl"),
    Mutation(
        "onprem/pki",
        "administrator for ever",
        "validity_period_hours = var.administrator_hours",
        "validity_period_hours = 87600",
    ),
    Mutation("onprem/node", "seed for all", 'file_permission      = "0600"', 'file_permission = "0644"'),
    Mutation("onprem/vip", "kube-vip reads secrets", 'resources = ["services"]', 'resources = ["services", "secrets"]'),
    Mutation("contract", "uploads not told of", '"uploads"', '""', "outputs.tf"),
    Mutation("contract", "no cap", 'capped                  = var.target == "aws"', "capped = false"),
    Mutation(
        "platform",
        "pods let out to all",
        "ipBlock = { cidr = cidr }",
        'ipBlock = { cidr = "0.0.0.0/0" }',
        "manifests.tf",
    ),
    Mutation("platform", "unrestricted namespaces", '"privileged" : "restricted"', '"privileged" : "baseline"'),
    Mutation(
        "platform", "unsigned release", 'verify = { provider = "cosign"', 'verify = { provider = "none"', "manifests.tf"
    ),
)


def main() -> int:
    """Run the mutations; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validations", action="store_true", help="switch off every validation instead, in turn")
    parser.add_argument("copy", type=Path, help="a copy of infra/terraform that may be changed")
    parser.add_argument("modules", nargs="*", help="only these modules, such as aws/edge")
    arguments = parser.parse_args()
    root: Path = arguments.copy / "modules"
    if not arguments.validations:
        _drop_refusals(root)
    mutations = _validations(root) if arguments.validations else iter(MUTATIONS)
    wanted = [one for one in mutations if not arguments.modules or one.module in arguments.modules]
    survivors = [one for one in wanted if not _killed(root, one)]
    print(f"{len(wanted)} mutations, {len(survivors)} not noticed")
    return 1 if survivors else 0


def _drop_refusals(root: Path) -> None:
    """Runs that expect a refusal cannot notice a lost protection, and take most of the time."""
    for path in root.rglob("*.tftest.hcl"):
        path.write_text(REFUSALS.sub("", path.read_text(encoding="utf-8")), encoding="utf-8")


def _validations(root: Path) -> Iterator[Mutation]:
    for path in sorted(root.rglob("variables.tf")):
        module = path.parent.relative_to(root).as_posix()
        if ".terraform" in path.parts or module in ("aws/site", "onprem/site"):
            continue
        text = path.read_text(encoding="utf-8")
        for found in VALIDATION.finditer(text):
            name = VARIABLE.findall(text[: found.start()])[-1]
            yield Mutation(module, f"any {name}", found[0], "", "variables.tf")


def _killed(root: Path, mutation: Mutation) -> bool:
    """Whether the module's tests fail, and its configuration is still valid: a typo would prove nothing."""
    module = root / mutation.module
    path = module / mutation.file
    text = path.read_text(encoding="utf-8")
    if mutation.old not in text:
        print(f"STALE {mutation.module}: {mutation.what}: nothing to change", flush=True)
        return False
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        if not (module / ".terraform").exists() and _run(module, "init", "-backend=false").returncode:
            print(f"skip  {mutation.module}: no provider", flush=True)
            return True
        if invalid := _run(module, "validate").returncode:
            print(f"BROKEN {mutation.module}: {mutation.what}: no longer valid", flush=True)
            return not invalid
        killed = _run(module, "test").returncode != 0
        print(f"{'ok   ' if killed else 'ALIVE'} {mutation.module}: {mutation.what}", flush=True)
        return killed
    finally:
        path.write_text(text, encoding="utf-8")


def _run(module: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["terraform", *command, "-no-color"], cwd=module, capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
