"""What scopes allow."""

import pytest

from bedside.errors import InsufficientScope
from bedside.security.scopes import authorise_admin, authorise_inference, authorise_listing, authorise_truth
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


@pytest.mark.parametrize("scope", ["bedside.infer", "bedside.admin"])
def test_all_models_are_listed_for_who_may_use_or_administer_all(scope: str) -> None:
    """An administrator need not use a model to see its state."""
    visible = authorise_listing(with_scopes(scope, "bedside.infer:other"))
    assert visible("spleen")


def test_a_scope_for_one_model_lists_that_one() -> None:
    """Other names stay unknown."""
    visible = authorise_listing(with_scopes("bedside.infer:spleen", "openid"))
    assert [name for name in ("spleen", "spleen2", "heart", "") if visible(name)] == ["spleen"]


@pytest.mark.parametrize("scopes", [(), ("openid", "profile"), ("bedside.inferno",), ("bedside.infer:",)])
def test_a_token_without_our_scopes_lists_nothing(scopes: tuple[str, ...]) -> None:
    """And is told which scope to ask for."""
    with pytest.raises(InsufficientScope) as refused:
        authorise_listing(with_scopes(*scopes))
    assert refused.value.scope == "bedside.infer"


def test_admin_needs_its_own_scope() -> None:
    """Who may use models may not unload them."""
    authorise_admin(with_scopes("bedside.admin"))
    with pytest.raises(InsufficientScope) as refused:
        authorise_admin(with_scopes("bedside.infer"))
    assert refused.value.scope == "bedside.admin"


@pytest.mark.parametrize("scope", ["bedside.truth", "bedside.truth:spleen"])
def test_truth_is_told_with_a_scope_of_its_own(scope: str) -> None:
    """For all models or for one."""
    authorise_truth(with_scopes(scope), "spleen")


@pytest.mark.parametrize("scope", ["", "bedside.truth:other", "bedside.infer", "bedside.admin"])
def test_who_may_ask_may_not_say_what_is_true(scope: str) -> None:
    """Neither may an administrator: accuracy would be whoever's."""
    with pytest.raises(InsufficientScope) as refused:
        authorise_truth(with_scopes(scope), "spleen")
    assert refused.value.scope == "bedside.truth"
