"""Stage 2 for what is asked beside the spine: metadata, readiness, the repository. The same for every transport."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bedside.dataplane.auditing import CALLER
from bedside.errors import MissingToken
from bedside.types import Principal, UnverifiedToken


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets a caller in or raises.

    Attributes:
        authenticate: turns a token into a principal; raises Unauthenticated, IssuerUnavailable.
        authorise: lets a principal use a model, by name; raises InsufficientScope.
        authorise_admin: lets a principal load, unload and read what is guarded by ``bedside.admin``.
        authorise_listing: tells which models a principal may learn of, by name; raises InsufficientScope where none.
    """

    authenticate: Callable[[UnverifiedToken], Awaitable[Principal]]
    authorise: Callable[[Principal, str], None]
    authorise_admin: Callable[[Principal], None]
    authorise_listing: Callable[[Principal], Callable[[str], bool]]

    async def caller(self, token: UnverifiedToken | None) -> Principal:
        """Return who calls. Raises Unauthenticated."""
        if not token:
            raise MissingToken
        principal = await self.authenticate(token)
        CALLER.set(principal)
        return principal

    async def model(self, token: UnverifiedToken | None, name: str) -> None:
        """Let in who may use the model; before the look-up, so that others cannot learn which models exist."""
        self.authorise(await self.caller(token), name)

    async def admin(self, token: UnverifiedToken | None) -> Principal:
        """Return who calls, where they may change what is served. Raises InsufficientScope."""
        principal = await self.caller(token)
        self.authorise_admin(principal)
        return principal

    async def listing(self, token: UnverifiedToken | None) -> Callable[[str], bool]:
        """Return which models the caller may learn of, by name. Raises InsufficientScope."""
        return self.authorise_listing(await self.caller(token))
