"""`make demo`: serve the bundles in apps/, send each its golden inputs over authenticated HTTPS, keep the answers.

The server is the real `bedside serve` in a process of its own; the calls are what any client would send.
"""

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from bedside.bootstrap import mint_token
from bedside.bundle.golden import PackageMissing, read_golden
from bedside.cli.predict import Answer, describe, send
from bedside.delivery.processes import free_port
from bedside.settings import load_settings
from bedside.types import RawPart, RawRecord
from certificate import make_certificate

HERE = Path(__file__).resolve().parent.parent
TOKEN_SECONDS = 8 * 3600
STARTUP_SECONDS = 180

console = Console()


@dataclass(frozen=True)
class Case:
    """One input on disk, for one model."""

    model: str
    name: str
    path: Path


def main() -> int:
    """Run the demo; returns the exit status."""
    options = _options()
    output = options.output.resolve()
    cases = list(_write_inputs(options.apps, output / "inputs"))
    certificate, key = make_certificate(output / "tls")
    url = f"https://127.0.0.1:{options.port or free_port()}"
    with _server(options.apps, url, certificate, key, output / "server.log") as process:
        with httpx.Client(base_url=url, verify=str(certificate), timeout=STARTUP_SECONDS) as client:
            if not _wait_until_ready(client, process, output / "server.log"):
                return 1
            token = mint_token(load_settings(), subject="demo", scopes=("bedside.infer",), seconds=TOKEN_SECONDS)
            client.headers["Authorization"] = f"Bearer {token}"
            failed = _send_all(client, cases, output / "answers")
        (output / "token").write_text(token)
        (output / "token").chmod(0o600)
        _print_how_to_go_on(url, output, cases, once=options.once)
        if not options.once:
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="exit after the calls instead of leaving the server up")
    parser.add_argument("--apps", type=Path, default=HERE / "apps", help="folder of bundles")
    parser.add_argument("--output", type=Path, default=HERE / "demo-output", help="folder for inputs and answers")
    parser.add_argument("--port", type=int, default=0, help="port of the server (default: a free one)")
    return parser.parse_args()


def _write_inputs(apps: Path, folder: Path) -> Iterator[Case]:
    """Write the golden inputs of every bundle as files that a person could send by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    for bundle in sorted(path for path in apps.iterdir() if (path / "configs").is_dir()):
        for case in read_golden(bundle):
            try:
                inputs = case.raw_inputs()
            except PackageMissing as missing:
                console.print(f"[yellow]{bundle.name}/{case.name} skipped: {missing}[/yellow]")
                continue
            yield Case(bundle.name, case.name, _write_input(folder / f"{bundle.name}-{case.name}", inputs[0]))


def _write_input(stem: Path, item: RawPart | RawRecord) -> Path:
    if isinstance(item, RawRecord):
        path = stem.with_suffix(".json")
        path.write_text(json.dumps(dict(item.values), indent=2) + "\n")
        return path
    suffix = {"image/png": ".png", "image/jpeg": ".jpg", "application/gzip": ".nii.gz"}.get(item.media_type, ".nii")
    path = stem.with_name(stem.name + suffix)
    path.write_bytes(item.data)
    return path


@contextlib.contextmanager
def _server(apps: Path, url: str, certificate: Path, key: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bedside", "serve", str(apps), "--port", url.rpartition(":")[2]]
    command += ["--tls-certificate", str(certificate), "--tls-key", str(key)]
    # The documentation pages are opened so that a browser can show them; this server is on loopback.
    environment = {**os.environ, "BEDSIDE_AUTH__DOCS_ACCESS": "open"}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> bool:
    deadline = time.monotonic() + STARTUP_SECONDS
    with console.status("starting Bedside: every model makes a forward pass before it is ready …"):
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/readyz").status_code == httpx.codes.OK:
                    return True
            time.sleep(0.2)
    console.print(f"[red]The server did not become ready; its log is {log}[/red]")
    return False


def _send_all(client: httpx.Client, cases: list[Case], folder: Path) -> int:
    table = Table("model", "input", "latency", "result", title="Answers", title_justify="left")
    failed = 0
    for case in cases:
        with console.status(f"{case.model} ← {case.path.name}"):
            answer = send(client, case.model, str(case.path))
        answer.save(f"{case.model}-{case.name}", folder)
        result = _result(answer)
        failed += not result
        table.add_row(
            case.model,
            f"{case.name}{''.join(case.path.suffixes)}",
            f"{answer.seconds * 1000:.0f} ms",
            result or "[red]no result[/red]",
        )
    console.print(table)
    console.print(f"Answers (masks, overlays, predictions) are in [bold]{folder}[/bold]", highlight=False)
    return failed


def _result(answer: Answer) -> str:
    shown = [value if name == "prediction" else f"{name} {value}" for name, value in describe(answer.summary)]
    return ", ".join(line for line in shown if not line.startswith("accuracy"))


def _print_how_to_go_on(url: str, output: Path, cases: list[Case], *, once: bool) -> None:
    if once:
        console.print("Not a medical device.", style="dim")
        return
    console.print(f"\nBedside is running on [bold]{url}[/bold] (pages: {url}/docs). Ctrl-C ends it.\n", highlight=False)
    console.print("Paste into another terminal:\n")
    print(f"export TOKEN=$(cat {shlex.quote(str(output / 'token'))})")  # noqa: T201 - to be pasted, so not wrapped
    for case in {case.model: case for case in cases}.values():
        print(_curl(url, output, case))  # noqa: T201
    console.print("\nNot a medical device.", style="dim")


def _curl(url: str, output: Path, case: Case) -> str:
    kinds = {".json": "application/json", ".png": "image/png", ".jpg": "image/jpeg", ".nii": "application/x-nifti"}
    media = kinds.get(case.path.suffix, "application/gzip")
    wanted = "image/png" if media.startswith("application/") and case.path.suffix != ".json" else "application/json"
    target = " -o overlay.png" if wanted == "image/png" else ""
    return (
        f'curl --cacert {shlex.quote(str(output / "tls" / "certificate.pem"))} -H "Authorization: Bearer $TOKEN" '
        f"-H 'Content-Type: {media}' -H 'Accept: {wanted}' --data-binary @{shlex.quote(str(case.path))}{target} "
        f"{url}/v1/models/{case.model}/predict"
    )


if __name__ == "__main__":
    sys.exit(main())
