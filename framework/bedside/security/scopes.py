"""Stage 2, second half: may they. Scopes of RFC 6749 §3.3, checked here because issuers drop unknown ones silently."""

from collections.abc import Callable

from bedside.errors import InsufficientScope
from bedside.types import Principal

INFER = "bedside.infer"
"""Use every model. ``bedside.infer:{model}`` is for one."""

RETRIEVE = "bedside.retrieve"
"""Have inputs read from every source. ``bedside.retrieve:{source}`` is for one. Without it, whoever may use a model
could see through its answers what only the server may read."""

TRUTH = "bedside.truth"
"""Tell the truth of earlier answers of every model, and ask how right they were. ``bedside.truth:{model}`` is for one.
It does not include using them, and shows no answer."""

ADMIN = "bedside.admin"
"""Load and unload models. It does not include using them: who operates a server need not see results."""


def authorise_inference(principal: Principal, model: str) -> None:
    """Let a principal use a model.

    Raises:
        InsufficientScope: with the scope to ask for. It names no model: ``model`` is the caller's word, and may not
            even exist.
    """
    scopes = principal.scopes
    if INFER not in scopes and f"{INFER}:{model}" not in scopes:
        raise InsufficientScope(scope=INFER)


def authorise_truth(principal: Principal, model: str) -> None:
    """Let a principal tell what a model should have answered.

    Raises:
        InsufficientScope: with the scope to ask for.
    """
    if not {TRUTH, f"{TRUTH}:{model}"} & principal.scopes:
        raise InsufficientScope(scope=TRUTH)


def authorise_retrieval(principal: Principal, source: str) -> None:
    """Let a principal have inputs read from a source with the server's own rights.

    Raises:
        InsufficientScope: with the scope to ask for.
    """
    if not {RETRIEVE, f"{RETRIEVE}:{source}"} & principal.scopes:
        raise InsufficientScope(scope=RETRIEVE)


def authorise_listing(principal: Principal) -> Callable[[str], bool]:
    """Return which models a principal may learn of, by name: those that it may use; for administrators, all.

    Raises:
        InsufficientScope: it may use none. A token that the issuer made for something else learns nothing here.
    """
    scopes = principal.scopes
    if INFER in scopes or ADMIN in scopes:
        return lambda _: True
    names = {scope.removeprefix(f"{INFER}:") for scope in scopes if scope.startswith(f"{INFER}:")} - {""}
    if not names:
        raise InsufficientScope(scope=INFER)
    return names.__contains__


def authorise_admin(principal: Principal) -> None:
    """Let a principal load and unload models, and read what is guarded like that.

    Raises:
        InsufficientScope: with the scope to ask for.
    """
    if ADMIN not in principal.scopes:
        raise InsufficientScope(scope=ADMIN)
