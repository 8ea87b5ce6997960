"""Bulk requests by Elastic's own client: what became of each line, and errors told apart by what may help."""

import ssl
from collections.abc import Sequence

from elasticsearch import ApiError, Elasticsearch, TransportError

from bedside.log_settings import ElasticSettings
from bedside.observability.shipping.spool import SpooledLine
from bedside.observability.shipping.verdicts import NotDelivered, Refusal, Verdict

_TAKEN = {200, 201, 409}  # 409: an earlier attempt brought it
_NEVER = {400, 413}  # what is wrong is the line; all else may pass, or be mended: a key, a template, a full cluster
_ANSWER = ("items.*.status", "items.*.error.type")


class BulkClient:
    """Sends batches to one data stream.

    Args:
        settings: addresses, key, time-out.
        stream: name of the data stream.
    """

    def __init__(self, settings: ElasticSettings, stream: str) -> None:
        self._key_file = settings.api_key_file
        self._stream = stream
        secure = any(url.startswith("https:") for url in settings.urls)
        self._client = Elasticsearch(
            list(settings.urls),
            ssl_context=ssl.create_default_context(cafile=settings.ca_certificates) if secure else None,
            request_timeout=settings.timeout_seconds,
            max_retries=0,
        )

    def send(self, batch: Sequence[SpooledLine]) -> Verdict:
        """Send lines in their order. Raises NotDelivered."""
        operations: list[bytes] = []
        for entry in batch:
            operations += (b'{"create":{"_id":"%s"}}' % entry.id.encode(), entry.line)
        try:
            key = None if self._key_file is None else self._key_file.read_text(encoding="ascii").strip()
            client = self._client if key is None else self._client.options(api_key=key)
            answer = client.bulk(operations=operations, index=self._stream, filter_path=_ANSWER)  # type: ignore[arg-type]
            items = [item["create"] for item in answer["items"]]
        except ApiError as error:
            raise NotDelivered(type(error).__name__, error.status_code) from None
        except (TransportError, OSError, ValueError, LookupError, TypeError) as error:
            raise NotDelivered(type(error).__name__) from None
        if len(items) != len(batch):
            raise NotDelivered("IncompleteAnswer")
        return _verdict(batch, items)

    def close(self) -> None:
        """Close connections."""
        self._client.close()


def _verdict(batch: Sequence[SpooledLine], items: Sequence[dict[str, object]]) -> Verdict:
    refused: list[Refusal] = []
    for place, (line, item) in enumerate(zip(batch, items, strict=True)):
        status = int(str(item["status"]))
        if status not in _TAKEN | _NEVER:
            return Verdict(place, tuple(refused), status)
        if status in _NEVER:
            cause = item.get("error")
            kind = cause.get("type") if isinstance(cause, dict) else None
            refused.append(Refusal(line, status, str(kind)))
    return Verdict(len(batch), tuple(refused), None)
