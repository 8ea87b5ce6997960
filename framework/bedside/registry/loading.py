"""From a folder to a model that answers: admitted, built, warmed, checked; or closed again, with the reason."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.reference import FILE, parse_reference
from bedside.interfaces import Executor, NotInline

_TEXT_BYTES = 256 * 1024
TEXTS = {"card": "docs/README.md", "licence": "LICENSE", "reference": FILE}
"""Texts of a bundle that are kept while it is loaded."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Model:
    """One loaded copy of one version. Implements ``interfaces.ServedModel``.

    Whoever has resolved it holds it until its call is accounted for, so that a newer copy may take its name meanwhile.
    """

    folder: BundleFolder
    executor: Executor
    contract: Contract
    seconds: float
    texts: Mapping[str, str] = field(default_factory=dict)
    _holders: int = 0
    _freed: asyncio.Event | None = None

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Return the bundle's version."""
        return self.folder.metadata.version

    @property
    def digest(self) -> str:
        """Return the digest over the bundle's tree."""
        return self.folder.digest

    @property
    def calls(self) -> int:
        """Return how many calls hold it: they have found it, and are not accounted for yet."""
        return self._holders

    def acquire(self) -> None:
        """Keep it from being closed until :meth:`release`."""
        self._holders += 1

    def release(self) -> None:
        """Let go of it."""
        self._holders -= 1
        if self._freed is not None and not self._holders:
            self._freed.set()

    async def retire(self) -> None:
        """Wait until nobody holds it (each call has a deadline of its own), and close it; at once when cancelled."""
        try:
            if self._holders:
                self._freed = self._freed or asyncio.Event()
                await self._freed.wait()
        finally:
            await self.executor.close()


Admit = Callable[[BundleFolder], Awaitable[BundleFolder]]
Check = Callable[[BundleFolder, Executor, Contract], Awaitable[None]]


async def check_nothing(_folder: BundleFolder, _executor: Executor, _contract: Contract) -> None:
    """Let every model pass."""


class Loader:
    """Loads models.

    Args:
        admit: returns the folder with the digest that was judged; raises where it may not be loaded.
        make_executor: builds what runs a bundle; asked again, and told why, where that is not to be the event loop.
        check: asked once the model is warm, before anybody else is; raises where its answers are wrong.
    """

    def __init__(
        self,
        admit: Admit,
        make_executor: Callable[[BundleFolder, NotInline | None], Executor],
        check: Check = check_nothing,
    ) -> None:
        self._admit = admit
        self._make_executor = make_executor
        self._check = check

    async def load(self, folder: BundleFolder) -> Model:
        """Load a bundle. Raises BundleError; whatever is raised, nothing of it goes on running."""
        begin = asyncio.get_running_loop().time()
        admitted = await self._admit(folder)
        texts = await asyncio.to_thread(_texts, admitted.root)
        parse_reference(texts.get("reference", ""))  # refused now, not when the first answers are compared
        try:
            executor, contract = await self._started(admitted)
        except NotInline as reason:
            executor, contract = await self._started(admitted, reason)
        return Model(admitted, executor, contract, asyncio.get_running_loop().time() - begin, texts)

    async def _started(self, folder: BundleFolder, not_inline: NotInline | None = None) -> tuple[Executor, Contract]:
        executor = self._make_executor(folder, not_inline)
        try:
            contract = await executor.load()
            await self._check(folder, executor, contract)
        except BaseException:
            await executor.close()
            raise
        return executor, contract


def _texts(root: Path) -> dict[str, str]:
    found = {}
    for name, path in TEXTS.items():
        if (root / path).is_file():
            with (root / path).open("rb") as stream:
                found[name] = stream.read(_TEXT_BYTES).decode(errors="replace")
    return found
