"""``bedside bundle pack | push | pull``: bundles as archives and as OCI artifacts; nothing of a bundle is run."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bedside.bundle.folder import open_bundle
from bedside.bundle.packing import pack as pack_bundle
from bedside.cli.options import Bundle, Config
from bedside.cli.terminal import plain
from bedside.errors import ConfigurationError
from bedside.settings import load_settings
from bedside.storage.artifact import make_artifact
from bedside.storage.layout import push_to_layout
from bedside.storage.oci import Registry
from bedside.storage.sources import open_source


def pack(
    path: Bundle,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Archive to write: .tar, .tar.gz or .zip.", show_default=False)
    ],
) -> None:
    """Write a bundle into one archive: the same bytes for the same files, on any machine.

    Prints the digest of the archive. A signature (model.sig) is one of the files.
    """
    typer.echo(f"{pack_bundle(path, output)}  {output}")


def push(
    path: Bundle,
    target: Annotated[
        str,
        typer.Argument(
            help="oci://HOST/REPOSITORY:TAG, or a folder for an OCI image layout.", metavar="TARGET", show_default=False
        ),
    ],
    config: Config = None,
) -> None:
    """Push a bundle as an OCI artifact; prints the digest by which it can be pulled or pinned.

    Log in with `docker login` or what writes the same file. Registries need `pip install 'bedside[oci]'`.
    """
    settings = load_settings(config).registry
    with tempfile.TemporaryDirectory(prefix="bedside-") as folder:
        artifact = make_artifact(path, Path(folder))
        if target.startswith("oci://"):
            Registry(target, settings).push(artifact)
        elif "://" in target:
            raise ConfigurationError("the target is oci://HOST/REPOSITORY:TAG or a folder", field="target")
        else:
            push_to_layout(artifact, Path(target), open_bundle(path).metadata.version)
    typer.echo(artifact.digest)


def pull(
    source: Annotated[
        str,
        typer.Argument(
            help="oci://HOST/REPOSITORY:TAG, s3://BUCKET/PREFIX, an archive or an OCI image layout.",
            metavar="SOURCE",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to put the bundles into.")] = Path(),
    config: Config = None,
) -> None:
    """Fetch bundles and put each into a folder named after its model; prints folders and digests.

    Nothing is judged yet: `bedside bundle vet` does that, and `bedside serve` before it loads anything.
    """
    console = Console(stderr=True)
    opened = open_source(source, load_settings(config), lambda line: console.print(plain(line), highlight=False))
    for root in opened.fetch():
        bundle = open_bundle(root)
        target = output / bundle.name / root.name if root.name != bundle.name else output / bundle.name
        if target.exists():
            raise ConfigurationError(f"{target} is there already", field="output")
        shutil.copytree(root, target)
        typer.echo(f"{bundle.digest}  {target}")
