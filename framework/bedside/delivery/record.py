"""What is told of deliveries: one event for each bundle, however many replicas run it (``schema.yaml``).

Git remembers what is needed for that: which commit changed a bundle, and when a digest was pinned in an environment.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bedside.delivery.pins import PINS, git
from bedside.delivery.verdict import Verdict
from bedside.observability.events import Event
from bedside.observability.logging import get_logger

Operation = Literal["deploy", "promote", "rollback"]

_COMMIT = re.compile(r"[0-9a-f]{40,64} \d+")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One version of one bundle on its way to one environment.

    Attributes:
        environment: where it shall run.
        target: what that runs on.
        operation: ``rollback`` where it ran there before.
        model: the bundle's name.
        artifact: digest of its OCI artifact.
        commit: the commit that changed the bundle; empty where git knows none.
        committed: when that was, in seconds since 1970.
        replaced_since: when what it takes the place of was pinned, where it is taken back.
    """

    environment: str
    target: str
    operation: Operation
    model: str
    artifact: str
    commit: str = ""
    committed: float | None = None
    replaced_since: float | None = None

    def told(self, error: BaseException | None, seconds: float) -> dict[str, Any]:
        """Return the fields of its event: how it ended, and when that was by the clock of now."""
        failed, back, now = error is not None, self.operation == "rollback", time.time()
        fields: dict[str, Any] = {
            "operation": self.operation,
            "outcome": "failure" if failed else "success",
            "outcome_ok": int(not failed),
            "model": self.model,
            "delivery_environment": self.environment,
            "delivery_target": self.target,
            "delivery_artifact": self.artifact,
            "delivery_change_failed": int(failed or back),
            "seconds": round(seconds, 3),
            "error_type": type(error).__name__ if error is not None else None,
        }
        if self.commit and self.committed is not None:
            fields["delivery_commit"] = self.commit
            fields["delivery_committed"] = datetime.fromtimestamp(self.committed, UTC).isoformat()
            if not (failed or back):
                fields["delivery_lead_seconds"] = max(0.0, round(now - self.committed, 3))
        if back and not failed and self.replaced_since is not None:
            fields["delivery_restored_seconds"] = max(0.0, round(now - self.replaced_since, 3))
        return fields


def deliveries(
    environment: Path,
    target: str,
    before: Mapping[str, str],
    after: Mapping[str, str],
    operation: Operation | None = None,
) -> list[Delivery]:
    """Return what changes between two sets of pinned references.

    Args:
        environment: folder of the pins, in a git repository that knows their history.
        target: what the environment runs on.
        before: references by model that it ran.
        after: those that it shall run.
        operation: None where git shall tell a deployment from a roll-back: of what was pinned before, and not since.
    """
    found = []
    for model, reference in sorted(after.items()):
        replaced = before.get(model)
        if reference == replaced:
            continue
        artifact = reference.partition("@")[2]
        # In, out, and in again is back.
        kind = operation or ("rollback" if len(_pinned(environment, artifact)) > 2 else "deploy")
        since = _since(environment, replaced.partition("@")[2]) if replaced and kind == "rollback" else None
        commit, committed = _change(environment, model, artifact)
        found.append(Delivery(environment.name, target, kind, model, artifact, commit, committed, since))
    return found


@contextmanager
def recorded(changes: Sequence[Delivery]) -> Iterator[None]:
    """Log, after the block, how each of some deliveries ended."""
    begin, error = time.monotonic(), None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        events, seconds = get_logger(__name__), time.monotonic() - begin
        for change in changes:
            (events.warning if error else events.info)(Event.DELIVERY_ENDED, **change.told(error, seconds))


def record_verdict(verdict: Verdict) -> None:
    """Log what a gate decided, and how far the candidate was from production."""
    fields: dict[str, Any] = {
        "model": verdict.model,
        "version": verdict.version,
        "digest": verdict.digest,
        "gate_decision": verdict.decision,
        "seconds": round(sum(stage.seconds for stage in verdict.stages), 3),
    }
    names = {"failures": "gate_failed", "slower": "gate_slower", "disagreements": "gate_disagreed"}
    for rule, name in names.items():
        seen = [finding for stage in verdict.stages for finding in stage.findings if finding.rule.name == rule]
        if requests := sum(finding.requests for finding in seen):
            fields[name] = sum(finding.hits for finding in seen) / requests
    events = get_logger(__name__)
    (events.info if verdict.decision == "promote" else events.warning)(Event.CANDIDATE_JUDGED, **fields)


def _since(environment: Path, artifact: str) -> float | None:
    """Return when an artifact was pinned in an environment for the last time."""
    moments = _pinned(environment, artifact)
    # The newest is an unpinning where there is an even number of both.
    return moments[1 - len(moments) % 2] if moments else None


def _pinned(environment: Path, artifact: str) -> list[float]:
    """Return when an artifact was pinned and unpinned in an environment, newest first."""
    return [float(line) for line in git(environment, "log", "--format=%ct", f"-S{artifact}", "--", PINS).split()]


def _change(environment: Path, model: str, artifact: str) -> tuple[str, float | None]:
    """Return the commit that changed a bundle last when the artifact was pinned for the first time, and its moment."""
    first = git(environment.parent, "log", "--reverse", "--format=%H", f"-S{artifact}", "--", f"*/{PINS}").split()
    known = git(environment, "log", "-1", "--format=%H %ct", *first[:1], "--", f":/apps/{model}").strip()
    if not _COMMIT.fullmatch(known):
        return "", None
    commit, moment = known.split()
    return commit, float(moment)
