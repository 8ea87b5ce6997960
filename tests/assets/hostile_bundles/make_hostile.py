"""Makes bundles that would harm a server which loaded them, each named after what is wrong with it.

``python tests/assets/hostile_bundles/make_hostile.py FOLDER`` writes them all. They are harmless to look at; whoever
ran one would find the file named in ``CANARY`` below the temporary folder.
"""

import io
import json
import os
import pickle
import shutil
import socket
import stat
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CANARY = Path(tempfile.gettempdir()) / "bedside_hostile_bundle_ran"
TOUCH = f"touch {CANARY}"

Maker = Callable[[Path], None]
Config = dict[str, Any]

METADATA: Config = {
    "version": "1.0.0",
    "monai_version": "1.6.1",
    "pytorch_version": "2.13.0",
    "numpy_version": "2.4.6",
    "required_packages_version": {},
    "task": "none",
    "description": "A bundle that must not be loaded",
    "authors": "Bedside maintainers",
    "copyright": "Bedside maintainers",
    "network_data_format": {"inputs": {}, "outputs": {}},
}
CONFIG: Config = {
    "imports": ["$import torch"],
    "network_def": {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1},
    "network": "$@network_def.to('cpu')",
    "run": ["$@evaluator.run()"],
}


def plain(root: Path) -> None:
    """Write a bundle with nothing wrong; every other one is this and one defect."""
    for folder in ("configs", "models"):
        (root / folder).mkdir(parents=True)
    (root / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    (root / "configs" / "inference.json").write_text(json.dumps(CONFIG))
    (root / "models" / "model.pt").write_bytes(torch_zip(pickle.dumps({}, protocol=2)))


# ── makers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def configured(extra: Any, **files: str) -> Maker:
    """Return a maker whose configuration has ``extra`` merged in; ``files`` are written into configs/."""

    def make(root: Path) -> None:
        plain(root)
        config = {**CONFIG, **extra} if isinstance(extra, dict) else {**CONFIG, "x": extra}
        (root / "configs" / "inference.json").write_text(json.dumps(config))
        for name, text in files.items():
            (root / "configs" / name.replace("__", ".")).write_text(text)

    return make


def text(name: str, content: str | bytes) -> Maker:
    """Return a maker that writes one file over, in the root; ``configs/inference.yaml`` takes the JSON's place."""

    def make(root: Path) -> None:
        plain(root)
        if name == "configs/inference.yaml":
            (root / "configs" / "inference.json").unlink()
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def tree(change: Callable[[Path], object]) -> Maker:
    """Return a maker that changes the plain bundle's folder."""

    def make(root: Path) -> None:
        plain(root)
        change(root)

    return make


def expression(code: str) -> Maker:
    """Return a maker with one expression."""
    return configured({"x": f"${code}"})


# ── files of weights ────────────────────────────────────────────────────────────────────────────────────────────────


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Name the command."""
        return os.system, (TOUCH,)


def torch_zip(data: bytes, members: dict[str, bytes] | None = None, name: str = "data.pkl") -> bytes:
    """Return the archive that torch.save writes around a pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"archive/{name}", data)
        archive.writestr("archive/version", "3\n")
        for member, content in (members or {}).items():
            archive.writestr(f"archive/{member}", content)
    return stream.getvalue()


def global_pickle(module: str, name: str, argument: str = TOUCH) -> bytes:
    """Return a pickle of protocol 2, as torch writes it, that calls ``module.name(argument)``."""
    written = argument.encode()
    length = struct.pack("<I", len(written))
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X" + length + written + b"\x85R."


def torchscript(code: str) -> bytes:
    """Return an archive that looks like TorchScript, with one source file."""
    return torch_zip(
        b"\x80\x02c__torch__\nNet\n)\x81.", {"code/__torch__.py": code.encode(), "constants.pkl": b"\x80\x02)."}
    )


def script_with(line: str) -> bytes:
    """Return TorchScript whose forward has one line more."""
    return torchscript(
        "class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  def forward(self: __torch__.Net,\n"
        f"    x: Tensor) -> Tensor:\n    {line}\n    return x\n"
    )


def legacy(data: bytes) -> bytes:
    """Return the file that torch.save wrote before 1.6."""
    begin = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)
    return begin + pickle.dumps({"little_endian": True}, protocol=2) + data + pickle.dumps([], protocol=2)


