"""Stage 2 for the paths outside the data plane: who calls, and may they."""

from collections.abc import Callable

from starlette.requests import Request

from bedside.errors import MissingToken
from bedside.transports.rest.head import Head
from bedside.transports.rest.parts import Parts
from bedside.types import Principal


class Guard:
    """Lets a request in or raises; every route asks it, except liveness and readiness."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def caller(self, request: Request) -> Principal:
        """Return who calls. Raises Unauthenticated."""
        head = Head(request.scope)
        head.check_single()
        token = head.token
        if not token:
            raise MissingToken
        return await self._parts.authenticate(token)

    async def model(self, request: Request, name: str) -> None:
        """Let in who may use the model; before the look-up, so that others cannot learn which models exist."""
        self._parts.authorise(await self.caller(request), name)

    async def admin(self, request: Request) -> None:
        """Let in who may change what is served. Raises InsufficientScope."""
        self._parts.authorise_admin(await self.caller(request))

    async def metrics(self, request: Request) -> None:
        """Keep ``auth.metrics_access``."""
        if self._parts.settings.auth.metrics_access == "token":
            await self.admin(request)

    async def listing(self, request: Request) -> Callable[[str], bool]:
        """Return which models the caller may learn of, by name. Raises InsufficientScope."""
        return self._parts.authorise_listing(await self.caller(request))

    async def documents(self, request: Request) -> Callable[[str], bool]:
        """Keep ``auth.docs_access``; return which models may be shown, by name."""
        if self._parts.settings.auth.docs_access == "token":
            return await self.listing(request)
        return lambda _: True
