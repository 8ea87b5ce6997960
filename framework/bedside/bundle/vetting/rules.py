"""The catalogue of rules: one name for one thing that can be wrong, how much it matters, and what to do about it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        severity: only ``refused`` keeps a bundle out.
        code: it is about what the bundle may run; a pinned or signed bundle may (where the site accepts that).
        remedy: what to do.
    """

    severity: Literal["info", "warning", "refused"]
    remedy: str
    code: bool = False


_POLICY = (
    "Name it in the site's policy file (docs/admission.md) if it is harmless, or have the bundle reviewed and pinned."
)
_REVIEW = "Have the bundle reviewed; then pin its digest or sign it, and set `scripts` in the site's policy file."
_MEND = "Mend the file, or ask whoever published the bundle for a clean copy."
_LIMIT = "If the bundle is honest, raise the limit: docs/settings.md, group `admission`."
_WEIGHTS = "Save the weights alone: torch.save(network.state_dict(), …), or as safetensors."
_REPACK = "Pack the bundle again with plain relative paths: regular files only."

RULES: dict[str, Rule] = {
    # what the configuration would run
    "target": Rule("refused", _POLICY, code=True),
    "expression": Rule("refused", _POLICY, code=True),
    "import": Rule("refused", _POLICY, code=True),
    "special_key": Rule("refused", "Remove it: it is for debugging, not for a server.", code=True),
    "lookup_by_name": Rule("refused", "Name one of MONAI's readers or writers by its class.", code=True),
    "macro": Rule("refused", "Put the part that the macro reads into the configuration itself.", code=True),
    "unsafe_load": Rule("refused", "Load weights with torch.load(path, map_location, weights_only=True).", code=True),
    "torch_load": Rule("warning", "Prefer a CheckpointLoader, or write weights_only=True."),
    # code beside it
    "own_code": Rule("refused", _REVIEW, code=True),
    "native_code": Rule("refused", _REVIEW, code=True),
    "not_imported": Rule("info", "Nothing to do: nothing imports it when the bundle is served."),
    "bytecode": Rule("info", "Nothing to do: the model's process keeps its bytecode elsewhere."),
    # the files as files
    "not_a_bundle": Rule("refused", "See the MONAI bundle specification for what a bundle holds."),
    "config_unreadable": Rule("refused", _MEND),
    "config_outside": Rule("refused", "Name files in configs/ only."),
    "config_too_large": Rule("refused", _LIMIT),
    "config_too_deep": Rule("refused", _LIMIT),
    "duplicate_key": Rule("refused", "Write each key once: readers differ in which one counts."),
    "yaml_tag": Rule("refused", "Use plain YAML: text, numbers, lists and mappings."),
    "config_not_judged": Rule("info", "Nothing to do: the server does not read it."),
    "not_covered": Rule("info", "Nothing to do, or remove it: neither digest nor signature covers it."),
    "link_outside": Rule("refused", "Replace the link by a copy of the file."),
    "link_to_folder": Rule("refused", "Replace the link by the folder: the digest does not follow it."),
    "special_file": Rule("refused", "Remove it: a bundle holds regular files and folders."),
    "setuid": Rule("refused", "chmod u-s,g-s"),
    "unprintable_name": Rule("refused", "Rename the file with printable characters."),
    "writable_by_all": Rule("warning", "chmod o-w: whoever has an account here could change it."),
    "unreadable_file": Rule("refused", "Let the server's user read it."),
    "too_many_files": Rule("refused", _LIMIT),
    "too_large": Rule("refused", _LIMIT),
    "changed": Rule("refused", "Wait until nothing writes into the bundle's folder, and try again."),
    # archives
    "archive_unreadable": Rule("refused", _REPACK),
    "archive_path": Rule("refused", _REPACK),
    "archive_link": Rule("refused", _REPACK),
    "archive_member": Rule("refused", _REPACK),
    "archive_ratio": Rule("refused", _LIMIT),
    # weights
    "pickle_global": Rule("refused", _WEIGHTS),
    "pickle_opcode": Rule("refused", _WEIGHTS),
    "lfs_pointer": Rule("refused", "Fetch the file in the bundle's repository: git lfs install && git lfs pull."),
    "pickle_unreadable": Rule("refused", _WEIGHTS),
    "numpy_in_pickle": Rule("warning", f"torch.load(weights_only=True) may refuse it. {_WEIGHTS}"),
    "torchscript": Rule("refused", "Export the network again without operators that touch files or foreign libraries."),
    "torchscript_unreadable": Rule("refused", "Export the network again, or remove the file if it is not used."),
    "safetensors": Rule("refused", "Save the tensors again."),
    "onnx": Rule("refused", "Export the network again, with its data in the file or beside it."),
    "object_array": Rule("refused", "Save the array with a plain dtype: an object array is a pickle."),
    "weights": Rule("info", "Nothing to do."),
    "unknown_weights": Rule("warning", "Remove it if the bundle does not need it: nobody has looked inside."),
    # signature
    "signature": Rule("refused", "Get the bundle again from who signed it, or have it signed with a configured key."),
    "signature_unchecked": Rule("info", "Name the signer's public key in the site's policy file."),
    "signing_library": Rule("refused", "pip install 'bedside[signing]'"),
}
"""Every rule by its name."""
