"""What a principal may do (design: scopes ``bedside.infer``, ``bedside.infer:{model}``, ``bedside.admin``)."""

from bedside.errors import InsufficientScope
from bedside.types import Principal

INFER = "bedside.infer"
ADMIN = "bedside.admin"


def authorise_inference(principal: Principal, model: str) -> None:
    """Let the principal call ``model``. Raises InsufficientScope, which names a scope that would do."""
    scopes = principal.scopes
    if INFER not in scopes and f"{INFER}:{model}" not in scopes:
        raise InsufficientScope("the token lacks the scope for this model", scope=INFER)


def authorise_admin(principal: Principal) -> None:
    """Let the principal load and unload models. Raises InsufficientScope."""
    if ADMIN not in principal.scopes:
        raise InsufficientScope("the token lacks the scope for administration", scope=ADMIN)
