"""Every rule bites: a manifest that has been made worse is refused, by a rule or by a schema."""

from collections.abc import Callable
from typing import Any

import pytest
from validation import rules, schemas
from validation.manifests import Manifest, overlay

Mutation = Callable[[dict[str, Manifest]], object]


def pod(m: dict[str, Manifest]) -> Any:
    """Return the server's pod specification."""
    return m["Deployment/bedside"]["spec"]["template"]["spec"]


def box(m: dict[str, Manifest]) -> Any:
    """Return the server's container."""
    return pod(m)["containers"][0]


def setting(*path: Any, to: Any) -> Mutation:
    """Return a mutation that sets a value; the path begins with an object's kind and name."""

    def change(m: dict[str, Manifest]) -> None:
        place: Any = m[path[0]]
        for step in path[1:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


def removing(*path: Any) -> Mutation:
    """Return a mutation that removes a value."""

    def change(m: dict[str, Manifest]) -> None:
        place: Any = m[path[0]]
        for step in path[1:-1]:
            place = place[step]
        del place[path[-1]]

    return change


def named(m: dict[str, Manifest], name: str) -> Any:
    """Return a variable of the server's container."""
    return next(variable for variable in box(m)["env"] if variable["name"] == name)


def volume(m: dict[str, Manifest], name: str) -> Any:
    """Return a volume of the server's pod."""
    return next(volume for volume in pod(m)["volumes"] if volume["name"] == name)


def removing_variable(name: str) -> Mutation:
    """Return a mutation that removes a variable."""
    return lambda m: box(m)["env"].remove(named(m, name))


POD = ("Deployment/bedside", "spec", "template", "spec")
BOX = (*POD, "containers", 0)
GATE = ("SecurityPolicy/bedside-jwt", "spec")
MUTATIONS: dict[str, Mutation] = {
    "may run as root": setting(*POD, "securityContext", "runAsNonRoot", to=False),
    "runs as root": setting(*POD, "securityContext", "runAsUser", to=0),
    "root in the container only": setting(*BOX, "securityContext", "runAsUser", to=0),
    "no seccomp": setting(*POD, "securityContext", "seccompProfile", "type", to="Unconfined"),
    "writable root": setting(*BOX, "securityContext", "readOnlyRootFilesystem", to=False),
    "privilege escalation": removing(*BOX, "securityContext", "allowPrivilegeEscalation"),
    "privileged": setting(*BOX, "securityContext", "privileged", to=True),
    "capability kept": setting(*BOX, "securityContext", "capabilities", "drop", to=["NET_RAW"]),
    "capability added": setting(*BOX, "securityContext", "capabilities", "add", to=["SYS_PTRACE"]),
    "no limits": removing(*BOX, "resources", "limits"),
    "memory overcommitted": setting(*BOX, "resources", "limits", "memory", to="8Gi"),
    "CPU throttled": setting(*BOX, "resources", "limits", "cpu", to="1"),
    "disk unbounded": removing(*BOX, "resources", "limits", "ephemeral-storage"),
    "emptyDir unbounded": lambda m: volume(m, "tmp").update(emptyDir={}),
    "tag instead of digest": setting(*BOX, "image", to="ghcr.io/bedside/bedside:latest"),
    "tag beside digest's place": setting(*BOX, "image", to="ghcr.io/bedside/bedside"),
    "pulls always": setting(*BOX, "imagePullPolicy", to="Always"),
    "bundle by tag": setting(*POD, "volumes", 0, "image", "reference", to="ghcr.io/bedside/bundles/x:1"),
    "host path": lambda m: pod(m)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "host network": setting(*POD, "hostNetwork", to=True),
    "host processes": setting(*POD, "hostPID", to=True),
    "host port": setting(*BOX, "ports", 0, "hostPort", to=8000),
    "API token": removing(*POD, "automountServiceAccountToken"),
    "API token of the account": removing("ServiceAccount/bedside", "automountServiceAccountToken"),
    "other service account": setting(*POD, "serviceAccountName", to="default"),
    "secret in a variable": lambda m: box(m)["env"].append(
        {"name": "BEDSIDE_LOG__PSEUDONYM_KEY", "value": "0123456789abcdef"}
    ),
    "audit key in a variable": lambda m: box(m)["env"].append({"name": "BEDSIDE_AUDIT__KEY", "value": "0" * 32}),
    "secret carried": lambda m: m.update(
        s={
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s", "namespace": "bedside"},
            "stringData": {"a": "b"},
        }
    ),
    "rights granted": lambda m: m.update(
        r={"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": []}
    ),
    "liveness asks the models": setting(*BOX, "livenessProbe", "httpGet", "path", to="/readyz"),
    "no startup probe": removing(*BOX, "startupProbe"),
    "probe of another port": setting(*BOX, "readinessProbe", "httpGet", "port", to="metrics"),
    "wrong port name": setting(*BOX, "ports", 0, "name", to="web"),
    "wrong port": setting(*BOX, "ports", 0, "containerPort", to=8080),
    "another service port": setting("Service/bedside-grpc", "spec", "ports", 0, "port", to=9000),
    "service selects nothing": setting("Service/bedside-grpc", "spec", "selector", to={"app": "bedside"}),
    "service past the gateway": setting("Service/bedside-grpc", "spec", "type", to="LoadBalancer"),
    "no spread": removing(*POD, "topologySpreadConstraints"),
    "no priority": removing(*POD, "priorityClassName"),
    "rollout takes first": setting("Deployment/bedside", "spec", "strategy", "rollingUpdate", "maxUnavailable", to=1),
    "budget blocks drains": setting("PodDisruptionBudget/bedside", "spec", "maxUnavailable", to=0),
    "budget of sick pods": removing("PodDisruptionBudget/bedside", "spec", "unhealthyPodEvictionPolicy"),
    "not production": lambda m: named(m, "BEDSIDE_ENV").update(value="development"),
    "no issuer": lambda m: box(m).update(env=[e for e in box(m)["env"] if "ISSUER" not in e["name"]]),
    "no default deny": lambda m: m.pop("NetworkPolicy/default-deny"),
    "ingress of everybody": setting("NetworkPolicy/gateway-to-bedside", "spec", "ingress", 0, "from", to=[]),
    "egress to the world": setting(
        "NetworkPolicy/bedside-to-issuer", "spec", "egress", 0, "to", 0, "ipBlock", "cidr", to="0.0.0.0/0"
    ),
    "egress on every port": removing("NetworkPolicy/bedside-to-dns", "spec", "egress", 0, "ports"),
    "policy of no pod": setting("NetworkPolicy/bedside-to-dns", "spec", "podSelector", "matchLabels", to={"app": "x"}),
    "namespace not restricted": setting(
        "Namespace/bedside", "metadata", "labels", "pod-security.kubernetes.io/enforce", to="baseline"
    ),
    "plain HTTP": setting("Gateway/bedside", "spec", "listeners", 0, "protocol", to="HTTP"),
    "TLS passed through": setting("Gateway/bedside", "spec", "listeners", 0, "tls", "mode", to="Passthrough"),
    "route without token": lambda m: m["SecurityPolicy/bedside-jwt"]["spec"]["targetRefs"].pop(),
    "token optional": setting(*GATE, "jwt", "optional", to=True),
    "issuer without TLS": setting(*GATE, "jwt", "providers", 0, "issuer", to="http://login.hospital.example"),
    "any audience": removing(*GATE, "jwt", "providers", 0, "audiences"),
    "more paths without token": setting(
        "HTTPRoute/bedside-health", "spec", "rules", 0, "matches", 0, "path", "value", to="/v1"
    ),
    "unknown setting": lambda m: box(m)["env"].append({"name": "BEDSIDE_JOBS__SPOOL", "value": "/tmp"}),
    "everything routed": lambda m: m["Canary/bedside"]["spec"]["service"].pop("match"),
    "metrics routed": setting("Canary/bedside", "spec", "service", "match", 0, "uri", to={"exact": "/metrics"}),
    "jobs of each replica": removing_variable("BEDSIDE_JOBS__DATABASE"),
    "jobs in a file": lambda m: named(m, "BEDSIDE_JOBS__DATABASE").update(value="sqlite:////tmp/jobs.db", valueFrom={}),
    "spool of each replica": setting(
        "PersistentVolumeClaim/bedside-spool", "spec", "accessModes", to=["ReadWriteOnce"]
    ),
    "spool in the pod": removing_variable("BEDSIDE_JOBS__SPOOL_DIR"),
    "inbox in the pod": removing_variable("BEDSIDE_DICOM__INBOX_DIR"),
    "spool larger than its volume": setting(
        "PersistentVolumeClaim/bedside-spool", "spec", "resources", "requests", "storage", to="32Gi"
    ),
    "trail larger than its volume": lambda m: box(m)["env"].append(
        {"name": "BEDSIDE_AUDIT__CHAIN_BYTES", "value": str(64 * 2**30)}
    ),
    "inputs larger than their volume": lambda m: volume(m, "staging")["emptyDir"].update(sizeLimit="64Mi"),
    "drain shorter than a request": lambda m: box(m)["env"].append(
        {"name": "BEDSIDE_SERVER__DRAIN_SECONDS", "value": "20"}
    ),
    "killed in its drain": setting(*POD, "terminationGracePeriodSeconds", to=60),
    "every replica away at once": setting("Deployment/bedside", "spec", "strategy", to={"type": "Recreate"}),
    "scales by CPU": setting("ScaledObject/bedside", "spec", "triggers", 0, "type", to="cpu"),
    "scales without bound": setting("ScaledObject/bedside", "spec", "maxReplicaCount", to=5000),
    "replicas fight the scaler": setting("Deployment/bedside", "spec", "replicas", to=3),
    "other namespace": setting("Deployment/bedside", "metadata", "namespace", to="default"),
    "unknown field of a Deployment": setting(*POD, "terminationGraceSeconds", to=90),
    "unknown field of a ScaledObject": setting("ScaledObject/bedside", "spec", "minReplicas", to=1),
    "unknown field of a Canary": setting("Canary/bedside", "spec", "analysis", "stepWeigths", to=[5]),
    "unknown field of a route": setting("HTTPRoute/bedside-health", "spec", "rules", 0, "backends", to=[]),
    "wrong type": setting("Canary/bedside", "spec", "analysis", "threshold", to="two"),
    "required field missing": removing("ScaledObject/bedside", "spec", "scaleTargetRef", "name"),
    "unknown kind": setting("PodMonitor/bedside", "kind", to="PodMonitors"),
}


def manifests() -> dict[str, Manifest]:
    """Return fresh manifests by kind and name."""
    return {f"{m['kind']}/{m['metadata']['name']}": m for m in overlay("onprem")}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_worse_manifest_is_refused(name: str) -> None:
    """What was accepted is no longer once it has been mutated."""
    mutated = manifests()
    MUTATIONS[name](mutated)
    worse = list(mutated.values())
    assert rules.broken(worse) or list(schemas.problems(worse))


def test_one_replica_is_not_rolled_out_over_its_own_database() -> None:
    """SQLite is for one server: a site of one machine ends the old pod first."""
    worse = {f"{m['kind']}/{m['metadata']['name']}": m for m in overlay("onprem-one")}
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    worse["Deployment/bedside"]["spec"]["strategy"] = rolling
    assert [problem.split(":")[0] for problem in rules.broken(list(worse.values()))] == ["jobs_kept"]


def test_every_rule_is_broken_by_some_mutation() -> None:
    """A rule that no mutation breaks would be untested."""
    broken = set()
    for change in MUTATIONS.values():
        mutated = manifests()
        change(mutated)
        broken |= {problem.split(":")[0] for problem in rules.broken(list(mutated.values()))}
    assert {rule.__name__ for rule in rules.RULES} == broken
