"""A bucket and a registry for tests, on real servers."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from demo.certificate import make_certificate
from tests.integration.seaweed import KEYS, answering, running, weed
from tests.waiting import wait_until

from bedside.delivery.processes import free_port


class Store(NamedTuple):
    """A store's addresses; the second one's certificate is its own."""

    plain: str
    tls: str
    authority: Path


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Run SeaweedFS, which checks signatures."""
    program = weed()
    if program is None:
        pytest.skip("needs SeaweedFS: scripts/install_test_servers.sh")
    folder = tmp_path_factory.mktemp("weed")
    certificate, key = make_certificate(folder)
    names = ("master.port", "volume.port", "filer.port", "s3.port", "s3.port.https")
    port = free_port(1, 2, 3, 4, *range(10_000, 10_004))  # for gRPC it takes what is so much further
    ports = dict(zip(names, range(port, port + 5), strict=True))
    credentials = [{"accessKey": KEYS[0], "secretKey": KEYS[1]}]
    identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    command = [program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-filer", "-s3"]
    command += [f"-{name}={port}" for name, port in ports.items()] + [f"-s3.config={folder / 's3.json'}"]
    command += [f"-s3.cert.file={certificate}", f"-s3.key.file={key}"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # else they listen on fixed ports
    url = f"http://127.0.0.1:{ports['s3.port']}"
    with running(command, folder / "weed.log", answering(f"{url}/status")):
        yield Store(url, f"https://127.0.0.1:{ports['s3.port.https']}", certificate)


@pytest.fixture
def bucket(s3: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client, and let the code under test find the store the way an operator would say it."""
    boto3 = pytest.importorskip("boto3")
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3.plain,
        "AWS_ACCESS_KEY_ID": KEYS[0],
        "AWS_SECRET_ACCESS_KEY": KEYS[1],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")

    def created() -> bool:
        try:
            client.create_bucket(Bucket="models")
        except (client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            return True
        except client.exceptions.ClientError:
            return False  # its volume server joins a moment after the port is open
        return True

    wait_until(created, "the store makes a bucket")
    for found in client.list_objects_v2(Bucket="models").get("Contents", []):
        client.delete_object(Bucket="models", Key=found["Key"])
    return client


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run Docker's registry; return its host and port."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs a registry: scripts/install_test_servers.sh")
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with running([program, "serve", str(config)], folder / "log", answering(f"http://127.0.0.1:{port}/v2/")):
        yield f"127.0.0.1:{port}"
