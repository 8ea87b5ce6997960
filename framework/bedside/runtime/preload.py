"""Imported once by the fork server, so that each model's process starts with MONAI already in memory.

``import monai.bundle`` costs five seconds and 640 MB; forked processes share both.
"""

import gc
import signal
import sys
import warnings
from multiprocessing import forkserver

import torch

# A terminal or a service manager signals the whole group. The server drains its model processes and then closes the
# pipe that keeps this process alive; a fork server that ended at once would take the models with it.
if getattr(sys.modules["__main__"], "main", None) is forkserver.main:  # and not in whoever else imports this
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

# One thread until a model's process says otherwise: a thread pool would not survive the fork.
torch.set_num_threads(1)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    from bedside.runtime.torchvision_ops import make_importable

    make_importable()  # before MONAI looks for it

    # A first pass imports it, and a model's process, which reads no bytecode, would compile its 190 modules for 1.3 s.
    import torch._dynamo

    import bedside.runtime.loading  # noqa: F401

# A collection in a forked process would write to every object it visits, and so copy the pages that are shared.
gc.collect()
gc.freeze()
