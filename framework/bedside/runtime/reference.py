"""Runs a bundle as ``python -m monai.bundle run`` does, in a fresh process, to compare with what is served.

The process is confined as a model's is (``sandbox``): the same code of the same bundle runs in it.
"""

import asyncio
import shutil
import socket
from collections.abc import Mapping
from multiprocessing.connection import Connection

from bedside.bundle.agreement import NotComparable
from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.runtime import wire
from bedside.runtime.model_process import started
from bedside.runtime.reference_item import ReferenceItem, item_of
from bedside.runtime.sandbox import Room
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings
from bedside.types import Prediction, RawPart, RawRecord

_REASON_LETTERS = 1000


class MonaiRun:
    """Runs one bundle, one item at a time, each in a process of its own.

    Args:
        folder: the bundle, admitted.
        contract: the model's; names the numbers of records.
        settings: ``load_seconds`` is what one run may take, ``sandbox`` what confines it.
        staging: where its process gets its folder.
    """

    def __init__(self, folder: BundleFolder, contract: Contract, settings: RuntimeSettings, staging: Staging) -> None:
        self._folder = folder
        self._features = {
            spec.name: tuple(feature.name for feature in spec.features) for spec in contract.inputs if spec.features
        }
        self._settings = settings
        self._staging = staging

    async def __call__(self, inputs: Mapping[str, RawPart | RawRecord]) -> Prediction:
        """Run one item; return the images that the bundle wrote, or else the arrays that its engine left.

        Raises:
            NotComparable: the bundle cannot be run that way; the text says why.
        """
        return await asyncio.to_thread(self._run, inputs)

    def _run(self, inputs: Mapping[str, RawPart | RawRecord]) -> Prediction:
        room = Room(self._staging.folder(), (self._folder.root, *self._settings.readable_paths))
        room.make()
        try:
            return self._run_in(room, item_of(inputs, self._features, room.inputs))
        finally:
            shutil.rmtree(room.private, ignore_errors=True)

    def _run_in(self, room: Room, item: ReferenceItem) -> Prediction:
        process, channel = started(_run_worker, (self._folder, self._settings, room, item), "bedside-reference")
        try:
            with channel:
                channel.settimeout(self._settings.load_seconds)
                return _received(channel, self._settings.answer_bytes)
        except TimeoutError:
            raise NotComparable(f"not done after {self._settings.load_seconds:.0f} s (runtime.load_seconds)") from None
        except (EOFError, ConnectionError):
            raise NotComparable("its process ended before it had an answer") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise NotComparable("its process wrote something else than an answer into its channel") from None
        finally:
            process.kill()
            process.join()


def _run_worker(
    connection: Connection, folder: BundleFolder, settings: RuntimeSettings, room: Room, item: ReferenceItem
) -> None:
    from bedside.runtime.reference_worker import main  # noqa: PLC0415 - torch is for that process

    main(connection, folder, settings, room, item)


def _received(channel: socket.socket, most_bytes: int) -> Prediction:
    header = wire.parse_header(_exactly(channel, wire.header_length(_exactly(channel, wire.LENGTH_BYTES))))
    if "failed" in header:
        raise NotComparable(str(header["failed"])[:_REASON_LETTERS])
    buffers = [_exactly(channel, length) for length in wire.bounded_lengths(header, most_bytes)]
    return wire.unpack_prediction(header["prediction"], buffers, most_bytes)


def _exactly(channel: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = channel.recv(min(length - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
