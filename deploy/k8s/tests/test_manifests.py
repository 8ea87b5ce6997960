"""What the overlays render is accepted by every rule and schema, and agrees with the server that it runs."""

import difflib
import json
import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from validation import rules, schemas
from validation.effective import servers, settings_of
from validation.manifests import OVERLAYS, ROOT, Manifest, containers, of_kind, overlay, render, render_text

from bedside import errors
from bedside.delivery.pins import PINS, read_pins, rendered
from bedside.observability.accounting import slug
from bedside.observability.metrics import Metrics
from bedside.settings import Settings, load_settings

EXAMPLES = sorted(path.name for path in (ROOT / "tests" / "examples").iterdir())
MOST_DIFFERENT_LINES = 16
TERRAFORM = ROOT.parents[1] / "infra" / "terraform"
SERVER = ROOT.parents[1] / "framework" / "bedside"


EVERYTHING = [pytest.param(ROOT / "overlays" / name, id=name) for name in OVERLAYS]
EVERYTHING += [pytest.param(ROOT / "tests" / "examples" / name, id=name) for name in EXAMPLES]


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Return what the server reads from the ConfigMap."""
    return load_settings(ROOT / "base" / "settings.toml")


@pytest.fixture(scope="module")
def onprem() -> list[Manifest]:
    """Return the manifests of a hospital's own cluster."""
    return overlay("onprem")


def seconds(duration: str) -> int:
    """Return a Gateway API duration in seconds."""
    assert duration.endswith("s")
    return int(duration[:-1])


@pytest.mark.parametrize("folder", EVERYTHING)
def test_every_overlay_keeps_every_rule(folder: Path) -> None:
    """Each line of the hardening list holds in what would be applied."""
    assert rules.broken(render(folder)) == []


@pytest.mark.parametrize("folder", EVERYTHING)
def test_every_overlay_is_what_the_apis_take(folder: Path) -> None:
    """No field is unknown, missing or of the wrong type."""
    assert list(schemas.problems(render(folder))) == []


def test_every_component_is_rendered_somewhere() -> None:
    """A component that no overlay and no example uses would not be checked."""
    used = "".join(path.read_text() for path in ROOT.rglob("kustomization.yaml"))
    for component in (ROOT / "components").iterdir():
        assert f"components/{component.name}" in used, component.name


def test_aws_and_onprem_differ_in_the_site_and_in_nothing_else() -> None:
    """The differing lines are few, and each is a value of site.env, or the name that holds its hash."""
    left, right = (render_text(ROOT / "overlays" / name).splitlines() for name in ("onprem", "aws"))
    different = [line[1:].strip() for line in difflib.unified_diff(left, right, n=0) if re.match(r"\+(?!\+)", line)]
    values = [
        line.split("=", 1)[1] for line in (ROOT / "overlays/aws/site.env").read_text().splitlines() if "=" in line
    ]
    assert len(left) == len(right)
    assert 0 < len(different) <= MOST_DIFFERENT_LINES
    for line in different:
        assert any(value in line for value in values) or "name: bedside-site-" in line, line


def test_the_air_gap_changes_where_things_come_from_and_not_what_they_are() -> None:
    """Images and bundles have the digests of the connected site, and no reference leads outside."""
    references = {
        name: re.findall(r"(?:image|reference): (\S+)@(\S+)", render_text(ROOT / "overlays" / name))
        for name in OVERLAYS
    }
    assert [digest for _, digest in references["onprem"]] == [digest for _, digest in references["onprem-airgap"]]
    assert {repository.split("/")[0] for repository, _ in references["onprem-airgap"]} == {
        "registry.hospital.example:5000"
    }


def test_the_server_listens_where_the_service_sends(onprem: list[Manifest], settings: Settings) -> None:
    """HTTP and gRPC have the container's ports."""
    ports = {port["name"]: port["containerPort"] for _, c in containers(onprem) for port in c["ports"]}
    assert ports == {"http": settings.server.port, "grpc": settings.server.grpc_port}


def test_a_slow_load_is_not_killed(onprem: list[Manifest], settings: Settings) -> None:
    """The startup probe waits longer than a bundle may take to load, and then not for ever."""
    probe = next(container for _, container in containers(onprem))["startupProbe"]
    assert (
        settings.runtime.load_seconds
        < probe["periodSeconds"] * probe["failureThreshold"]
        <= settings.runtime.load_seconds + 60
    )


def test_the_gateway_waits_longer_than_the_server(onprem: list[Manifest], settings: Settings) -> None:
    """The service's own 408 and 504 arrive, with their problem documents, before the gateway gives up."""
    client, backend = (
        of_kind(onprem, kind)[0]["spec"]["timeout"]["http"] for kind in ("ClientTrafficPolicy", "BackendTrafficPolicy")
    )
    assert seconds(client["requestReceivedTimeout"]) > settings.limits.body_seconds
    assert seconds(backend["requestTimeout"]) > settings.limits.request_seconds


