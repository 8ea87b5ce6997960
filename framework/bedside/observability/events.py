"""The catalogue of log events: static names, and which fields each may carry (``schema.yaml``).

An event is a name for something that happens, not a sentence about it: names are searched, counted and alerted on.
"""

from enum import StrEnum

from bedside.observability.schema import RULES, EventRule


class Event(StrEnum):
    """Every event there is: the names of ``schema.yaml`` where mypy sees a misspelt one."""

    SERVER_STARTED = "server_started"
    SERVER_READY = "server_ready"
    SERVER_STOPPING = "server_stopping"
    SERVER_STOPPED = "server_stopped"
    BUNDLE_ADMITTED = "bundle_admitted"
    BUNDLE_REFUSED = "bundle_refused"
    MODEL_LOADING = "model_loading"
    MODEL_READY = "model_ready"
    MODEL_LOAD_FAILED = "model_load_failed"
    MODEL_UNLOADED = "model_unloaded"
    GOLDEN_CASES_PASSED = "golden_cases_passed"
    GOLDEN_CASES_FAILED = "golden_cases_failed"
    ACCELERATION_DROPPED = "acceleration_dropped"
    MODEL_EXECUTION_CHOSEN = "model_execution_chosen"
    SOURCE_UNAVAILABLE = "source_unavailable"
    RESCAN_FAILED = "rescan_failed"
    MODEL_PROCESS_STARTED = "model_process_started"
    MODEL_PROCESS_CRASHED = "model_process_crashed"
    INFERENCE_COMPLETED = "inference_completed"
    REQUEST_ERROR_UNEXPECTED = "request_error_unexpected"
    JOB_ATTEMPT_ENDED = "job_attempt_ended"
    JOB_REDRIVEN = "job_redriven"
    JOB_STORE_FAILED = "job_store_failed"
    RESULT_DELIVERED = "result_delivered"
    RESULT_NOT_DELIVERED = "result_not_delivered"
    STUDY_TAKEN = "study_taken"
    STUDY_HELD = "study_held"
    REFERENCE_NOT_RETRIEVED = "reference_not_retrieved"
    INSTANCE_REFUSED = "instance_refused"
    INBOX_FAILED = "inbox_failed"
    TOKEN_KEYS_REFRESHED = "token_keys_refreshed"  # noqa: S105 - an event's name
    TOKEN_KEYS_STALE = "token_keys_stale"  # noqa: S105 - an event's name
    TOKEN_KEYS_UNAVAILABLE = "token_keys_unavailable"  # noqa: S105 - an event's name
    LOG_SHIPPING_FAILED = "log_shipping_failed"
    LOG_SHIPPING_RESUMED = "log_shipping_resumed"
    LOG_LINES_REFUSED = "log_lines_refused"
    LOG_SPOOL_FULL = "log_spool_full"
    LOG_SPOOL_DAMAGED = "log_spool_damaged"
    TELEMETRY_NOT_SENT = "telemetry_not_sent"
    TELEMETRY_SENT_AGAIN = "telemetry_sent_again"
    TELEMETRY_FAILED = "telemetry_failed"
    LIBRARY_MESSAGE = "library_message"
    UNCAUGHT_EXCEPTION = "uncaught_exception"
    LOG_LINES_LOST = "log_lines_lost"
    AUDIT_WRITE_FAILED = "audit_write_failed"
    AUDIT_ANCHORED = "audit_anchored"
    AUDIT_RECORDS_MISSED = "audit_records_missed"
    EVENT_UNLISTED = "event_unlisted"
    DELIVERY_ENDED = "delivery_ended"
    CANDIDATE_JUDGED = "candidate_judged"
    PREDICTIONS_SUMMARISED = "predictions_summarised"
    TRUTH_RECEIVED = "truth_received"
    TRUTHS_SUMMARISED = "truths_summarised"
    TRUTH_ERRORS_SUMMARISED = "truth_errors_summarised"


class AuditAction(StrEnum):
    """Every record of the audit trail (``schema.yaml``)."""

    MODEL_CALLED = "model_called"
    ACCESS_REFUSED = "access_refused"
    JOB_READ = "job_read"
    JOB_RESULT_READ = "job_result_read"
    JOB_CANCELLED = "job_cancelled"
    JOB_REDRIVEN = "job_redriven"
    RESULT_REDRIVEN = "result_redriven"
    UPLOAD_OFFERED = "upload_offered"
    MODEL_LOAD_REQUESTED = "model_load_requested"
    MODEL_UNLOAD_REQUESTED = "model_unload_requested"
    TRUTH_TOLD = "truth_told"
    REFERENCE_RENEWED = "reference_renewed"
    BUNDLE_JUDGED = "bundle_judged"
    CHAIN_OPENED = "chain_opened"
    CHAIN_CLOSED = "chain_closed"
    RECORDS_LOST = "records_lost"
    STRANGERS_COUNTED = "strangers_counted"
    SEGMENT_RETIRED = "segment_retired"


CATALOGUE: dict[Event, EventRule] = {event: RULES[event.value] for event in Event}
"""The allow-list of every event."""
