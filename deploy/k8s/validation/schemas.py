"""Are the objects what their APIs take? Unknown fields are errors: the API server would drop them without a word.

Kubernetes' own kinds are validated by kubernetes-validate. For the others there is crds.lock.json: of every custom
resource definition, the fields that the manifests here use, with their types, as learnt from the definitions
themselves. `python -m validation.schemas FOLDER` learns again, from a folder with the projects' CRD files, and refuses
whatever they do not know.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from validation.manifests import OVERLAYS, ROOT, Manifest, overlay, render

LOCK = Path(__file__).with_name("crds.lock.json")
KUBERNETES = ("1.35", "1.36", "1.37")
KEPT = ("type", "enum", "required", "minItems", "maxItems", "minimum", "maximum")
CORE = {"v1", "apps/v1", "policy/v1", "networking.k8s.io/v1", "scheduling.k8s.io/v1"}

Schema = dict[str, Any]


def problems(manifests: list[Manifest]) -> Iterator[str]:
    """Yield what an API server would refuse or drop."""
    locked = json.loads(LOCK.read_text(encoding="utf-8"))["kinds"]
    for manifest in manifests:
        where = f"{manifest['kind']}/{manifest['metadata']['name']}"
        found = _core(manifest) if manifest["apiVersion"] in CORE else _custom(manifest, locked)
        yield from (f"{where}: {problem}" for problem in found)


def _core(manifest: Manifest) -> Iterator[str]:
    import kubernetes_validate  # noqa: PLC0415 - learning does without it

    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {error.message}"


def _custom(manifest: Manifest, schemas: dict[str, Schema]) -> Iterator[str]:
    key = f"{manifest['apiVersion']} {manifest['kind']}"
    if key not in schemas:
        yield f"{key} has not been learnt from its definition"
        return
    validator = jsonschema.Draft202012Validator(schemas[key])
    for error in validator.iter_errors(manifest.get("spec")):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'spec'}: {error.message}"


def definitions(folder: Path) -> dict[str, Schema]:
    """Return the closed schema of `spec` for each kind of the CRD files in a folder."""
    found: dict[str, Schema] = {}
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document and document.get("kind") == "CustomResourceDefinition":
                group, kind = document["spec"]["group"], document["spec"]["names"]["kind"]
                for version in document["spec"]["versions"]:
                    spec = version["schema"]["openAPIV3Schema"]["properties"].get("spec")
                    if spec:
                        found[f"{group}/{version['name']} {kind}"] = spec
    return found


def closed(schema: Schema) -> Schema:
    """Return a schema that refuses fields it does not know, as `kubectl --validate=strict` does."""
    result = dict(schema)
    if result.pop("x-kubernetes-int-or-string", False):
        result = {"type": ["integer", "string"]}
    if "properties" in result:
        result["properties"] = {name: closed(part) for name, part in result["properties"].items()}
        if not result.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    if isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = closed(result["additionalProperties"])
    if isinstance(result.get("items"), dict):
        result["items"] = closed(result["items"])
    return result


def used(schema: Schema, values: list[Any]) -> Schema:
    """Return of a schema what the values use: their fields with types, and all that is required."""
    result: Schema = {key: schema[key] for key in KEPT if key in schema}
    objects = [value for value in values if isinstance(value, dict)]
    if "properties" in schema:
        names = {name for value in objects for name in value} & schema["properties"].keys()
        parts = {n: used(schema["properties"][n], [v[n] for v in objects if n in v]) for n in sorted(names)}
        result |= {"properties": parts, "additionalProperties": False}
    elif isinstance(schema.get("additionalProperties"), dict):
        every = [item for value in objects for item in value.values()]
        result["additionalProperties"] = used(schema["additionalProperties"], every)
    if isinstance(schema.get("items"), dict):
        items = [item for value in values if isinstance(value, list) for item in value]
        result["items"] = used(schema["items"], items)
    return result


def learn(folder: Path, everything: list[Manifest]) -> tuple[dict[str, Schema], list[str]]:
    """Return what the manifests use of each definition, and what the definitions refuse in them."""
    known = definitions(folder)
    values: dict[str, list[Any]] = {}
    refused = []
    for manifest in everything:
        key = f"{manifest['apiVersion']} {manifest['kind']}"
        if manifest["apiVersion"] in CORE:
            continue
        if key not in known:
            refused.append(f"{key}: no definition in {folder}")
            continue
        values.setdefault(key, []).append(manifest["spec"])
        errors = jsonschema.Draft202012Validator(closed(known[key])).iter_errors(manifest["spec"])
        refused += [f"{key} {'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]
    return {key: used(closed(known[key]), specs) for key, specs in sorted(values.items())}, refused


def main(folder: Path) -> int:
    """Learn from the CRD files in a folder."""
    everything = [m for name in OVERLAYS for m in overlay(name)]
    everything += [m for example in sorted((ROOT / "tests" / "examples").iterdir()) for m in render(example)]
    kinds, refused = learn(folder, everything)
    if refused:
        print("\n".join(dict.fromkeys(refused)), file=sys.stderr)
        return 1
    note = "Written by `python -m validation.schemas FOLDER`; see schemas.py."
    LOCK.write_text(json.dumps({"note": note, "kinds": kinds}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{LOCK.name}: {len(kinds)} kinds")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
