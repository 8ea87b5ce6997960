"""All that a rehearsal needs, in one temporary folder: a repository, a runner, a registry, a site with its gateway."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from bedside.delivery.gateway import Gateway
from bedside.delivery.local import Site
from bedside.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
REFUSAL = re.compile(r"│ *(refused|failed|differs) *│")
SIGNED_BY = "radiology"
COMMAND_SECONDS = 600
"""Longest that a stage may take: the gate's own limits together, and what a loaded machine adds."""


class StageFailed(Exception):
    """A stage of the pipeline said no; the text is its last line."""


def _reason(output: str) -> str:
    """Return the first row of a table that says no, or the last line."""
    rows = (line.strip("│ ").split("│") for line in output.splitlines() if REFUSAL.search(line))
    cells = next(rows, None) or output.strip().splitlines()[-1:]
    return ": ".join(cell.strip() for cell in cells if not cell.strip().replace(".", "").isdigit())


class World:
    """Folders, keys and repositories; nothing runs yet.

    Args:
        work: an empty folder.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self.origin, self.scientist, self.runner = (work / name for name in ("origin.git", "scientist", "runner"))
        self.registry, self.site, self.reports = (work / name for name in ("registry", "site", "reports"))
        for folder in (self.registry, self.site, self.reports):
            folder.mkdir(mode=0o700)
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "framework"),
            "BEDSIDE_CONFIG": str(self.site / "settings.toml"),
            "SIGNING_KEY": str(work / f"{SIGNED_BY}.pem"),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "COLUMNS": "1000",  # so that a row of a table is a line
        }
        # What the processes of the site inherit.
        os.environ.update({name: self._environment[name] for name in ("PYTHONPATH", "BEDSIDE_CONFIG")})

    def build(self) -> None:
        """Make keys, settings and repositories."""
        self._keys()
        (self.site / "policy.toml").write_text(f'public_keys = ["../{SIGNED_BY}.pub"]\n')
        (self.site / "settings.toml").write_text(
            f'env = "test"\n[admission]\npolicy_file = "{self.site}/policy.toml"\n'
            f'[runtime]\nstate_dir = "{self.work}/state"\nmemory_limit_mib = 4096\n'
            f'[registry]\ncache_dir = "{self.work}/cache"\n'
        )
        self.command("git", "clone", "--quiet", "--bare", str(ROOT), str(self.origin))
        for clone in (self.scientist, self.runner):
            self.command("git", "clone", "--quiet", str(self.origin), str(clone))
            self.git(clone, "config", "user.name", clone.name)
            self.git(clone, "config", "user.email", f"{clone.name}@example.org")
        # What is being worked on, and not what was committed last.
        shutil.copytree(ROOT / "deploy", self.scientist / "deploy", dirs_exist_ok=True)
        self.commit("The deployment as it is here")
        self.push(self.scientist)
        self.pull()

    def _keys(self) -> None:
        key, public = self.work / f"{SIGNED_BY}.pem", self.work / f"{SIGNED_BY}.pub"
        self.command("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
        self.command("openssl", "ec", "-in", str(key), "-pubout", "-out", str(public))
        self.command(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(self.site / "key.pem"), "-out", str(self.site / "certificate.pem")),
        )

    def commit(self, message: str) -> str:
        """Commit what the data scientist has changed; returns the commit."""
        self.git(self.scientist, "add", "--all")
        self.git(self.scientist, "commit", "--quiet", "--allow-empty", "--message", message)
        return self.git(self.scientist, "rev-parse", "HEAD")

    def push(self, clone: Path) -> None:
        """Push what was committed in a clone."""
        self.git(clone, "push", "--quiet", "origin", "HEAD")

    def take_back(self, commit: str) -> None:
        """Revert a commit of the data scientist's; the runner sees it, so that it is no part of the next delivery."""
        self.git(self.scientist, "pull", "--quiet", "--rebase", "origin", "HEAD")
        self.git(self.scientist, "revert", "--no-edit", commit)
        self.push(self.scientist)
        self.pull()

    def pull(self) -> str:
        """Let the runner see what was pushed; returns the commit that it saw before."""
        before = self.git(self.runner, "rev-parse", "HEAD")
        self.git(self.runner, "clean", "--quiet", "--force", "-d", "apps")
        self.git(self.runner, "checkout", "--quiet", ".")
        self.git(self.runner, "pull", "--quiet", "--rebase", "origin", "HEAD")
        return before

    def stage(self, *arguments: str, **variables: str) -> str:
        """Run one stage of the pipeline as the workflow does; returns its last line. Raises StageFailed."""
        return self.command(str(self.runner / "deploy" / "pipeline.sh"), *arguments, **variables)

    def command(self, *command: str, **variables: str) -> str:
        """Run a command, for ``COMMAND_SECONDS`` at most; returns its last line. Raises StageFailed."""
        environment = {**self._environment, **variables}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # In a session of its own, to be ended with all that it started.
        with subprocess.Popen(command, **pipes, env=environment, cwd=self.work, start_new_session=True) as process:
            try:
                out, err = process.communicate(timeout=COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise StageFailed(f"took longer than {COMMAND_SECONDS} s") from None
        with (self.work / "commands.log").open("a") as log:
            print(f"$ {' '.join(command)}\n{out}{err}", file=log)
        if process.returncode:
            raise StageFailed(_reason(out + err))
        return str(out).strip().rpartition("\n")[2]

    def git(self, clone: Path, *arguments: str) -> str:
        """Run git in a clone."""
        return self.command("git", "-C", str(clone), *arguments)

    def published(self, bundle: str, reference: str) -> Path:
        """Return a folder as the pipeline hands it from job to job: a file for the bundle, its reference inside."""
        folder = self.work / "published"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / bundle).write_text(reference + "\n")
        return folder

    def token(self) -> str:
        """Return a user's token."""
        return self.command(sys.executable, "-m", "bedside", "token", "--lifetime", "7200")

    def opened_site(self) -> Site:
        """Return the site as it is now."""
        return Site(self.site)

    def verdict(self) -> dict[str, Any]:
        """Return what the gate said last."""
        return dict(json.loads((self.reports / "verdict.json").read_text()))

    def kill_the_canary(self, ended: threading.Event) -> None:
        """Kill the candidate once it was given a user's call, as a kernel out of memory would, unless it has ended."""
        begin = self.access_log_bytes()
        while not ended.wait(0.05):
            with suppress(ConfigurationError):  # it does not run yet
                if self.calls_of_the_canary(begin):
                    os.kill(self.opened_site().environment("dev").process, signal.SIGKILL)
                    return

    def access_log_bytes(self) -> int:
        """Return the place in the gateway's log from which on calls are new."""
        return Gateway(self.site / "gateway", "", 0).logged_bytes()

    def calls_of_the_canary(self, begin: int) -> int:
        """Return how many calls of users it was given."""
        running = self.opened_site().environment("dev")
        live, _ = Gateway(self.site / "gateway", "", 0).calls(running.port, begin)
        return sum(call.candidate for call in live)
