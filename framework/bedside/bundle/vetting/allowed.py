"""What a configuration may name, built in. A site's policy file adds to it; nothing takes away.

Everything is allowed by name. Refusing by name was tried and is hopeless: ``monai.data.dataset.optional_import``,
``torch.importlib`` and a generator's ``gi_frame`` all lead to ``os.system``.
"""

import re

_COMPONENTS = (
    r"monai\.(transforms|data|inferers|engines|handlers|losses|metrics|networks\.(nets|blocks|layers))\.[A-Z]\w*"
)
ALLOWED_TARGET = re.compile(rf"[A-Z]\w*|{_COMPONENTS}|torch\.(nn|optim)\.[A-Z]\w*", re.ASCII)
"""A bare name is one of MONAI's classes; a bare function could be ``monai.utils.run_cmd``."""

# Classes of MONAI that evaluate, start, fetch or write something.
REFUSED_CLASS = re.compile(
    r"Config\w*|\w*Workflow|\w*Bundle\w*|\w*Runner\w*|\w*Algo\w*|\w*Gen|DataAnalyzer|ComponentLocator|\w*Resolver"
    r"|\w*Client\w*|MLFlow\w*|TensorBoard\w*|CheckpointSaver|Trt\w*|\w*Profiler\w*|(Persistent|LMDB|GDS|CacheNTrans)Dataset"
    r"|(Decathlon|MedNIST|Tcia)Dataset|\w*Mapping\w*|NumpyReader|DataStats\w*|PatchInferer|Flex\w*|Hyena\w*|TorchVision\w*|Perceptual\w*"
)
LOOKED_UP = frozenset({"reader", "writer"})
"""Arguments that MONAI takes for the dotted name of whatever Python can import (``pydoc.locate``), and calls."""

LOOKS_UP = re.compile(r"(Load|Save)Image\w*")

ALLOWED_IMPORTS = frozenset({"torch", "monai", "numpy", "math", "glob", "itertools", "os"})
"""``os`` may be imported, as many bundles do, but not used: it is no allowed name."""

_NAMES = (
    "float int bool str len range min max sum abs list dict tuple set zip enumerate round sorted reversed any all next"
    " iter True False None __local_refs"
)
ALLOWED_NAMES = frozenset(_NAMES.split())
"""Names of Python's own that an expression may use, and MONAI's for references."""

_TORCH = (
    "device|dtype|tensor|as_tensor|from_numpy|nan_to_num|softmax|sigmoid|argmax|cat|stack|where|clamp|log|log1p|exp|sqrt"
    "|zeros|ones|zeros_like|ones_like|mean|sum|abs|isnan|flip|u?int(8|16|32|64)|b?float(16|32|64)|long|float|half|bool"
    r"|cuda\.is_available|nn\.functional\.(softmax|sigmoid|relu)|nn\.[A-Z]\w*"
)
_NUMPY = "array|asarray|nan_to_num|where|clip|u?int(8|16|32|64)?|float(16|32|64)|bool_|pi|inf|nan"
ALLOWED_MEMBERS = {
    "torch": re.compile(_TORCH, re.ASCII),
    "np": re.compile(_NUMPY, re.ASCII),
    "numpy": re.compile(_NUMPY, re.ASCII),
    "math": re.compile(r"[a-z]\w*", re.ASCII),
    "glob": re.compile("i?glob"),
    "itertools": re.compile(r"[a-z]\w*", re.ASCII),
    "monai": re.compile(
        _COMPONENTS.removeprefix(r"monai\.")
        + r"|handlers\.(utils\.)?from_engine|utils\.(set_determinism|CommonKeys\.\w+)",
        re.ASCII,
    ),
}
"""What an expression may name in each module; methods of values are another matter, see ``REFUSED_METHODS``."""

# Methods that write a file, unpickle, or read attributes by a name that only appears at run time; frames of generators.
REFUSED_METHODS = re.compile(
    "format|format_map|load|loads|save|dump|dumps|tofile|export|share_memory_|multiprocessing_context|reducer|os|sys|io"
    "|pickle|subprocess|write|open|unlink|rename|rmdir|mkdir|(gi|cr|ag|tb|f|co)_.*|_.*"
)
