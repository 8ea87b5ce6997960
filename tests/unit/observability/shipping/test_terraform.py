"""Terraform's module says by hand what `bedside observability install` sends: neither may go its own way."""

import re
from pathlib import Path
from typing import Any

import pytest

from bedside.observability.shipping.content import Lifetimes, requests, write_key

MODULE = Path(__file__).resolve().parents[4] / "infra/terraform/modules/elastic-content"
MAIN = (MODULE / "main.tf").read_text(encoding="utf-8")
VARIABLES = (MODULE / "variables.tf").read_text(encoding="utf-8")
SENT = {request.path: request.body for request in requests("prod", Lifetimes())}


def block(text: str, name: str) -> str:
    """Return what is between the braces of a block; the formatter indents their ends like their beginnings."""
    found = re.search(rf"^( *){re.escape(name)} {{\n(.*?)^\1}}", text, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[2]


def value(text: str, name: str) -> str:
    """Return an argument's literal, without quotes."""
    found = re.search(rf'^ *"?{re.escape(name)}"? *= *"?([^"\n]*)"?$', text, re.MULTILINE)
    assert found, name
    return found[1]


def sent(path: str) -> Any:
    """Return the body that is sent to a path."""
    return SENT[path]


@pytest.mark.parametrize("kind", ["inference", "audit"])
def test_lifecycles_are_the_same(kind: str) -> None:
    """When an index rolls over, what becomes of it, and how long lines are kept unless somebody says otherwise."""
    phases = sent(f"/_ilm/policy/bedside-{kind}-prod")["policy"]["phases"]
    policy = block(MAIN, 'resource "elasticstack_elasticsearch_index_lifecycle" "this"')
    for phase in ("hot", "warm"):
        written = block(policy, phase)
        for action, arguments in phases[phase]["actions"].items():
            for name, expected in arguments.items():
                assert value(block(written, action), name) == str(expected)
    assert value(block(policy, "warm"), "min_age") == phases["warm"]["min_age"]
    days = re.search(rf"{kind} = optional\(number, (\d+)\)", VARIABLES)
    assert days
    assert f"{days[1]}d" == phases["delete"]["min_age"]


@pytest.mark.parametrize("kind", ["inference", "audit"])
def test_templates_are_the_same(kind: str) -> None:
    """Names, which template wins, and the settings of an index."""
    expected = sent(f"/_index_template/bedside-{kind}-prod")
    template = block(MAIN, 'resource "elasticstack_elasticsearch_index_template" "this"')
    assert value(template, "priority") == str(expected["priority"])
    settings = expected["template"]["settings"]
    assert set(settings) == set(re.findall(r'"(index\.[a-z_.]+)"', template))
    assert value(template, "index.codec") == settings["index.codec"]
    pattern = (
        f'pattern = "{expected["index_patterns"][0].replace(kind, "${kind}").replace("prod", "${var.namespace}")}"'
    )
    assert pattern in MAIN


def test_rights_are_the_same() -> None:
    """A key appends and nothing else; a role reads and nothing else."""
    (rights,) = (write_key("prod").body or {})["role_descriptors"].values()
    key = block(MAIN, 'resource "elasticstack_elasticsearch_security_api_key" "shipper"')
    assert re.findall(r'"(\w+)"', value_list(key, "cluster")) == rights["cluster"]
    assert re.findall(r'"(\w+)"', value_list(key, "privileges")) == rights["indices"][0]["privileges"]
    role = block(MAIN, 'resource "elasticstack_elasticsearch_security_role" "this"')
    for name in ("operator", "auditor"):
        (indices,) = sent(f"/_security/role/bedside-{name}-prod")["indices"]
        assert re.findall(r'"(\w+)"', value_list(block(role, "indices"), "privileges")) == indices["privileges"]


def value_list(text: str, name: str) -> str:
    """Return the inside of an argument's list."""
    found = re.search(rf"\b{name} *= *\[([^\]]*)\]", text)
    assert found, name
    return found[1]
