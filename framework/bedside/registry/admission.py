"""The server's gate: a bundle is judged right before it is loaded, and the verdict is logged."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from bedside.bundle.folder import BundleFolder, tree_digest
from bedside.bundle.vetting import SitePolicy, Verdict, vet
from bedside.errors import NotAdmitted
from bedside.interfaces import AuditSink
from bedside.observability.audit_lines import Record
from bedside.observability.events import AuditAction, Event
from bedside.observability.logging import get_logger
from bedside.settings import AdmissionSettings

_RULES = 12  # as many names as fit into a keyword of the log


class Admission:
    """Lets bundles in, or not.

    Args:
        settings: the mode and the limits.
        policy: what the site admits beyond the built-in lists.
        on_verdict: told of every verdict; ``AdmissionLog`` in the server.
    """

    def __init__(
        self,
        settings: AdmissionSettings,
        policy: SitePolicy,
        on_verdict: Callable[[BundleFolder, Verdict], None] = lambda _folder, _verdict: None,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._on_verdict = on_verdict

    async def admit(self, folder: BundleFolder) -> Verdict:
        """Judge a bundle, in a thread.

        Raises:
            NotAdmitted: it is refused (and the mode is ``enforce``), or its files are not those that were opened.
        """
        verdict = await asyncio.to_thread(vet, folder.root, self._settings, self._policy)
        self._on_verdict(folder, verdict)
        if not verdict.admitted and self._settings.mode == "enforce":
            raise NotAdmitted(verdict.reason)
        if verdict.digest and folder.digest and verdict.digest != folder.digest:
            raise NotAdmitted("not admitted: its files have changed since it was found")
        return verdict

    async def admitted(self, folder: BundleFolder) -> BundleFolder:
        """Return the folder with the digest that was judged; the process that builds it checks it again.

        Raises:
            NotAdmitted: see :meth:`admit`.
        """
        digest = (await self.admit(folder)).digest
        # In mode warn a folder may come through that was too odd to be read: what is loaded is told all the same.
        return replace(folder, digest=digest or folder.digest or await asyncio.to_thread(tree_digest, folder.root))


class AdmissionLog:
    """Logs verdicts, and records them in the audit trail. Make it after ``logging.configure``."""

    def __init__(self, mode: str, audit: AuditSink | None = None) -> None:
        self._mode = mode
        self._audit = audit
        self._log = get_logger("bedside.admission").bind()

    def __call__(self, folder: BundleFolder, verdict: Verdict) -> None:
        """Write one event: the names of the rules, not the text, for a bundle's own words do not belong in a log."""
        told = {
            "model": folder.name,
            "version": folder.metadata.version,
            "digest": verdict.digest or folder.digest,
            "trust": verdict.trust,
            "findings": len(verdict.findings),
            "mode": self._mode,
        }
        rules = "+".join(sorted({finding.rule for finding in verdict.refusals})[:_RULES])
        if self._audit is not None:
            about = {name: told[name] for name in ("model", "version", "digest", "trust", "mode")}
            outcome = "success" if verdict.admitted else "failure"
            facts = {**about, "outcome": outcome, "rules": rules or None}
            self._audit.record(Record(AuditAction.BUNDLE_JUDGED, None, facts))
        if verdict.admitted:
            self._log.info(Event.BUNDLE_ADMITTED, **told)
        else:
            self._log.error(Event.BUNDLE_REFUSED, **told, rules=rules)