def test_kserves_runtime_is_the_same_service(settings: Settings) -> None:
    """It reads the values of settings.toml, but for what a comment beside it gives the reason of."""
    manifests = overlay("kserve")
    runtime = settings_of(manifests, next(container for _, _, container in servers(manifests)))
    plain, kserve = settings.model_dump(), runtime.model_dump()
    file = tomllib.loads((ROOT / "base" / "settings.toml").read_text())
    differing = {
        f"{group}.{name}" for group in file for name in file[group] if plain[group][name] != kserve[group][name]
    }
    assert differing == {
        "limits.request_seconds",
        "server.drain_seconds",
        "server.grpc_port",
        "runtime.staging_dir",
        "auth.metrics_access",
        "jobs.spool_bytes",
    }


def test_both_targets_route_what_the_server_serves(onprem: list[Manifest]) -> None:
    """Every path of the server but /metrics and the start page, by Gateway API, by Flagger and by API Gateway."""
    sources = "".join(path.read_text() for path in (SERVER / "transports" / "rest").glob("*.py"))
    served = {
        f"/{found}" for found in re.findall(r'"/(v1|v2|dicomweb|docs|metrics|openapi\.json|livez|readyz)[/"]', sources)
    }
    health = {
        match["path"]["value"] for m in of_kind(onprem, "HTTPRoute") for match in m["spec"]["rules"][0]["matches"]
    }
    flagger = {
        next(iter(match["uri"].values())) for m in of_kind(onprem, "Canary") for match in m["spec"]["service"]["match"]
    }
    gateway = {
        match["path"]["value"]
        for m in render(ROOT / "overlays" / "onprem-one")
        if m["kind"] == "HTTPRoute"
        for match in m["spec"]["rules"][0]["matches"]
    }
    edge = (TERRAFORM / "modules/aws/edge/main.tf").read_text()
    listed = {path for name in ("prefixes", "pages", "health") for path in re.findall(r'"(/[^"]+)"', named(name, edge))}
    assert served == (gateway | {"/metrics"}) - {"/v2/health"}
    assert flagger | health == gateway
    assert listed == gateway - {"/v2/health"}


def named(local: str, terraform: str) -> str:
    """Return the list that a local of a module is."""
    found = re.search(rf"^  {local}\s+= (\[.*\])$", terraform, re.MULTILINE)
    assert found is not None, local
    return found[1]


def test_the_settings_are_read_from_where_they_are_mounted(onprem: list[Manifest], settings: Settings) -> None:
    """BEDSIDE_CONFIG, the mount and the writable folders fit together."""
    container = next(container for _, container in containers(onprem))
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert env["BEDSIDE_CONFIG"] == "/etc/bedside/settings.toml"
    assert "/etc/bedside" in mounts
    assert str(settings.runtime.staging_dir) in mounts
    assert settings.runtime.state_dir.is_relative_to("/tmp")


@pytest.mark.parametrize("name", ["onprem", "aws"])
def test_what_the_platform_makes_is_for_these_pods(name: str) -> None:
    """Its ConfigMap is the one that the pods read, its NetworkPolicy's label one that they have."""
    platform = "".join(path.read_text() for path in (TERRAFORM / "modules/platform").glob("*.tf"))
    pods = of_kind(overlay(name), "Deployment")[0]["spec"]["template"]
    config, secret = pods["spec"]["containers"][0]["envFrom"]
    assert secret == {"secretRef": {"name": "bedside-store", "optional": True}}
    made = re.search(r'"kubernetes_config_map_v1" "settings" \{\s+metadata \{\s+name\s+= "(\S+)"', platform)
    assert made is not None
    assert config == {"configMapRef": {"name": made[1], "optional": True}}
    label = re.search(r'"bedside-to-store".*?matchLabels = \{ "(\S+)" = "(\S+)" \}', platform, re.DOTALL)
    assert label is not None
    assert pods["metadata"]["labels"][label[1]] == label[2]


