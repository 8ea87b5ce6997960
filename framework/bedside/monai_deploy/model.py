"""One bundle, asked without a server: a folder in, files out, along the stages that a request takes.

An application has no caller to authenticate: who may start the container, or Python, may ask. Everything else is the
service's, so the answer is, too: admission, the model's own confined process, contract, codecs.
"""

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bedside import bootstrap
from bedside.bundle.contract import Contract
from bedside.bundle.folder import find_bundles, open_bundle
from bedside.bundle.media_types import OCTETS, media_type_of_suffix, suffix_of_media_type
from bedside.bundle.study import archive_of, files_in
from bedside.bundle.validation import validate
from bedside.codecs import Answers, Codecs
from bedside.codecs.dicom import ZIP, write_results
from bedside.errors import ConfigurationError, PayloadTooLarge, UnknownInput
from bedside.settings import LimitSettings, Settings
from bedside.types import DecodedImage, Prediction, RawPart, ValidatedInputs

if TYPE_CHECKING:
    from bedside.interfaces import Executor

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file to write; its name comes from us, and holds nothing of the input's."""

    name: str
    data: bytes = field(repr=False)


class LocalModel:
    """A bundle in a process of its own, for callers without an event loop; not for several threads at once.

    Open it once for many inputs: that builds the bundle and makes a forward pass.

    Args:
        root: the bundle's folder.
        settings: as of ``bedside serve``; ``limits``, ``admission``, ``runtime`` and ``jobs.run_seconds`` count.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        self._root = root
        self._settings = settings
        self._codecs = Codecs(settings.limits)
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._executor: Executor
        self._contract: Contract

    def __enter__(self) -> Self:
        """Admit the bundle and load it. Raises BundleError."""
        loading = bootstrap.loaded(self._settings, open_bundle(self._root))
        self._executor, self._contract = self._run(self._stack.enter_async_context(loading))
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._run(self._stack.aclose())
        self._runner.close()

    def answer(self, part: RawPart) -> list[ResultFile]:
        """Stages 4 to 8: decode, validate, run, encode.

        DICOM is answered with DICOM objects (``segmentation.dcm``, ``report.dcm`` …), anything else with the media type
        that the service prefers for this model, as ``result.<suffix>``.

        Raises:
            RequestError: the input was refused; for DICOM, one leaf per reason.
            ModelFailure, DeadlineExceeded: the bundle failed, or took longer than ``jobs.run_seconds``.
        """
        contract = self._contract
        if contract.only is None:
            raise UnknownInput("an application has one input, this bundle takes several", field="input")
        inputs = validate(contract, [self._codecs.decode_part(part, contract.only)])
        running = self._executor.run(inputs, timeout_seconds=self._settings.jobs.run_seconds)
        return _written(contract, inputs, self._run(running))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        with _main_hidden():
            return self._runner.run(work)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep multiprocessing from importing the application's file, and Holoscan with it, into the model's process."""
    main = sys.modules["__main__"]
    file, spec = getattr(main, "__file__", None), main.__spec__
    main.__file__ = main.__spec__ = None
    try:
        yield
    finally:
        main.__file__, main.__spec__ = file, spec


def read_folder(folder: Path, limits: LimitSettings) -> RawPart:
    """Stage 1: return what lies in a folder and its sub-folders as one input.

    One file whose suffix tells its media type is that file; everything else is a DICOM study.

    Raises:
        ConfigurationError: there is no such folder, or nothing in it.
        PayloadTooLarge: its files have more than ``limits.body_bytes`` together.
    """
    paths = files_in(folder) if folder.is_dir() else []
    if not paths:
        raise ConfigurationError("the input folder holds no file", field="input")
    if sum(path.stat().st_size for path in paths) > limits.body_bytes:
        raise PayloadTooLarge(f"the input has more than {limits.body_bytes} bytes (limits.body_bytes)", field="input")
    if len(paths) == 1 and media_type_of_suffix(paths[0].suffix) != OCTETS:
        return RawPart(None, media_type_of_suffix(paths[0].suffix), paths[0].read_bytes())
    return RawPart(None, ZIP, archive_of(paths))


def bundle_in(*places: Path) -> Path:
    """Return the bundle in the first of these folders that is one, or holds one.

    Raises:
        ConfigurationError: there is none, or several in one place.
    """
    for place in places:
        try:
            found = find_bundles([place])
        except ConfigurationError:
            continue
        if len(found) > 1:
            raise ConfigurationError("several bundles lie there; name one of them with --model", field="model")
        return found[0]
    raise ConfigurationError("no MONAI bundle (configs/metadata.json); name its folder with --model", field="model")


def _written(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> list[ResultFile]:
    item, spec = inputs.items[0], contract.only
    if spec is not None and isinstance(item, DecodedImage) and item.source is not None:
        objects = write_results(item.source, contract, prediction, spec.dicom, inputs=inputs)
        return [ResultFile(f"{found.kind}.dcm", found.data) for found in objects]
    answers = Answers()
    answer = answers.encode(answers.available(contract)[0], contract, inputs, prediction)
    return [ResultFile(f"result{suffix_of_media_type(answer.media_type)}", answer.body)]
