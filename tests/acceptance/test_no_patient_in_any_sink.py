"""Whatever a caller sends, by whatever transport and however it fails, nothing that identifies a patient is written.

A case is one identifier of one patient, brought one way, looked for in one sink. Every patient is brought one way only,
so that what is found tells how it came. A new sink is one more function in ``SINKS``.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.acceptance.conftest import APPS, Served, start_program, stop
from tests.acceptance.patients import ELSEWHERE, IN_JSON, Patient, Ward, Way, admitted
from tests.emitted import check_lines
from tests.otlp import collector

from bedside.delivery.processes import free_port

NOISY = Path(__file__).with_name("noisy_server.py")
SAID_BY_A_BUNDLE = "DOE^JOHN"
ROUNDS = 5


def _files(folder: Path, wanted: Callable[[Path], bool]) -> bytes:
    found = [path for path in sorted(folder.rglob("*")) if wanted(path.relative_to(folder))]
    texts = [str(path).encode() for path in found]
    for path in found:
        with suppress(FileNotFoundError, IsADirectoryError):  # jobs go on meanwhile
            texts.append(path.read_bytes())
    return b"\n".join(texts)


def _listings(ward: Ward) -> bytes:
    paths = ("/v1/jobs?limit=1000", "/v1/models", "/openapi.json", "/v1/deliveries")
    index = ward.http.post("/v2/repository/index")
    return "\n".join([*(ward.http.get(path).text for path in paths), index.text]).encode()


SINKS: Mapping[str, Callable[[Served, Ward], bytes]] = {
    "standard output and error": lambda served, _: served.log.read_bytes(),
    "metrics": lambda _, ward: ward.http.get("/metrics").content,
    "audit trail": lambda served, _: _files(served.state, lambda path: path.parts[0] == "audit"),
    "spool, inbox and jobs' database": lambda served, _: _files(served.state, lambda path: path.parts[0] != "audit"),
    "names of staged files": lambda served, _: "\n".join(
        map(str, (served.state.parent / "staging").rglob("*"))
    ).encode(),
    "listings": lambda _, ward: _listings(ward),
    "spans and metrics for a collector": lambda served, _: _files(served.state.parent / "otlp", lambda _: True),
    "what an archive is told beside the result": lambda served, _: _files(
        served.state.parent / "archive", lambda _: True
    ),
    "answers to who was refused": lambda _, ward: "\n".join(ward.told).encode(),
}


@contextmanager
def _ward(bundles: list[Path], folder: Path, **environment: str) -> Iterator[tuple[Served, Ward]]:
    dicom = free_port()
    (folder / "staging").mkdir(parents=True)
    variables = {
        "BEDSIDE_ADMISSION": "warn",
        "BEDSIDE_LOG__LEVEL": "debug",
        "BEDSIDE_RUNTIME__STAGING_DIR": str(folder / "staging"),
        "BEDSIDE_RUNTIME__FORECAST_SECONDS": "0",
        "BEDSIDE_AUDIT__DURABILITY": "strict",
        "BEDSIDE_JOBS__ATTEMPTS": "1",
        "BEDSIDE_MONITORING__PREDICTIONS_SECONDS": "3600",
        "BEDSIDE_MONITORING__WINDOW_SECONDS": "1",
        "BEDSIDE_MONITORING__WINDOW_PREDICTIONS": "50",
        "BEDSIDE_DICOM__PORT": str(dicom),
        "BEDSIDE_DICOM__CALLING_AE_TITLES": '["SCANNER"]',
        "BEDSIDE_DICOM__STABLE_SECONDS": "1",
        "BEDSIDE_DICOM__RESULTS_TO": '["pacs"]',
        "BEDSIDE_DICOM__ROUTES": '[{"model": "volume_segmentation"}]',
        **environment,
    }
    with collector(folder / "otlp") as receiver, collector(folder / "archive", bodies=False) as archive:
        tracing = {"ENDPOINT": receiver.endpoint, "RATIO": "1", "FLUSH_SECONDS": "0.1"}
        variables |= {f"BEDSIDE_TRACING__{name}": value for name, value in tracing.items()}
        metrics = {"ENDPOINT": f"{receiver.url}/v1/metrics", "INTERVAL_SECONDS": "1"}
        variables |= {f"BEDSIDE_METRICS__{name}": value for name, value in metrics.items()}
        variables["BEDSIDE_DICOM__DESTINATIONS"] = json.dumps({"pacs": {"url": archive.url}})
        served = start_program([str(NOISY)], bundles, folder, variables)
        try:
            with served.client("bedside.infer", "bedside.admin", "bedside.truth") as client:
                yield served, Ward(client, served.grpc, dicom, [])
        finally:
            stop(served)


def _hits(served: Served, ward: Ward, ways: Mapping[str, Way], rounds: int) -> tuple[int, list[str]]:
    """Bring patients every way; return the number of cases, and what was found where."""
    patients: list[tuple[str, Patient]] = list(admitted(ward, dict(ways), rounds))
    texts = {name: read(served, ward).decode("latin-1").casefold() for name, read in SINKS.items()}
    cases, found = 0, []
    for way, patient in patients:
        for identifier in patient.identifiers:
            cases += len(texts)
            found += [f"{way}: {identifier} in {sink}" for sink, text in texts.items() if identifier.casefold() in text]
    found += [f"a bundle's exception in {sink}" for sink, text in texts.items() if SAID_BY_A_BUNDLE.casefold() in text]
    return cases, found


def test_no_patient_is_in_any_sink(tmp_path: Path, bundles: Path) -> None:
    """Not one in ten thousand cases, though a library logs all that it is given and a bundle raises it."""
    models = [APPS / "heart_disease", bundles / "volume_segmentation", bundles / "misbehaving"]
    with _ward(models, tmp_path) as (served, ward):
        cases, found = _hits(served, ward, IN_JSON | ELSEWHERE, ROUNDS)
        jobs = ward.http.get("/v1/jobs?limit=1000").json()
    log = served.log.read_bytes()
    assert found == []
    assert cases >= 10_000
    # It was looked where something is: all that should have left a trace has.
    check_lines(log, mixed=True)
    events = {json.loads(line)["message"] for line in log.splitlines() if line.startswith(b"{")}
    assert {"inference_completed", "library_message", "instance_refused"} <= events
    assert {"RunFailed", "MissingSlice"} <= {
        json.loads(line).get("error", {}).get("type") for line in log.splitlines() if line.startswith(b"{")
    }
    assert {job["model"] for job in jobs} == {"volume_segmentation", "misbehaving"}
    assert b'"truth_told"' in SINKS["audit trail"](served, ward)
    assert b'"model_called"' in SINKS["audit trail"](served, ward)
    sent = SINKS["spans and metrics for a collector"](served, ward)
    assert all(name in sent for name in (b"predict heart_disease", b"deliver volume_segmentation", b"bedside_requests"))
    assert b"'traceparent': '00-" in SINKS["what an archive is told beside the result"](served, ward)


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """With the redaction switched off, the same search finds patients in the log; else a test of nothing would pass."""
    with _ward([APPS / "heart_disease"], tmp_path, NOISY_REDACTION="off") as (served, ward):
        _, found = _hits(served, ward, IN_JSON, 1)
    assert [hit for hit in found if "standard output" in hit]