@pytest.mark.parametrize("site", ["aws", "onprem"])
def test_the_server_takes_the_bucket_that_a_site_gives_out(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of infra/terraform are settings, in the form that they are written in."""
    contract = (TERRAFORM / "modules/contract/outputs.tf").read_text()
    named = re.search(r'(BEDSIDE_REFERENCES__UPLOADS)\s+= "(\S+)"', contract)
    bound = re.search(r"(BEDSIDE_REFERENCES__INPUT_BYTES) = tostring", contract)
    outputs = (TERRAFORM / f"modules/{site}/site/outputs.tf").read_text()
    given = re.search(r"(BEDSIDE_REFERENCES__BUCKETS) = jsonencode\(\{ (\w+) = \{ (\w+) = .*?, (\w+) = ", outputs)
    assert named is not None
    assert bound is not None
    assert given is not None
    monkeypatch.setenv(named[1], named[2])
    monkeypatch.setenv(bound[1], "536870912")
    monkeypatch.setenv(given[1], json.dumps({given[2]: {given[3]: "s3://bucket", given[4]: "https://s3.example"}}))
    references = load_settings(ROOT / "base" / "settings.toml").references
    assert references.uploads is not None
    assert references.buckets[references.uploads].endpoint == "https://s3.example"
    assert references.input_bytes == 536870912


def test_a_site_without_terraform_names_its_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """In site.env: the server takes it, and pods are let out to it."""
    manifests = render(ROOT / "tests" / "examples" / "large-inputs")
    site = next(m["data"] for m in of_kind(manifests, "ConfigMap") if m["metadata"]["name"].startswith("bedside-site"))
    policy = next(m for m in of_kind(manifests, "NetworkPolicy") if m["metadata"]["name"] == "bedside-to-store")
    for variable in next(container for _, container in containers(manifests))["env"]:
        if variable["name"].startswith("BEDSIDE_REFERENCES__"):
            key = variable.get("valueFrom", {}).get("configMapKeyRef", {}).get("key")
            monkeypatch.setenv(variable["name"], site[key] if key else variable["value"])
    references = load_settings(ROOT / "base" / "settings.toml").references
    assert references.uploads is not None
    endpoint = urlsplit(references.buckets[references.uploads].endpoint)
    assert policy["spec"]["egress"][0]["to"] == [{"ipBlock": {"cidr": "10.30.0.20/32"}}]
    assert endpoint.port in {port["port"] for port in policy["spec"]["egress"][0]["ports"]}


@pytest.mark.parametrize("folder", [ROOT / "overlays" / "onprem", ROOT / "tests" / "examples" / "large-inputs"])
def test_a_store_may_have_a_certificate_of_the_hospitals_own(folder: Path) -> None:
    """Whose authority lies where the documents point AWS' library to; a site without one starts all the same."""
    pod = of_kind(render(folder), "Deployment")[0]["spec"]["template"]["spec"]
    mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "store-authority")
    volume = next(v for v in pod["volumes"] if v["name"] == "store-authority")
    assert volume["configMap"]["optional"] is True
    text = (ROOT.parents[1] / "docs" / "deployment.md").read_text()
    assert f"configmap {volume['configMap']['name']} --from-file=ca.pem" in text
    assert f"AWS_CA_BUNDLE={mount['mountPath']}/ca.pem" in text


def queries(manifests: list[Manifest]) -> str:
    """Return every PromQL query in the manifests."""
    return "\n".join(re.findall(r"query: (.*?)(?=\n\s*\w+:|\Z)", yaml.safe_dump(manifests, width=10_000), re.DOTALL))


@pytest.mark.parametrize("folder", EVERYTHING)
def test_every_metric_that_is_asked_for_is_exported(folder: Path) -> None:
    """Scaling and canaries rest on metrics that the server has."""
    metrics = Metrics()
    metrics.crashes.labels("m")
    metrics.refusal("x")
    model = metrics.for_model("m", "1")
    model.finished("rest", "success", 0.1, {"queue": 0.1})
    exported = set(re.findall(r"^(bedside_\w+)", metrics.expose("")[0].decode(), re.MULTILINE))
    asked = set(re.findall(r"bedside_[a-z_]+(?=\{)", queries(render(folder))))
    assert asked <= exported


def test_every_failure_that_stops_a_canary_is_an_error_of_ours(onprem: list[Manifest]) -> None:
    """The reasons in the query are slugs of the error tree, and none of them is a caller's fault."""
    query = next(
        m["spec"]["query"] for m in of_kind(onprem, "MetricTemplate") if m["metadata"]["name"] == "bedside-failures"
    )
    reasons = re.search(r'reason=~"([^"]+)"', query)
    assert reasons is not None
    tree = {
        slug(name): kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    for reason in reasons[1].split("|"):
        assert reason in tree
        assert not issubclass(tree[reason], errors.RequestError)


@pytest.mark.parametrize("environment", sorted(path.name for path in (ROOT / "environments").iterdir()))
def test_environments_are_as_their_pins_say(environment: str) -> None:
    """What is written from pins.json has not been edited by hand."""
    folder = ROOT / "environments" / environment
    files = rendered(read_pins(folder))
    assert PINS in files
    for name, text in files.items():
        assert (folder / name).read_text() == text, f"run: bedside ship pin {environment}"