def safetensors(header: Any, data: bytes = b"") -> bytes:
    """Return a safetensors file."""
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + data


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field of a protocol buffer."""
    length, size = bytearray(), len(content)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def onnx(location: str) -> bytes:
    """Return an ONNX model whose weights lie in ``location``."""
    entry = field(1, b"location") + field(2, location.encode())
    return field(7, field(5, field(13, entry)))


def object_array() -> bytes:
    """Return a .npy file with pickled objects."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pickle.dumps([Evil()])


# ── the tree ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _socket(root: Path) -> None:
    # The path of a socket has at most 108 bytes: bound from within the folder.
    here = Path.cwd()
    os.chdir(root / "models")
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind("control")
    finally:
        os.chdir(here)


def _setuid(root: Path) -> None:
    (root / "models" / "model.pt").chmod(0o4755)


def _linked_configuration(root: Path) -> None:
    outside = root.parent / "outside.json"
    shutil.copy(root / "configs" / "inference.json", outside)
    (root / "configs" / "inference.json").unlink()
    (root / "configs" / "inference.json").symlink_to(outside)


def _configuration_outside(root: Path) -> None:
    shutil.copy(root / "configs" / "inference.json", root.parent / "outside.json")
    (root / "bedside.toml").write_text('config_files = ["../../outside.json"]\n')


def _configuration_in_docs(root: Path) -> None:
    (root / "docs").mkdir()
    shutil.copy(root / "configs" / "inference.json", root / "docs" / "x.json")
    (root / "bedside.toml").write_text('config_files = ["inference.json", "../docs/x.json"]\n')


def _looped(root: Path) -> None:
    (root / "models" / "a").symlink_to("b")
    (root / "models" / "b").symlink_to("a")


def _metadata(**changes: Any) -> Maker:
    return text("configs/metadata.json", json.dumps({**METADATA, **changes}))


_DEEP = 5000
_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)

