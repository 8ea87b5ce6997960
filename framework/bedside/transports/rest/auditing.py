"""Which routes are recorded in the audit trail; of the others, only that somebody was not let in."""

from collections.abc import Mapping
from typing import Any

from bedside.dataplane.auditing import Auditor
from bedside.errors import BedsideError
from bedside.observability.events import AuditAction
from bedside.transports.rest.reply import Scope

ACTIONS: Mapping[tuple[str, str], AuditAction] = {
    ("GET", "/v1/jobs"): AuditAction.JOB_READ,
    ("GET", "/v1/jobs/{job_id}"): AuditAction.JOB_READ,
    ("GET", "/v1/jobs/{job_id}/events"): AuditAction.JOB_READ,
    ("GET", "/v1/jobs/{job_id}/result"): AuditAction.JOB_RESULT_READ,
    ("DELETE", "/v1/jobs/{job_id}"): AuditAction.JOB_CANCELLED,
    ("POST", "/v1/jobs/{job_id}/redrive"): AuditAction.JOB_REDRIVEN,
    ("POST", "/v1/uploads"): AuditAction.UPLOAD_OFFERED,
    ("POST", "/v1/deliveries/{job_id}/redrive"): AuditAction.RESULT_REDRIVEN,
    ("POST", "/v1/models/{model}/truth"): AuditAction.TRUTH_TOLD,
    ("POST", "/v1/models/{model}/reference/renew"): AuditAction.REFERENCE_RENEWED,
    ("POST", "/v2/repository/models/{model}/load"): AuditAction.MODEL_LOAD_REQUESTED,
    ("POST", "/v2/repository/models/{model}/unload"): AuditAction.MODEL_UNLOAD_REQUESTED,
}
_NAMES = {"job_id": "job", "model": "model"}


async def tell(auditor: Auditor, scope: Scope, request_id: str, error: BedsideError | None) -> None:
    """Record one request that FastAPI has routed, before it is answered. Raises AuditUnavailable."""
    action = ACTIONS.get((scope["method"], getattr(scope.get("route"), "path", "")))
    target: dict[str, Any] = {
        _NAMES[name]: value for name, value in scope.get("path_params", {}).items() if name in _NAMES
    }
    if "upload" in scope["state"]:
        target["upload"] = scope["state"]["upload"]
    await auditor.tell(action, "rest", request_id, error, target)
