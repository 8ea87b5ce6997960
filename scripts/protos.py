"""Writes the gRPC transport's descriptors from its .proto files, or checks (``--check``) that they are in step.

Descriptors and not generated classes: see docs/decisions/0080.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "framework" / "bedside" / "transports" / "grpc"
DESCRIPTORS = FOLDER / "descriptors.binpb"


def main() -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where they are out of step")
    check = parser.parse_args().check
    descriptors = compiled()
    if DESCRIPTORS.is_file() and DESCRIPTORS.read_bytes() == descriptors:
        return 0
    if check:
        print(
            f"{DESCRIPTORS.relative_to(ROOT)} is out of step with its .proto files: run `make protos`", file=sys.stderr
        )
        return 1
    DESCRIPTORS.write_bytes(descriptors)
    print(f"wrote {DESCRIPTORS.relative_to(ROOT)}")
    return 0


def compiled() -> bytes:
    """Return the serialized ``google.protobuf.FileDescriptorSet`` of all .proto files, without comments."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "descriptors.binpb"
        files = [file.name for file in sorted(FOLDER.glob("*.proto"))]
        if protoc.main(["protoc", f"-I{FOLDER}", f"--descriptor_set_out={out}", *files]) != 0:
            raise SystemExit("protoc refused a .proto file")
        return out.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
