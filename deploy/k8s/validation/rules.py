"""The hardening list, a function a line: each returns what is wrong, in words, and nothing where all is well."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bedside.errors import ConfigurationError
from validation.effective import (
    bounds,
    claim_of,
    most_replicas,
    servers,
    settings_of,
    size_of,
    started,
    variables,
    volume_under,
)
from validation.manifests import Manifest, containers, of_kind, pods

DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
UID = 10001
LABEL = ("app.kubernetes.io/component", "server")
VOLUME_KINDS = {"configMap", "emptyDir", "secret", "image", "projected", "persistentVolumeClaim"}

Problems = Iterator[str]
Rule = Callable[[list[Manifest]], Problems]


def no_root(manifests: list[Manifest]) -> Problems:
    """Pods run as uid 10001 and cannot run as root; said per pod, or per container where KServe makes the pod."""
    for where, pod in pods(manifests):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
            if context.get("runAsNonRoot") is not True:
                yield f"{where}: runAsNonRoot is not true"
            if (context.get("runAsUser"), context.get("runAsGroup")) != (UID, UID):
                yield f"{where}: does not run as {UID}:{UID}"
            if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
                yield f"{where}: seccompProfile is not RuntimeDefault"


def no_privileges(manifests: list[Manifest]) -> Problems:
    """Containers hold no capability, can gain none, and cannot write to their image."""
    wanted = {"allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": True}
    for where, container in containers(manifests):
        context = container.get("securityContext", {})
        for name, value in wanted.items():
            if context.get(name) is not value:
                yield f"{where}: {name} is not {value}"
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{where}: capabilities are not dropped, or some are added"


def no_host(manifests: list[Manifest]) -> Problems:
    """Nothing of the node is shared, and volumes are of kinds that cannot reach it."""
    for where, pod in pods(manifests):
        for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if pod.get(name):
                yield f"{where}: {name}"
        for volume in pod.get("volumes", []):
            for kind in set(volume) - {"name"} - VOLUME_KINDS:
                yield f"{where}: volume {volume['name']} is a {kind}"
        for container in pod["containers"]:
            for port in container.get("ports", []):
                if "hostPort" in port:
                    yield f"{where}: hostPort"


def bounded(manifests: list[Manifest]) -> Problems:
    """Memory asked for is memory allowed, disk is bounded, CPU is asked for and never limited (it would throttle)."""
    for where, container in containers(manifests):
        requests, limits = (container.get("resources", {}).get(part, {}) for part in ("requests", "limits"))
        if not requests.get("memory") or requests.get("memory") != limits.get("memory"):
            yield f"{where}: memory request and limit are not the same"
        if "cpu" not in requests or "cpu" in limits:
            yield f"{where}: CPU needs a request and no limit"
        if "ephemeral-storage" not in limits:
            yield f"{where}: ephemeral-storage is not limited"
    for where, pod in pods(manifests):
        for volume in pod.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{where}: emptyDir {volume['name']} has no sizeLimit"


def pinned(manifests: list[Manifest]) -> Problems:
    """Images and bundles are named by digest: a tag can be moved."""
    for where, container in containers(manifests):
        if not DIGEST.fullmatch(container.get("image", "")):
            yield f"{where}: the image is not pinned by digest"
        if container.get("imagePullPolicy") != "IfNotPresent":
            yield f"{where}: imagePullPolicy is not IfNotPresent"
    for where, pod in pods(manifests):
        for volume in pod.get("volumes", []):
            if "image" in volume and not DIGEST.fullmatch(volume["image"].get("reference", "")):
                yield f"{where}: volume {volume['name']} is not pinned by digest"


def no_api_token(manifests: list[Manifest]) -> Problems:
    """No pod has a token for the Kubernetes API, and nothing grants one rights."""
    for manifest in manifests:
        where = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] == "ServiceAccount" and manifest.get("automountServiceAccountToken") is not False:
            yield f"{where}: mounts its token"
        if manifest["kind"] in {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}:
            yield f"{where}: grants rights"
    for where, pod in pods(manifests):
        if where.startswith("Deployment/"):
            if pod.get("automountServiceAccountToken") is not False:
                yield f"{where}: mounts a token"
            if pod.get("serviceAccountName") != "bedside":
                yield f"{where}: runs as another service account"


def no_secret_values(manifests: list[Manifest]) -> Problems:
    """Secrets are named, never carried: not as objects, not as values of variables."""
    for manifest in of_kind(manifests, "Secret"):
        yield f"Secret/{manifest['metadata']['name']}: carried in the manifests"
    for where, container in containers(manifests):
        for variable in container.get("env", []):
            name = variable["name"]
            if re.search(r"KEY|SECRET|PASSWORD|TOKEN", name) and "value" in variable and not name.endswith("_FILE"):
                yield f"{where}: {variable['name']} has a value"


def probed(manifests: list[Manifest]) -> Problems:
    """Readiness asks whether models answer, liveness only whether the event loop turns."""
    paths = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    for where, pod in pods(manifests):
        for container in pod["containers"]:
            names = {port["name"] for port in container.get("ports", [])} | {
                p["containerPort"] for p in container.get("ports", [])
            }
            for probe, path in paths.items():
                asked = container.get(probe, {}).get("httpGet", {})
                if asked.get("path") != path:
                    yield f"{where}: {probe} does not ask {path}"
                if asked.get("port") not in names:
                    yield f"{where}: {probe} asks a port that is not there"


def ports_named(manifests: list[Manifest]) -> Problems:
    """The service and the pods agree on `http` 8000 and `grpc` 8001, which routes and policies are written for."""
    for manifest in of_kind(manifests, "Deployment"):
        found = {
            port["name"]: port["containerPort"]
            for port in manifest["spec"]["template"]["spec"]["containers"][0]["ports"]
        }
        if found != {"http": 8000, "grpc": 8001}:
            yield f"Deployment/{manifest['metadata']['name']}: ports are {found}"
    for manifest in of_kind(manifests, "Service"):
        where = f"Service/{manifest['metadata']['name']}"
        if manifest["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"{where}: reachable past the gateway"
        for port in manifest["spec"]["ports"]:
            if {"http": 8000, "grpc": 8001}.get(port["name"]) != port["port"] or port["targetPort"] != port["name"]:
                yield f"{where}: port {port['name']} is {port['port']} to {port['targetPort']}"


def selected(manifests: list[Manifest]) -> Problems:
    """Whatever selects pods by label selects the Deployment's."""
    for deployment in of_kind(manifests, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        selectors = {f"{m['kind']}/{m['metadata']['name']}": _selector(m) for m in manifests}
        for where, wanted in selectors.items():
            if wanted and not wanted.items() <= labels.items():
                yield f"{where}: selects no pod of {deployment['metadata']['name']}"


def _selector(manifest: Manifest) -> dict[str, str]:
    spec: dict[str, Any] = manifest.get("spec") or {}
    if manifest["kind"] == "Service":
        return dict(spec.get("selector", {}))
    if manifest["kind"] in {"PodDisruptionBudget", "PodMonitor", "Deployment"}:
        return dict(spec["selector"].get("matchLabels", {}))
    if manifest["kind"] == "NetworkPolicy":
        return dict(spec["podSelector"].get("matchLabels", {}))
    return {}


def disrupted_gently(manifests: list[Manifest]) -> Problems:
    """Nodes can be drained one replica at a time, replicas lie apart, and a rollout takes nothing away first."""
    for deployment in of_kind(manifests, "Deployment"):
        where, spec = f"Deployment/{deployment['metadata']['name']}", deployment["spec"]
        topologies = {c["topologyKey"] for c in spec["template"]["spec"].get("topologySpreadConstraints", [])}
        if topologies != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            yield f"{where}: replicas are not spread over zones and nodes"
        if not spec["template"]["spec"].get("priorityClassName"):
            yield f"{where}: no priority"
        budgets = [b["spec"] for b in of_kind(manifests, "PodDisruptionBudget")]
        if [(b.get("maxUnavailable"), b.get("unhealthyPodEvictionPolicy")) for b in budgets] != [(1, "AlwaysAllow")]:
            yield f"{where}: no disruption budget of one, or one that blocks a drain"
        if spec["strategy"]["type"] == "Recreate":  # one replica that keeps its jobs in SQLite: jobs_kept
            if most_replicas(manifests, deployment) > 1:
                yield f"{where}: a rollout takes every replica away at once"
            continue
        rolling = spec["strategy"]["rollingUpdate"]
        limits = spec["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {})
        gpu = "nvidia.com/gpu" in limits
        if (rolling["maxSurge"], rolling["maxUnavailable"]) != ((0, 1) if gpu else (1, 0)):
            yield f"{where}: a rollout takes a replica away before the new one answers, or waits for a GPU for ever"


def production(manifests: list[Manifest]) -> Problems:
    """`BEDSIDE_ENV` is production wherever there is a gateway; the embedded issuer then refuses to start."""
    gateways = of_kind(manifests, "Gateway")
    for where, container in containers(manifests):
        if container.get("name") not in {"bedside", "kserve-container"}:
            continue
        env = {variable["name"]: variable for variable in container.get("env", [])}
        if "BEDSIDE_AUTH__ISSUER" not in env or "BEDSIDE_AUTH__AUDIENCE" not in env:
            yield f"{where}: no issuer"
        if (gateways or where.startswith("Cluster")) and env.get("BEDSIDE_ENV", {}).get("value") != "production":
            yield f"{where}: not production"


def closed_network(manifests: list[Manifest]) -> Problems:
    """Everything is denied, and no policy opens to everybody or to every port."""
    policies = of_kind(manifests, "NetworkPolicy")
    if not of_kind(manifests, "Deployment"):
        return
    if not any(
        p["spec"]["podSelector"] == {}
        and set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not p["spec"].get("ingress")
        and not p["spec"].get("egress")
        for p in policies
    ):
        yield "NetworkPolicy: no default deny"
    for policy in policies:
        where = f"NetworkPolicy/{policy['metadata']['name']}"
        for side, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(side, []):
                if not rule.get(peers) or {} in rule[peers]:
                    yield f"{where}: {side} of everybody"
                if not rule.get("ports"):
                    yield f"{where}: {side} on every port"
                if any(peer.get("ipBlock", {}).get("cidr", "").endswith("/0") for peer in rule.get(peers, [])):
                    yield f"{where}: {side} of the whole world"


def confined(manifests: list[Manifest]) -> Problems:
    """The namespace enforces the Pod Security Standard `restricted`."""
    for namespace in of_kind(manifests, "Namespace"):
        labels = namespace["metadata"].get("labels", {})
        for mode in ("enforce", "audit", "warn"):
            if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                yield f"Namespace/{namespace['metadata']['name']}: {mode} is not restricted"


def authenticated_edge(manifests: list[Manifest]) -> Problems:
    """The gateway speaks TLS only, and every route but health's wants a token of the issuer, for our audience."""
    gateways = of_kind(manifests, "Gateway")
    if not gateways:
        return
    for listener in (listener for gateway in gateways for listener in gateway["spec"]["listeners"]):
        if listener["protocol"] != "HTTPS" or listener.get("tls", {}).get("mode") != "Terminate":
            yield f"Gateway: listener {listener['name']} is not HTTPS"
    guarded: set[tuple[str, str]] = set()
    for policy in of_kind(manifests, "SecurityPolicy"):
        jwt = policy["spec"].get("jwt", {})
        for provider in jwt.get("providers", []):
            if not provider.get("issuer", "").startswith("https://") or not provider.get("audiences"):
                yield "SecurityPolicy: a provider without https issuer or audience"
        if jwt.get("providers") and not jwt.get("optional") and not jwt.get("failOpen"):
            guarded |= {(target["kind"], target["name"]) for target in policy["spec"]["targetRefs"]}
    routes = {(r["kind"], r["metadata"]["name"]): r for r in manifests if r["kind"] in {"HTTPRoute", "GRPCRoute"}}
    routes |= {("HTTPRoute", canary["metadata"]["name"]): {} for canary in of_kind(manifests, "Canary")}
    for route in routes.keys() - guarded - {("HTTPRoute", "bedside-health")}:
        yield f"{'/'.join(route)}: no token needed"
    open_paths = {
        m["path"]["value"]
        for r in routes.get(("HTTPRoute", "bedside-health"), {}).get("spec", {}).get("rules", [])
        for m in r["matches"]
    }
    for path in open_paths - {"/livez", "/readyz", "/v2/health"}:
        yield f"HTTPRoute/bedside-health: {path} without a token"


CALLED = {"/v1", "/v2", "/dicomweb", "/docs", "/openapi.json", "/livez", "/readyz", "/v2/health"}


def listed_paths(manifests: list[Manifest]) -> Problems:
    """What comes from outside gets what callers need, path by path; /metrics names models and counts classes."""
    routed: dict[str, list[Manifest]] = {}
    for route in of_kind(manifests, "HTTPRoute"):
        matches = [match["path"] for rule in route["spec"]["rules"] for match in rule.get("matches", [{"path": {}}])]
        routed[f"HTTPRoute/{route['metadata']['name']}"] = matches
    for canary in of_kind(manifests, "Canary"):
        matches = [match.get("uri", {}) for match in canary["spec"]["service"].get("match", [{}])]
        routed[f"Canary/{canary['metadata']['name']}"] = [
            {"value": uri.get("prefix") or uri.get("exact")} for uri in matches
        ]
    for where, paths in routed.items():
        for path in paths:
            if path.get("value") not in CALLED or path.get("type") == "RegularExpression":
                yield f"{where}: {path.get('value', 'every path')} is reached from outside"


def starts(manifests: list[Manifest]) -> Problems:
    """The server takes its settings: an unknown one, or one of the wrong kind, is refused at start."""
    for where, _, container in servers(manifests):
        try:
            settings_of(manifests, container)
        except ConfigurationError as error:
            yield f"{where}: {error}"


def jobs_kept(manifests: list[Manifest]) -> Problems:
    """No job goes with its pod; several replicas share one PostgreSQL and one spool, and SQLite has one server."""
    deployments = {f"Deployment/{d['metadata']['name']}": d for d in of_kind(manifests, "Deployment")}
    for where, pod, container, settings in started(manifests):
        if where not in deployments:
            continue  # KServe's: docs/critiques.md
        several = most_replicas(manifests, deployments[where]) > 1
        if not several and not of_kind(manifests, "Gateway"):
            continue  # a laptop
        database = variables(container).get("BEDSIDE_JOBS__DATABASE", {})
        folders = [settings.jobs.spool_dir, settings.dicom.inbox_dir]
        if "secretKeyRef" not in database.get("valueFrom", {}):
            if several:
                yield f"{where}: replicas do not share jobs.database"
            elif deployments[where]["spec"]["strategy"]["type"] != "Recreate":
                yield f"{where}: two pods would write one SQLite file in a rollout"
            folders.append(Path(database.get("value", "").removeprefix("sqlite:///")))
        for folder in folders:
            claim = claim_of(manifests, volume_under(pod, container, folder)) if folder else None
            if claim is None:
                yield f"{where}: {folder or 'the spool or the inbox'} goes with the pod"
            elif several and "ReadWriteMany" not in claim["spec"]["accessModes"]:
                yield f"{where}: replicas do not share {folder}"


def room_for_bytes(manifests: list[Manifest]) -> Problems:
    """What the settings let grow fits the volume that it lies on, all of it together; each replica has a trail."""
    replicas = {
        f"Deployment/{d['metadata']['name']}": most_replicas(manifests, d) for d in of_kind(manifests, "Deployment")
    }
    for where, pod, container, settings in started(manifests):
        sizes: dict[str, int] = {}
        used: dict[str, int] = {}
        for setting, folder, limit in bounds(settings):
            volume = volume_under(pod, container, folder)
            if volume is None:
                yield f"{where}: {setting} lies on no volume"
                continue
            trails = replicas[where] if setting == "audit.chain_bytes" and claim_of(manifests, volume) else 1
            sizes[volume["name"]] = size_of(manifests, volume)
            used[volume["name"]] = used.get(volume["name"], 0) + limit * trails
        for name, most in used.items():
            if most > sizes[name]:
                yield f"{where}: {name} has {sizes[name]} bytes, and settings allow {most}"


def drained(manifests: list[Manifest]) -> Problems:
    """Whatever was accepted can finish before the pod goes, and 5 s are left to end processes and flush logs."""
    for where, pod, container, settings in started(manifests):
        server = settings.server
        if settings.limits.request_seconds > server.drain_seconds:
            yield f"{where}: an accepted request may take longer than the drain"
        stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        grace = pod.get("terminationGracePeriodSeconds", 30)
        if grace < stop + server.readiness_delay_seconds + server.drain_seconds + 5:
            yield f"{where}: killed after {grace} s, in its drain"


def scaled_by_requests(manifests: list[Manifest]) -> Problems:
    """Replicas follow requests in flight and waiting, never the CPU."""
    for scaler in of_kind(manifests, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            if trigger["type"] in {"cpu", "memory"}:
                yield f"ScaledObject/{scaler['metadata']['name']}: scales by {trigger['type']}"
        if scaler["spec"]["maxReplicaCount"] > 50:
            yield f"ScaledObject/{scaler['metadata']['name']}: hardly bounded"
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        yield f"HorizontalPodAutoscaler/{scaler['metadata']['name']}: KEDA makes its own"
    if of_kind(manifests, "ScaledObject"):
        for deployment in of_kind(manifests, "Deployment"):
            if "replicas" in deployment["spec"]:
                yield f"Deployment/{deployment['metadata']['name']}: replicas would undo the scaler's work"


def in_one_namespace(manifests: list[Manifest]) -> Problems:
    """All that has a namespace lies in `bedside`, but the grant that KEDA's own must hold, and charts for k3s."""
    without = {"Namespace", "PriorityClass", "ClusterServingRuntime", "GatewayClass"}
    elsewhere = {"ReferenceGrant", "HelmChart"}
    for manifest in manifests:
        kind, metadata = manifest["kind"], manifest["metadata"]
        if kind not in without | elsewhere and metadata.get("namespace") != "bedside":
            yield f"{kind}/{metadata['name']}: not in the namespace bedside"


RULES: tuple[Rule, ...] = (
    no_root,
    no_privileges,
    no_host,
    bounded,
    pinned,
    no_api_token,
    no_secret_values,
    probed,
    ports_named,
    selected,
    disrupted_gently,
    production,
    closed_network,
    confined,
    authenticated_edge,
    listed_paths,
    starts,
    jobs_kept,
    room_for_bytes,
    drained,
    scaled_by_requests,
    in_one_namespace,
)


def broken(manifests: list[Manifest]) -> list[str]:
    """Return everything that is wrong by any rule."""
    return [f"{rule.__name__}: {problem}" for rule in RULES for problem in rule(manifests)]
