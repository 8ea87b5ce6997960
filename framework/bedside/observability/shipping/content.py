"""What Bedside needs inside Elasticsearch and Kibana, as the requests that bring it there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bedside.observability.schema import Stream, component_template

STREAMS: Mapping[str, Stream] = {"inference": "events", "audit": "audit"}
"""Data streams, ``logs-bedside.KIND-NAMESPACE``, and whose mappings they have."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to Elasticsearch; sent again, it changes nothing.

    Attributes:
        exists: type of the error that says so where the API has no other way to.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    exists: str = ""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long lines are kept, in days.

    Attributes:
        hot: after so many, or 25 GB, a new index is begun.
        warm: after so many, an index is merged, for it is only read.
        keep: after so many, lines are deleted.
        keep_audit: the same for the audit trail; HIPAA asks for six years of documentation.
    """

    hot: int = 1
    warm: int = 7
    keep: int = 90
    keep_audit: int = 2192


def data_stream(kind: str, namespace: str) -> str:
    """Return the name of a data stream."""
    return f"logs-bedside.{kind}-{namespace}"


def requests(namespace: str, lifetimes: Lifetimes, replicas: int = 1) -> Iterator[Request]:
    """Yield the requests in their order: policies, templates, data streams, roles."""
    for kind, stream in STREAMS.items():
        name = f"bedside-{kind}-{namespace}"
        days = lifetimes.keep_audit if kind == "audit" else lifetimes.keep
        yield Request("PUT", f"/_ilm/policy/{name}", {"policy": {"phases": _phases(lifetimes, days)}})
        yield Request("PUT", f"/_component_template/{name}@mappings", component_template(stream))
        yield Request("PUT", f"/_index_template/{name}", _template(name, data_stream(kind, namespace), replicas))
    for kind in STREAMS:
        yield Request(
            "PUT", f"/_data_stream/{data_stream(kind, namespace)}", exists="resource_already_exists_exception"
        )
    for role, kind in (("operator", "inference"), ("auditor", "audit")):
        yield Request("PUT", f"/_security/role/bedside-{role}-{namespace}", _reader(data_stream(kind, namespace)))


def write_key(namespace: str) -> Request:
    """Return the request for an API key that can append and nothing else: whoever takes it learns nothing from it.

    ``monitor`` is what Filebeat asks for the cluster's version with.
    """
    streams = [data_stream(kind, namespace) for kind in STREAMS]
    rights = {"cluster": ["monitor"], "indices": [{"names": streams, "privileges": ["create_doc", "auto_configure"]}]}
    return Request(
        "POST",
        "/_security/api_key",
        {"name": f"bedside-writer-{namespace}", "role_descriptors": {"writer": rights}},
    )


def _phases(lifetimes: Lifetimes, days: int) -> dict[str, Any]:
    rollover = {"max_age": f"{lifetimes.hot}d", "max_primary_shard_size": "25gb"}
    return {
        "hot": {"actions": {"set_priority": {"priority": 100}, "rollover": rollover}},
        "warm": {
            "min_age": f"{lifetimes.warm}d",
            "actions": {"set_priority": {"priority": 50}, "forcemerge": {"max_num_segments": 1}},
        },
        "delete": {"min_age": f"{days}d", "actions": {"delete": {}}},
    }


def _template(name: str, stream: str, replicas: int) -> dict[str, Any]:
    settings = {
        "index.lifecycle.name": name,
        "index.number_of_replicas": str(replicas),
        "index.codec": "best_compression",
    }
    return {
        "index_patterns": [stream],
        "priority": 200,  # above Elasticsearch's own logs-*-*, which has 100
        "data_stream": {},
        # What shippers add (host.*, kubernetes.*) has Elasticsearch's own mappings; ours win.
        "composed_of": ["ecs@mappings", f"{name}@mappings"],
        "ignore_missing_component_templates": ["ecs@mappings"],
        "template": {"settings": settings},
        "_meta": {"managed_by": "bedside"},
    }


def _reader(stream: str) -> dict[str, Any]:
    return {"indices": [{"names": [stream], "privileges": ["read", "view_index_metadata"]}]}
