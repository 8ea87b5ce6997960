"""Stage 2 for the paths outside the data plane: who calls, and may they."""

from collections.abc import Callable

from starlette.requests import Request

from bedside.errors import InsufficientScope
from bedside.transports.rest.head import Head
from bedside.transports.rest.parts import Parts
from bedside.types import Principal, UnverifiedToken


class Guard:
    """Lets a request in or raises; every route asks it, except liveness and readiness."""

    def __init__(self, parts: Parts) -> None:
        self._auth = parts.settings.auth
        self._gate = parts.gate

    async def caller(self, request: Request) -> Principal:
        """Return who calls. Raises Unauthenticated."""
        return await self._gate.caller(_token(request))

    async def model(self, request: Request, name: str) -> None:
        """Let in who may use the model; before the look-up, so that others cannot learn which models exist."""
        await self._gate.model(_token(request), name)

    async def admin(self, request: Request) -> Principal:
        """Return who calls, where they may change what is served. Raises InsufficientScope."""
        return await self._gate.admin(_token(request))

    def is_admin(self, principal: Principal) -> bool:
        """Tell whether a caller may see what belongs to others."""
        try:
            self._gate.authorise_admin(principal)
        except InsufficientScope:
            return False
        return True

    async def metrics(self, request: Request) -> None:
        """Keep ``auth.metrics_access``."""
        if self._auth.metrics_access == "token":
            await self.admin(request)

    async def listing(self, request: Request) -> Callable[[str], bool]:
        """Return which models the caller may learn of, by name. Raises InsufficientScope."""
        return await self._gate.listing(_token(request))

    async def documents(self, request: Request) -> Callable[[str], bool]:
        """Keep ``auth.docs_access``; return which models may be shown, by name."""
        if self._auth.docs_access == "token":
            return await self.listing(request)
        return lambda _: True


def _token(request: Request) -> UnverifiedToken | None:
    head = Head(request.scope)
    head.check_single()
    return head.token
