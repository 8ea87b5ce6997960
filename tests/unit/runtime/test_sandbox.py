"""How a model's process is confined: the order, what is told, and what a platform may lack."""

import os
import platform
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from bedside.errors import LoadFailed
from bedside.runtime import landlock, sandbox
from bedside.runtime.sandbox import Room


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Return a room with its folders."""
    room = Room(tmp_path / "private", ())
    room.private.mkdir()
    room.make()
    return room


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace every layer by a note that it was put on: this process must stay as it is."""
    done: list[str] = []
    for name in ("_leave_network", "_refuse_privileges", "_drop_capabilities", "_filter_calls"):
        monkeypatch.setattr(sandbox, name, lambda name=name: done.append(name))
    monkeypatch.setattr(sandbox, "_restrict_files", lambda _room: done.append("_restrict_files"))
    monkeypatch.setattr(sandbox, "_limit_resources", lambda: done.append("_limit_resources"))
    monkeypatch.setattr(sandbox, "use_scratch", lambda _folder: None)
    return done


def fail() -> None:
    """Be a layer that this platform lacks."""
    raise OSError("no such thing here")


def in_a_child(work: Callable[[], object]) -> str:
    """Return what ``work`` gives, as text, or the class of what it raises, in a process of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(work())
        except BaseException as error:  # noqa: BLE001 - the parent asserts on it
            answer = type(error).__name__
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        answer = stream.read()
    os.waitpid(pid, 0)
    return answer


def test_layers_are_put_on_in_an_order_that_works(room: Room, done: list[str]) -> None:
    """The name space while there is a capability, the files once no privilege can be gained, the calls last of all."""
    assert sandbox.confine(room, "require") == sandbox.LAYERS
    assert done[0] == "_limit_resources"
    assert done.index("_leave_network") < done.index("_drop_capabilities")
    assert done.index("_refuse_privileges") < done.index("_restrict_files") < done.index("_filter_calls")
    assert done[-1] == "_filter_calls"


def test_off_limits_resources_and_nothing_else(room: Room, done: list[str]) -> None:
    """A core file of a patient's image is never wanted."""
    assert sandbox.confine(room, "off") == ()
    assert done == ["_limit_resources"]


def test_what_a_platform_lacks_is_left_out_and_not_claimed(
    room: Room, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``auto`` goes on with the rest."""
    monkeypatch.setattr(sandbox, "_restrict_files", lambda _room: fail())
    monkeypatch.setattr(sandbox, "_leave_network", fail)
    assert sandbox.confine(room, "auto") == ("no_new_privileges", "capabilities", "system_calls")


def test_require_names_what_is_missing(room: Room, done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A name space of its own is not asked for: an ordinary user has none, and the calls deny the network too."""
    monkeypatch.setattr(sandbox, "_leave_network", fail)
    assert "network_namespace" not in sandbox.confine(room, "require")
    monkeypatch.setattr(sandbox, "_restrict_files", lambda _room: fail())
    monkeypatch.setattr(sandbox, "_filter_calls", fail)
    with pytest.raises(LoadFailed, match="lacks: files, system_calls"):
        sandbox.confine(room, "require")


def test_a_kernel_without_landlock_has_no_layer_of_files(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor has one without Linux, and an architecture without a filter has no layer of calls."""
    monkeypatch.setattr(landlock, "_call", Mock(side_effect=OSError))
    assert landlock.version() == 0
    with pytest.raises(OSError, match="Landlock"):
        sandbox._restrict_files(room)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="architecture"):
        sandbox._filter_calls()


@pytest.mark.skipif(not landlock.version(), reason="needs Landlock: Linux 5.13 or newer with it in CONFIG_LSM")
def test_an_ordinary_user_is_confined_as_well(room: Room, tmp_path: Path) -> None:
    """No layer but the name space needs a privilege; what one may do with files is what the room says."""
    secret = tmp_path / "secret"
    secret.write_text("key")
    ordinary = 65534
    for path in (room.private, room.inputs, room.output, room.scratch, secret):
        os.chown(path, ordinary, ordinary) if os.geteuid() == 0 else None
    for folder in (*tmp_path.parents, tmp_path):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)

    def work() -> str:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(ordinary, ordinary, ordinary)
            os.setresuid(ordinary, ordinary, ordinary)
        assert secret.read_text() == "key"
        held = set(sandbox.confine(room, "require"))
        (room.output / "mask.nii").write_text("voxels")
        refused = []
        for attempt in (secret.read_text, lambda: (room.inputs / "x").write_text("x"), os.fork):
            try:
                attempt()
            except PermissionError:
                refused.append(True)
        return f"{held >= set(sandbox.REQUIRED)} {len(refused)}"

    assert in_a_child(work) == "True 3"


def test_no_core_file_and_no_endless_file(room: Room) -> None:
    """The limits of a process, in one."""

    def work() -> object:
        sandbox._limit_resources()
        return resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_FSIZE)[0]

    assert in_a_child(work) == str(((0, 0), sandbox.MAX_FILE_BYTES))


def test_the_kernel_takes_a_model_before_the_server(room: Room) -> None:
    """Raising one's own score needs no privilege."""

    def work() -> bool:
        sandbox.offer_to_the_kernel()
        return int(Path("/proc/self/oom_score_adj").read_text()) >= 500

    assert in_a_child(work) == "True"


def test_descriptors_that_are_not_named_lead_nowhere(tmp_path: Path) -> None:
    """Not closed: the next file that is opened would take the number, and somebody still writes to it."""
    secret = tmp_path / "secret"
    secret.write_text("key")

    def work() -> object:
        kept, lost = os.open(secret, os.O_RDONLY), os.open(secret, os.O_RDONLY)
        sandbox.keep_only([kept])
        return os.read(kept, 9), os.read(lost, 9), os.path.samestat(os.fstat(1), Path(os.devnull).stat())

    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        keep = sandbox.keep_only
        sandbox.keep_only = lambda kept: keep([*kept, write])  # type: ignore[assignment]
        os.write(write, str(work()).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        assert stream.read() == "(b'key', b'', True)"
    os.waitpid(pid, 0)


def test_without_proc_descriptors_are_tried_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system that mounts none."""

    def missing(_self: Path) -> Iterator[Path]:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "iterdir", missing)
    assert {0, 1, 2} <= set(sandbox._open_descriptors())
