"""Bulk requests by Elastic's own client: what became of each line, and errors told apart by what may help."""

import socket
import ssl
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from elastic_transport import NodeConfig, Urllib3HttpNode
from elasticsearch import ApiError, Elasticsearch, TransportError
from urllib3 import BaseHTTPResponse

from bedside.log_settings import ElasticSettings
from bedside.observability.deadline import Deadline
from bedside.observability.shipping.spool import SpooledLine
from bedside.observability.shipping.verdicts import NotDelivered, Refusal, Verdict

_TAKEN = {200, 201, 409}  # 409: an earlier attempt brought it
_NEVER = {400, 413}  # what is wrong is the line; all else may pass, or be mended: a key, a template, a full cluster
_ANSWER = ("items.*.status", "items.*.error.type")
MOST_BYTES = 4 * 1024 * 1024
"""Of an answer: some hundred for each line of the largest batch."""
_CHUNK_BYTES = 65536


class _Node(Urllib3HttpNode):
    """Elastic's own way to one address, whose answers come to an end: after a time, and after so many bytes."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        deadline, open_ = Deadline(), self.pool.urlopen
        kind: Any = self.pool.ConnectionCls  # HTTP or HTTPS

        class Connection(kind):  # type: ignore[misc]
            def _new_conn(self) -> socket.socket:
                found: socket.socket = super()._new_conn()
                deadline.uses(found)
                return found

        def bounded(method: str, target: str, *, timeout: float, **options: Any) -> SimpleNamespace:
            with deadline.within(timeout):
                # Unpacked, a few kilobytes may be gigabytes; nothing packed was asked for.
                options |= {"preload_content": False, "decode_content": False}
                answer = open_(method, target, timeout=timeout, **options)
                try:
                    data = _read(answer)
                except BaseException:
                    answer.close()
                    raise
                finally:
                    answer.release_conn()
            return SimpleNamespace(status=answer.status, headers=answer.headers, data=data)

        self.pool.ConnectionCls = Connection
        self.pool.urlopen = bounded  # type: ignore[method-assign, assignment]


def _read(answer: BaseHTTPResponse) -> bytes:
    data = b""
    while chunk := answer.read(_CHUNK_BYTES, decode_content=False):
        data += chunk
        if len(data) > MOST_BYTES:
            raise ValueError("an answer without end")
    return data


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
            node_class=_Node,
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
