"""An archive that can be killed: keeps each object it was sent in a file of its own, on disk before it confirms.

Run as ``python -m tests.chaos.archive PORT FOLDER``. Nothing is overwritten: what comes twice is there twice.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt


def main(port: int, folder: Path) -> None:
    """Receive until killed."""

    def keep(event: Any) -> int:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".partial", delete=False) as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).rename(Path(file.name).with_suffix(".dcm"))
        return 0

    ae = AE(ae_title="ARCHIVE")
    ae.supported_contexts = AllStoragePresentationContexts
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, keep)])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
