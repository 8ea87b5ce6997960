"""The same bundle, called in a process without a server: what serving it is compared with.

    python -m benchmarks.contestants.bundle_in_process BUNDLE_FOLDER THREADS

Reads JSON lines ``{"input": file, "output": file}``; runs the bundle on the input, saves the mask, and answers
``{"run": seconds, "save": seconds, "cpu": seconds}``. The first line out says that the bundle is loaded and warm.
"""

import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import nibabel
import numpy as np

from bedside.bundle.folder import open_bundle
from bedside.runtime.loading import load
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings


def main(bundle: str, threads: str) -> None:
    """Answer until standard input ends."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "output").mkdir()
        settings = RuntimeSettings(threads=int(threads), device="cpu", staging_dir=root)
        engine, facts = load(open_bundle(Path(bundle)), settings, Staging(root), root / "output")
        print(json.dumps({"ready": True}), flush=True)
        name = facts.inputs[0].name
        for line in sys.stdin:
            job = json.loads(line)
            begin, cpu = perf_counter(), process_time()
            result = engine.run({name: job["input"]}).arrays[0]
            ran = perf_counter()
            nibabel.save(nibabel.Nifti1Image(result.array.astype(np.uint8), result.affine), job["output"])  # type: ignore[no-untyped-call,unused-ignore]
            told = {"run": ran - begin, "save": perf_counter() - ran, "cpu": process_time() - cpu}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
