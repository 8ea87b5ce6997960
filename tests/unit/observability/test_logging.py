"""What a log line looks like, and what never gets into one."""

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.observability.conftest import Capture
from tests.waiting import wait_until

from bedside.observability.events import CATALOGUE, Event
from bedside.observability.logging import configure, get_logger
from bedside.observability.schema import FIELDS
from bedside.settings import Settings

Build = Callable[..., Capture]
NAME = "DOE^JOHN"


def test_line_is_ecs(capture: Build) -> None:
    """Nested objects, except the two that ECS logging libraries write dotted."""
    captured = capture()
    get_logger("bedside.models").info(Event.MODEL_READY, model="spleen_ct", version="0.5.9", load_ms=12.5)
    record = captured.record
    service = record.pop("service")
    assert (service["name"], service["environment"]) == ("bedside-test", "test")
    assert record == {
        "@timestamp": "2026-03-01T12:00:00.250000Z",
        "log.level": "info",
        "message": "model_ready",
        "ecs.version": "9.4.0",
        "event": {"kind": "event", "action": "model_ready", "category": ["configuration"]},
        "log": {"logger": "bedside.models"},
        "inference": {"bundle": {"name": "spleen_ct", "version": "0.5.9"}, "load_ms": 12.5},
    }


def test_field_that_the_event_may_not_carry_is_dropped_and_counted(capture: Build) -> None:
    """Unknown ones, those of other events, and values of another type alike."""
    captured = capture()
    get_logger("x").info(Event.SERVER_READY, models=3, patient_name=NAME, user_hash="00ff", seconds="soon")
    assert captured.record["labels"] == {"dropped_fields": "3"}
    assert NAME not in captured.text
    assert captured.record["inference"] == {"models": 3}


def test_event_that_is_not_in_the_catalogue_loses_its_words(capture: Build) -> None:
    """Somebody may have put a sentence there."""
    captured = capture()
    logger: Any = get_logger("x")
    sentence = f"could not read {NAME}"
    logger.info(sentence, path=sentence)
    assert captured.record["message"] == "event_unlisted"
    assert NAME not in captured.text


def test_field_without_a_value_is_left_out(capture: Build) -> None:
    """None is not null, and not a drop."""
    captured = capture()
    get_logger("x").info(Event.SERVER_STOPPING, reason=None)
    assert "labels" not in captured.record


def test_bound_fields_are_in_each_line(capture: Build) -> None:
    """And go through the same list."""
    captured = capture()
    logger = get_logger("x").bind(model="spleen_ct", patient=NAME)
    logger.info(Event.MODEL_LOADING)
    assert captured.record["inference"]["bundle"]["name"] == "spleen_ct"
    assert NAME not in captured.text


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_less_severe_levels_are_left_out(capture: Build, level: str, lines: int) -> None:
    """log.level is the least one written."""
    captured = capture(level=level)
    logger = get_logger("x")
    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write(Event.SERVER_READY)
    assert len(captured.records) == lines


@pytest.mark.parametrize("level", ["warning", "error"])
def test_warnings_and_errors_are_written_at_once(capture: Build, level: str) -> None:
    """With all that came before them."""
    captured = capture(buffer_lines=1000, buffer_seconds=1000)
    logger = get_logger("x")
    logger.info(Event.SERVER_READY)
    assert captured.stream.getvalue() == b""
    getattr(logger, level)(Event.SERVER_STOPPING)
    wait_until(lambda: captured.stream.getvalue().count(b"\n") == 2)  # by the writer's thread


def test_library_record_keeps_neither_text_nor_arguments(capture: Build) -> None:
    """Whoever wrote the template did not know that the path holds a name."""
    captured = capture()
    logging.getLogger("monai.transforms").warning("reading %s", f"/data/{NAME}.nii", extra={"patient": NAME})
    record = captured.record
    assert record["message"] == "library_message"
    assert record["log"]["logger"] == "monai.transforms"
    assert record["log"]["origin"]["file"]["name"] == "test_logging.py"
    assert NAME not in captured.text
    assert "reading" not in captured.text


def test_exception_of_a_library_keeps_class_and_frames(capture: Build) -> None:
    """Never its text, nor that of the exception behind it."""
    captured = capture()
    try:
        try:
            dict[str, int]()[NAME]
        except KeyError as error:
            raise ValueError(f"bad value {NAME}") from error
    except ValueError:
        logging.getLogger("nibabel").exception("failed for %s", NAME)
    assert captured.record["error"]["type"] == "ValueError"
    assert "test_logging.py" in captured.record["error"]["stack_trace"]
    assert captured.record["log.level"] == "error"
    assert NAME not in captured.text


def test_server_lines_of_uvicorn_are_kept_as_templates(capture: Build) -> None:
    """Process ids and addresses are not filled in."""
    captured = capture()
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.INFO)  # a server that another test has run in this process may have raised it
    logger.info("Finished server process [%d]", 4711)
    assert captured.record["event"]["reason"] == "Finished server process [%d]"


@pytest.mark.parametrize("logger", ["uvicorn.access", "httpx", "httpcore"])
def test_access_lines_are_not_written(capture: Build, logger: str) -> None:
    """Paths name people."""
    captured = capture()
    logging.getLogger(logger).error('"GET /studies/%s"', NAME)
    assert captured.text == ""


