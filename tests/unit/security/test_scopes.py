"""What scopes allow."""

import pytest

from bedside.errors import InsufficientScope
from bedside.security.scopes import authorise_admin, authorise_inference
from bedside.types import Principal


def with_scopes(*scopes: str) -> Principal:
    """Return a principal with these scopes."""
    return Principal("somebody", "https://issuer.invalid", frozenset(scopes), 0.0)


@pytest.mark.parametrize("scope", ["bedside.infer", "bedside.infer:spleen"])
def test_scope_for_all_models_or_this_one_allows_inference(scope: str) -> None:
    """Either will do."""
    authorise_inference(with_scopes(scope), "spleen")


@pytest.mark.parametrize(
    "scope", ["", "bedside.infer:", "bedside.infer:other", "bedside.infer:spleen2", "bedside.admin", "BEDSIDE.INFER"]
)
def test_other_scopes_do_not_allow_inference(scope: str) -> None:
    """Also not the administrator's; and the scope to ask for is named, the model is not."""
    with pytest.raises(InsufficientScope) as refused:
        authorise_inference(with_scopes(scope), "spleen")
    assert refused.value.scope == "bedside.infer"
    assert "spleen" not in refused.value.detail


def test_admin_needs_its_own_scope() -> None:
    """Who may use models may not unload them."""
    authorise_admin(with_scopes("bedside.admin"))
    with pytest.raises(InsufficientScope) as refused:
        authorise_admin(with_scopes("bedside.infer"))
    assert refused.value.scope == "bedside.admin"