BUNDLES: dict[str, Maker] = {
    # components
    "target_os_system": configured({"x": {"_target_": "os.system", "command": TOUCH}}),
    "target_subprocess": configured({"x": {"_target_": "subprocess.Popen", "args": ["touch", str(CANARY)]}}),
    "target_builtin_eval": configured({"x": {"_target_": "builtins.eval", "source": "1"}}),
    "target_bare_function": configured({"x": {"_target_": "run_cmd", "cmd_list": ["touch", str(CANARY)]}}),
    "target_monai_run_cmd": configured({"x": {"_target_": "monai.utils.run_cmd", "cmd_list": ["id"]}}),
    "target_torch_load": configured({"x": {"_target_": "torch.load", "f": "models/model.pt", "weights_only": False}}),
    "target_torch_hub": configured({"x": {"_target_": "torch.hub.load", "repo_or_dir": "a/b", "model": "c"}}),
    "target_workflow": configured({"x": {"_target_": "ConfigWorkflow", "config_file": "other.json"}}),
    "target_walks_modules": configured({"x": {"_target_": "monai.data.dataset.pickle.loads", "data": "x"}}),
    "target_lookalike_letter": configured({"x": {"_target_": "torch.nn.Lin\u0435ar"}}),
    "target_no_text": configured({"x": {"_target_": ["os.system"]}}),
    "target_in_metadata": _metadata(extra={"_target_": "os.system", "command": TOUCH}),
    "target_by_path_key": configured({"network_def#_target_": "os.system", "network_def#command": TOUCH}),
    "target_by_path_key_colons": configured({"network_def::_target_": "os.system"}),
    "target_by_merge_key": configured({"+network_def": {"_target_": "os.system", "command": TOUCH}}),
    "target_by_merge_path_key": configured({"+network_def#_target_": "os.system"}),
    "target_expression": configured({"x": {"_target_": "$'os' + '.system'", "command": TOUCH}}),
    "target_of_scripts": configured({"x": {"_target_": "scripts.net.Net"}}),
    "reader_os_system": configured({"x": {"_target_": "LoadImaged", "keys": "image", "reader": "os.system"}}),
    "reader_by_path_key": configured({"x": {"_target_": "LoadImaged", "keys": "i"}, "x#reader#0": "os.system"}),
    "writer_subprocess": configured({"x": {"_target_": "SaveImaged", "keys": "pred", "writer": "subprocess.Popen"}}),
    # expressions
    "expression_import": expression(f"__import__('os').system('{TOUCH}')"),
    "expression_eval": expression(f"eval(\"__import__('os').system('{TOUCH}')\")"),
    "expression_open": expression(f"open('{CANARY}', 'w')"),
    "expression_lambda": expression(f"(lambda: __import__('os').system('{TOUCH}'))()"),
    "expression_f_string": expression(f'f\'{{__import__("os").system("{TOUCH}")}}\''),
    "expression_format_string": expression("'{0.__class__.__mro__}'.format(1)"),
    "expression_subclasses": expression("().__class__.__base__.__subclasses__()"),
    "expression_globals_of_method": expression("@network.__init__.__globals__['os'].system('id')"),
    "expression_generator_frame": expression("(x for x in [1]).gi_frame.f_back.f_globals"),
    "expression_optional_import": expression("monai.data.dataset.optional_import('os')[0].system('id')"),
    "expression_module_of_module": expression("glob.os.system('id')"),
    "expression_module_handed_on": expression("(lambda t: t.hub.load('a/b', 'c'))(torch)"),
    "expression_walrus": expression("(t := torch).hub.load('a/b', 'c')"),
    "expression_comprehension": expression("[t.hub for t in [torch]]"),
    "expression_getattr": expression("getattr(torch, 'hub')"),
    "expression_fullwidth_letters": expression("\uff45\uff56\uff41\uff4c('1')"),
    "expression_loads_pickle": expression("torch.load('models/model.pt', weights_only=False)"),
    "expression_loads_pickle_by_module": expression("torch.load('models/model.pt', None, torch.nn.Module)"),
    "expression_loads_pickle_by_kwargs": expression("torch.load('m.pt', **{'weights_only': False})"),
    "expression_numpy_pickle": expression("np.load('x.npy', allow_pickle=True)"),
    "expression_library": expression("torch.ops.load_library('models/x.so')"),
    "expression_compiles": expression("torch.utils.cpp_extension.load_inline('a', '')"),
    "expression_writes_file": expression("@array.tofile('/tmp/x')"),
    "expression_deep": expression("(" * 500 + "1" + ")" * 500),
    "expression_in_metadata": _metadata(description=f"$__import__('os').system('{TOUCH}')"),
    "expression_in_requires": configured({"x": {"_target_": "UNet", "_requires_": "$open('x')"}}),
    "expression_in_disabled": configured({"x": {"_target_": "UNet", "_disabled_": "$open('x')"}}),
    "expression_in_key_of_reference": configured({"__import__('os')": {"a": "$@#b + 1", "b": 1}}),
    "import_os_alias": configured({"imports": ["$import os as np"]}),
    "import_subprocess": configured({"imports": ["$import subprocess"]}),
    "import_from": configured({"imports": ["$from os import system"]}),
    "import_two": configured({"imports": ["$import torch, subprocess"]}),
    "import_scripts": configured({"imports": ["$import scripts"]}),
    "import_submodule": configured({"imports": ["$import torch.hub"]}),
    "mode_debug": configured({"x": {"_target_": "torch.nn.Identity", "_mode_": "debug"}}),
    "mode_by_expression": configured({"x": {"_target_": "torch.nn.Identity", "_mode_": "$'de' + 'bug'"}}),
    "macro_of_file": configured({"x": "%configs/other.json#x"}, other__json='{"x": "$open(1)"}'),
    "macro_of_yaml_upper_case": configured({"x": "%/tmp/OTHER.YAML::x"}),
    "macro_relative_below_file_name": configured({str(CANARY.with_suffix(".json")): {"a": "%#b", "b": 1}}),
    # documents
    "yaml_object_tag": text("configs/inference.yaml", "x: !!python/object/apply:os.system ['id']\n"),
    "yaml_name_tag": text("configs/inference.yaml", "x: !!python/name:os.system\n"),
    "yaml_local_tag": text("configs/inference.yaml", "x: !run id\n"),
    "yaml_tag_directive": text(
        "configs/inference.yaml", "%TAG ! tag:yaml.org,2002:python/\n---\nx: !name:os.system ''\n"
    ),
    "yaml_alias_bomb": text("configs/inference.yaml", _BOMB),
    "yaml_alias_circle": text("configs/inference.yaml", "x: &x [*x]\n"),
    "yaml_alias_hides_expression": text("configs/inference.yaml", "a: &x [\"$open('x')\"]\nb: *x\n"),
    "yaml_merge_key_target": text("configs/inference.yaml", "b: &b {_target_: os.system}\nx:\n  <<: *b\n"),
    "yaml_deep": text("configs/inference.yaml", "x: " + "[" * _DEEP + "]" * _DEEP),
    "yaml_no_mapping": text("configs/inference.yaml", "- $open('x')\n"),
    "json_deep": text("configs/inference.json", '{"x": ' + "[" * _DEEP + "]" * _DEEP + "}"),
    "json_metadata_deep": text("configs/metadata.json", '{"x": ' + "[" * _DEEP + "]" * _DEEP + "}"),
    "json_huge": text("configs/inference.json", json.dumps({"x": "a" * (2 << 20)})),
    "json_truncated": text("configs/inference.json", '{"x": "$open('),
    "json_key_twice": text("configs/inference.json", '{"x": {"_target_": "os.system", "_target_": "UNet"}}'),
    "json_not_utf8": text("configs/inference.json", b'{"x": "\xff\xfe"}'),
    "metadata_missing": tree(lambda root: (root / "configs" / "metadata.json").unlink()),
    "configuration_missing": tree(lambda root: (root / "configs" / "inference.json").unlink()),
    "policy_leads_outside": tree(_configuration_outside),
    "policy_leads_to_docs": tree(_configuration_in_docs),
    "policy_deep": text("bedside.toml", "x = " + "[" * _DEEP + "]" * _DEEP),
    # code
    "scripts_package": text("scripts/__init__.py", "import os; os.system('id')\n"),
    "module_shadows_library": text("itk.py", "import os; os.system('id')\n"),
    "bytecode_without_source": text("scripts/net.pyc", b"\xa7\x0d\x0d\x0a"),
    "extension_module": text("scripts/net.so", b"\x7fELF\2\1\1"),
    "machine_code_in_disguise": text("models/weights.dat", b"\x7fELF\2\1\1"),
    # the tree
    "link_to_file_outside": tree(lambda root: (root / "models" / "passwd").symlink_to("/etc/passwd")),
    "link_to_folder_outside": tree(lambda root: (root / "docs").symlink_to("/etc")),
    "link_relative_outside": tree(lambda root: (root / "models" / "up").symlink_to("../../..")),
    "link_to_folder_inside": tree(lambda root: (root / "scripts").symlink_to("models")),
    "link_in_a_circle": tree(_looped),
    "link_instead_of_configuration": tree(_linked_configuration),
    "link_to_device": tree(lambda root: (root / "models" / "zero").symlink_to("/dev/zero")),
    "pipe_instead_of_weights": tree(lambda root: os.mkfifo(root / "models" / "pipe.pt")),
    "pipe_instead_of_policy": tree(lambda root: os.mkfifo(root / "bedside.toml")),
    "socket": tree(_socket),
    "setuid": tree(_setuid),
    "name_with_escape_sequence": text("models/\x1b[31mred.pt", b""),
    "name_with_line_break": text("models/a\nb.txt", b""),
    "name_with_backslash": text("models/..\\up.txt", b""),
    # weights
    "weights_pickle_system": text("models/model.pt", torch_zip(pickle.dumps(Evil(), protocol=2))),
    "weights_pickle_protocol_4": text("models/model.pt", torch_zip(pickle.dumps(Evil(), protocol=4))),
    "weights_pickle_protocol_0": text("models/model.pt", torch_zip(pickle.dumps(Evil(), protocol=0))),
    "weights_pickle_inst": text("models/model.pt", torch_zip(b"(S'id'\nios\nsystem\n.")),
    "weights_pickle_of_python_2": text("models/model.pt", torch_zip(global_pickle("__builtin__", "eval", "1"))),
    "weights_pickle_extension_code": text("models/model.pt", torch_zip(b"\x80\x02\x82\x01.")),
    "weights_pickle_truncated": text("models/model.pt", torch_zip(pickle.dumps({"a": 1}, protocol=2)[:-1])),
    "weights_pickle_upper_case": text("models/model.pt", torch_zip(pickle.dumps(Evil(), protocol=2), name="DATA.PKL")),
    "weights_pickle_second_member": text(
        "models/model.pt", torch_zip(b"\x80\x02}.", {"other/data.pkl": pickle.dumps(Evil(), protocol=2)})
    ),
    "weights_pickle_lookalike": text("models/model.pt", torch_zip(global_pickle("torch._utils", "_rebuild_tensor_v9"))),
    "weights_legacy": text("models/model.pt", legacy(pickle.dumps(Evil(), protocol=2))),
    "weights_legacy_ckpt": text("models/model.ckpt", pickle.dumps(Evil(), protocol=2)),
    "weights_legacy_pth": text("models/model.pth", pickle.dumps(Evil(), protocol=0)),
    "weights_legacy_second_pickle": text(
        "models/model.pt", pickle.dumps({}, protocol=2) + pickle.dumps(Evil(), protocol=2)
    ),
    "weights_pickle_other_suffix": text("models/labels.dat", pickle.dumps(Evil(), protocol=2)),
    "weights_joblib": text("models/model.joblib", pickle.dumps(Evil(), protocol=3)),
    "weights_not_a_pickle": text("models/model.pt", b"\x00" * 64),
    "weights_zip_in_zip": text(
        "models/model.pt2", torch_zip(b"\x80\x02}.", {"data/w.pt": torch_zip(pickle.dumps(Evil(), protocol=2))})
    ),
    "weights_numpy_objects_in_archive": text("models/mean.npz", torch_zip(b"\x80\x02}.", {"a.npy": object_array()})),
    "weights_numpy_objects": text("models/mean.npy", object_array()),
    "torchscript_writes_file": text("models/model.ts", script_with(f"torch.save(x, '{CANARY}')")),
    "torchscript_writes_file_by_ops": text("models/model.ts", script_with(f"ops.aten.save(x, '{CANARY}')")),
    "torchscript_writes_file_by_method": text("models/model.ts", script_with(f"x.save('{CANARY}')")),
    "torchscript_writes_file_by_getattr": text(
        "models/model.ts", script_with(f"y = getattr(torch, 'save')(x, '{CANARY}')")
    ),
    "torchscript_writes_file_by_alias": text("models/model.ts", script_with(f"t = torch\n    t.save(x, '{CANARY}')")),
    "torchscript_maps_file": text("models/model.ts", script_with("x = torch.from_file('/etc/passwd', True, 8)")),
    "torchscript_foreign_operator": text("models/model.ts", script_with("x = ops.image.read_file('/etc/passwd')")),
    "torchscript_foreign_class": text("models/model.ts", script_with("y = __torch__.torch.classes.a.B()")),
    "torchscript_no_source": text("models/model.ts", torchscript("def (:")),
    "torchscript_pickle": text(
        "models/model.ts",
        torch_zip(pickle.dumps(Evil(), protocol=2), {"code/__torch__.py": b"", "constants.pkl": b"\x80\x02)."}),
    ),
    "export_with_library": text(
        "models/model.pt2", torch_zip(b"\x80\x02}.", {"archive_format": b"pt2", "data/aotinductor/m/m.so": b"\x7fELF"})
    ),
    "safetensors_header_too_long": text("models/model.safetensors", struct.pack("<Q", 1 << 60) + b"{}"),
    "safetensors_overlap": text(
        "models/model.safetensors",
        safetensors({n: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for n in "ab"}, b"\0" * 4),
    ),
    "safetensors_beyond_the_end": text(
        "models/model.safetensors", safetensors({"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}})
    ),
    "safetensors_shape_contradicts": text(
        "models/model.safetensors",
        safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, b"\0" * 4),
    ),
    "safetensors_no_json": text("models/model.safetensors", safetensors(b"!!python")),
    "onnx_data_outside": text("models/model.onnx", onnx("../../../../etc/passwd")),
    "onnx_data_absolute": text("models/model.onnx", onnx("/etc/passwd")),
    "onnx_truncated": text("models/model.onnx", onnx("weights.bin")[:-3]),
}
"""Folders, by their defect."""


# ── archives ────────────────────────────────────────────────────────────────────────────────────────────────────────


def zipped(change: Callable[[zipfile.ZipFile], object] = lambda _archive: None) -> bytes:
    """Return the plain bundle as an archive, with ``change`` made to it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "bundle"
        plain(root)
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, f"bundle/{path.relative_to(root).as_posix()}")
        change(archive)
    return stream.getvalue()


def _entry(name: str, mode: int, content: bytes = b"x") -> Callable[[zipfile.ZipFile], object]:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return lambda archive: archive.writestr(info, content)


def _encrypted(data: bytes) -> bytes:
    # Bit 0 of the general purpose flags, in the first local and the first central header (APPNOTE 4.4.4).
    changed = bytearray(data)
    changed[6] |= 1
    changed[data.index(b"PK\1\2") + 8] |= 1
    return bytes(changed)


def _overlapping(data: bytes) -> bytes:
    # The second entry of the directory points to the first member.
    changed = bytearray(data)
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4)
    changed[second + 42 : second + 46] = b"\0\0\0\0"
    return bytes(changed)


def _two_bundles(archive: zipfile.ZipFile) -> None:
    archive.writestr("other/configs/metadata.json", "{}")


def _many_files(archive: zipfile.ZipFile) -> None:
    for number in range(10_001):
        archive.writestr(f"bundle/docs/{number}", "")


def _second_configuration(archive: zipfile.ZipFile) -> None:
    archive.writestr("bundle/configs/more.yaml", "x: $open('x')\n")
    archive.writestr("bundle/bedside.toml", 'config_files = ["inference.json", "more.yaml"]')


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "zip_slip": lambda: zipped(lambda a: a.writestr("../../escaped.txt", "x")),
    "zip_slip_inside": lambda: zipped(lambda a: a.writestr("bundle/../../escaped.txt", "x")),
    "zip_absolute": lambda: zipped(lambda a: a.writestr(str(CANARY), "x")),
    "zip_drive_letter": lambda: zipped(lambda a: a.writestr("C:/escaped.txt", "x")),
    "zip_backslash": lambda: zipped(lambda a: a.writestr("..\\escaped.txt", "x")),
    "zip_control_character": lambda: zipped(lambda a: a.writestr("bundle/a\x1b[2J", "x")),
    "zip_link": lambda: zipped(_entry("bundle/models/link", stat.S_IFLNK | 0o777, b"/etc/passwd")),
    "zip_device": lambda: zipped(_entry("bundle/models/device", stat.S_IFCHR | 0o666)),
    "zip_pipe": lambda: zipped(_entry("bundle/models/pipe", stat.S_IFIFO | 0o666)),
    "zip_bomb": lambda: zipped(lambda a: a.writestr("bundle/models/zeros", b"\0" * (32 << 20))),
    "zip_overlapping_members": lambda: _overlapping(zipped()),
    "zip_member_twice": lambda: zipped(lambda a: a.writestr("bundle/configs/INFERENCE.json", "{}")),
    "zip_file_as_folder": lambda: zipped(lambda a: a.writestr("bundle/models/model.pt/x", "x")),
    "zip_many_files": lambda: zipped(_many_files),
    "zip_encrypted": lambda: _encrypted(zipped()),
    "zip_with_prefix": lambda: b"#!/bin/sh\n" + zipped(),
    "zip_with_comment": lambda: zipped(lambda a: setattr(a, "comment", b"PK\5\6 another directory")),
    "zip_truncated": lambda: zipped()[:-30],
    "zip_two_bundles": lambda: zipped(_two_bundles),
    "zip_scripts": lambda: zipped(lambda a: a.writestr("bundle/scripts/__init__.py", "import os")),
    "zip_hostile_configuration": lambda: zipped(_second_configuration),
}
"""Archives, by their defect."""


def build_all(folder: Path) -> None:
    """Write every bundle and every archive below ``folder``."""
    for name, make in BUNDLES.items():
        make(folder / name)
    for name, pack in ARCHIVES.items():
        (folder / f"{name}.zip").write_bytes(pack())


if __name__ == "__main__":
    build_all(Path(sys.argv[1]))
