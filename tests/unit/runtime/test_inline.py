"""Bundles on the server's own event loop."""

import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bedside.bundle.folder import open_bundle
from bedside.errors import LoadFailed, ModelNotReady
from bedside.interfaces import NotInline
from bedside.runtime import inline
from bedside.runtime.inline import InlineExecutor
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.types import ValidatedInputs


@pytest.fixture
async def executor(bundles: Path, settings: Settings, staging: Staging) -> AsyncIterator[InlineExecutor]:
    """Return an executor of the record bundle, not yet loaded."""
    executor = InlineExecutor(open_bundle(bundles / "record_classification"), settings.runtime, staging)
    yield executor
    await executor.close()


async def test_it_answers_once_it_is_loaded(executor: InlineExecutor, record: ValidatedInputs) -> None:
    """Loading gives the contract, running the probabilities."""
    contract = await executor.load()
    assert (executor.ready, executor.device, contract.model) == (True, "cpu", "record_classification")
    prediction = await executor.run(record, timeout_seconds=1.0)
    assert prediction.arrays[0].array.sum() == pytest.approx(1.0)


async def test_it_is_not_ready_before_and_after(executor: InlineExecutor, record: ValidatedInputs) -> None:
    """Without a model there is no answer."""
    with pytest.raises(ModelNotReady):
        await executor.run(record, timeout_seconds=1.0)
    await executor.load()
    await executor.close()
    assert not executor.ready


async def test_what_monai_logs_stays_off_standard_output(
    executor: InlineExecutor, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Its loggers print on standard output, which holds one JSON object a line; they are led to the root's handler."""
    printing = logging.getLogger("monai.bundle.workflows")
    printing.propagate = False
    printing.addHandler(logging.StreamHandler(sys.stdout))
    await executor.load()
    assert capsys.readouterr().out == ""
    assert "monai.bundle.workflows" in {record.name for record in caplog.records}


async def test_close_leaves_no_file(executor: InlineExecutor, staging: Staging) -> None:
    """The bundle's output folder goes with it."""
    await executor.load()
    await executor.close()
    assert list(staging._root.iterdir()) == []


async def test_a_bundle_that_cannot_be_built_is_told(bundles: Path, settings: Settings, staging: Staging) -> None:
    """The same errors as in a process."""
    executor = InlineExecutor(open_bundle(bundles / "missing_weights"), settings.runtime, staging)
    with pytest.raises(LoadFailed, match=r"model\.pt"):
        await executor.load()
    assert not executor.ready
    await executor.close()
    assert list(staging._root.iterdir()) == []


async def test_what_a_record_takes_is_told(bundles: Path, settings: Settings, staging: Staging) -> None:
    """In seconds, once it is loaded, and within the bound."""
    told: list[float] = []
    folder = open_bundle(bundles / "record_classification")
    executor = InlineExecutor(folder, settings.runtime, staging, told.append)
    await executor.load()
    await executor.close()
    (seconds,) = told
    assert 0 < seconds <= settings.runtime.inline_seconds


async def test_a_network_that_is_slow_by_itself_is_not_tried_further(
    executor: InlineExecutor, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaner ways for records spare the evaluator's machinery alone: a slow network is seen before they are tried."""
    monkeypatch.setattr(inline, "_MACHINERY_SECONDS", 0.0)
    monkeypatch.setattr(inline, "_ROUNDS", 0)  # the median of none would raise another error
    executor._settings = settings.runtime.model_copy(update={"inline_seconds": 1e-9})
    with pytest.raises(NotInline, match="too_slow"):
        await executor.load()


async def test_what_takes_no_record_is_for_a_process(bundles: Path, settings: Settings, staging: Staging) -> None:
    """Records alone are handed to what runs on the event loop."""
    executor = InlineExecutor(open_bundle(bundles / "plane_classification"), settings.runtime, staging)
    with pytest.raises(NotInline, match="not_records"):
        await executor.load()
    await executor.close()
    assert not executor.ready
