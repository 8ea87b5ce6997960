"""``bedside health``, as part of the command line's help; ``bedside.__main__`` answers it before this is imported."""

from typing import Annotated

import typer

from bedside import health as probe


def health(
    url: Annotated[str, typer.Option(help="What to ask; /livez for liveness.")] = probe.URL,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = probe.SECONDS,
) -> None:
    """Ask a server on this machine whether it is ready; exits 1 when it is not. For a container's health check."""
    raise typer.Exit(probe.main(["--url", url, "--timeout", str(timeout)]))