def test_record_of_our_own_transport_is_an_event(capture: Build) -> None:
    """A package that does not know structlog logs by the event's name, with fields in `extra`."""
    captured = capture()
    fields = {"request_id": "abc", "error_type": "KeyError", "frames": ["a.py:1 f"], "patient": NAME}
    logging.getLogger("bedside.transports.rest").error("request_error_unexpected", extra=fields)
    record = captured.record
    assert (record["message"], record["http"]["request"]["id"]) == ("request_error_unexpected", "abc")
    assert record["error"] == {"type": "KeyError", "stack_trace": "a.py:1 f"}
    assert NAME not in captured.text


@pytest.mark.parametrize("message", [{"not": "hashable"}, ["x"], 7, None, ValueError(NAME), "request_error %s %s"])
def test_record_that_is_no_text_does_not_raise(capture: Build, message: Any) -> None:
    """Whatever a library hands to its logger, and whatever does not fit its template."""
    captured = capture()
    logging.getLogger("bedside.x").warning(message, "one")
    assert captured.record["message"] == "library_message"
    assert NAME not in captured.text


def test_handler_that_fails_does_not_break_what_logs(
    capture: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does it print the record to standard error instead."""
    capture()
    monkeypatch.setattr("bedside.observability.foreign._event_of", lambda _record: 1 / 0)
    logging.getLogger("x").error("text")
    assert capsys.readouterr().err == ""


def test_python_warnings_lose_their_text(capture: Build) -> None:
    """They quote values."""
    captured = capture()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn(f"odd header of {NAME}", stacklevel=1)
        logging.captureWarnings(capture=False)
    assert captured.record["log"]["logger"] == "py.warnings"
    assert NAME not in captured.text


def test_exception_that_nobody_caught_is_an_event(capture: Build) -> None:
    """In the main thread, in others and in finalisers; the interpreter would print its text."""
    captured = capture()
    try:
        int(NAME)
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    thread = threading.Thread(target=lambda: int(NAME))
    thread.start()
    thread.join()
    assert [record["error"]["type"] for record in captured.records] == ["ValueError", "ValueError"]
    assert "test_logging.py" in captured.records[1]["error"]["stack_trace"]
    assert NAME not in captured.text


def test_failing_finaliser_is_an_event(capture: Build) -> None:
    """Python calls it unraisable and prints it."""
    captured = capture()

    class Failing:
        """Fails when it is collected."""

        def __del__(self) -> None:
            raise ValueError(NAME)

    Failing()
    assert captured.record["error"]["type"] == "ValueError"
    assert NAME not in captured.text


def test_keyboard_interrupt_is_left_to_the_interpreter(capture: Build, capsys: pytest.CaptureFixture[str]) -> None:
    """Who presses Ctrl-C expects what Python does."""
    captured = capture()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert captured.text == ""
    assert "KeyboardInterrupt" in capsys.readouterr().err


def test_console_is_as_strict_as_json(capture: Build) -> None:
    """One line for each event, for people, with the same fields and no others."""
    captured = capture(format="console")
    get_logger("bedside.models").info(Event.MODEL_READY, model="spleen_ct", patient=NAME, frames=["a"])
    get_logger("x").error(Event.RESCAN_FAILED, frames=["a.py:1 f", "b.py:2 g"])
    first, second = captured.text.splitlines()
    assert "12:00:00.250" in first
    assert "model_ready" in first
    assert "model=spleen_ct" in first
    assert "dropped_fields=2" in first
    assert "b.py:2 g" in second
    assert NAME not in captured.text


def test_standard_output_is_the_default(tmp_path: Any) -> None:
    """Lines arrive at the end of the process although nobody flushed."""
    program = (
        "from bedside.observability.logging import configure, get_logger\n"
        "from bedside.observability.events import Event\n"
        "from bedside.settings import Settings\n"
        "configure(Settings())\n"
        "get_logger('x').info(Event.SERVER_READY, models=1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout)["message"] == "server_ready"


def test_reader_that_has_gone_does_not_fail_the_process() -> None:
    """A broken pipe is counted, not raised, and the exit status stays 0."""
    program = (
        "import sys\n"
        "from bedside.observability.logging import configure, get_logger\n"
        "from bedside.observability.events import Event\n"
        "from bedside.settings import Settings\n"
        "log = configure(Settings())\n"
        "sys.stdin.readline()\n"
        "get_logger('x').error(Event.SERVER_READY, models=1)\n"
        "log.close()\n"
        "print(log.lost_lines, file=sys.stderr)\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(b"\n", timeout=60)
    assert (process.returncode, errors.strip()) == (0, b"1")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    event=st.sampled_from(list(Event)),
    values=st.dictionaries(
        st.sampled_from([*FIELDS, "patient", "exc_info", "stack_info", "timestamp"]),
        st.one_of(
            st.just(NAME),
            st.just([NAME]),
            st.just({NAME: NAME}),
            st.just(NAME.encode()),
            st.just(ValueError(NAME)),
            st.text(),
            st.integers(),
            st.floats(),
        ),
    ),
)
def test_whatever_is_logged_is_one_line_of_the_catalogue(event: Event, values: dict[str, Any]) -> None:
    """Any value in any field: one line of JSON, and a planted name only where our own text fields may hold text."""
    stream = io.BytesIO()
    log = configure(Settings(), stream=stream)
    get_logger("x").info(event, **values)
    log.close()
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == event.value
    texts = {"text", "frames"} & CATALOGUE[event].fields & values.keys()
    assert texts or NAME not in line.decode()
