"""Whatever is done to an audit trail afterwards is found."""

import hashlib
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.observability.audit_chain import HEAD, SEGMENT, Chain, retire
from bedside.observability.audit_lines import AuditLines, Record
from bedside.observability.audit_reading import Verifier, chains, read_anchors, records
from bedside.observability.events import AuditAction
from bedside.observability.rendering import Service

KEY = b"k" * 32
SAME = {"transport": "rest", "operation": "predict", "outcome": "success", "model": "heart_disease"}


def called(number: int) -> Record:
    """Return the record of a call."""
    varying = {"request_id": f"{number:032x}", "input_hash": "f" * 64, "rows": 1}
    return Record(AuditAction.MODEL_CALLED, None, SAME, varying)


def own(action: AuditAction, **facts: object) -> Record:
    """Return a record of the trail's own."""
    return Record(action, None, facts)


def append(chain: Chain[Record], added: list[Record], *, closing: bool = False) -> None:
    """Link records, and write them."""
    chain.write([chain.link(record) for record in added], closing=closing)


def written(
    folder: Path, count: int = 8, *, close: bool = True, segment_bytes: int = 1500, extra: tuple[Record, ...] = ()
) -> Chain[Record]:
    """Write a chain of several segments."""
    chain = Chain(
        folder, KEY, AuditLines(Service("b", "test"), lambda *_: "ab"), segment_bytes=segment_bytes, synchronise=False
    )
    append(chain, [own(AuditAction.CHAIN_OPENED)])
    for number in range(count):
        append(chain, [called(number)])
    append(chain, [*extra, called(count)])
    if close:
        append(chain, [own(AuditAction.CHAIN_CLOSED)], closing=True)
    chain.close()
    return chain


def broken(folder: Path, key: bytes | None = KEY, anchors: dict[str, dict[int, str]] | None = None) -> list[int]:
    """Return the first broken record of each chain."""
    return [found.sequence for found in Verifier(folder, key, anchors).findings() if found.broken]


def segments(folder: Path) -> list[Path]:
    """Return the files."""
    return sorted(folder.glob(f"*{SEGMENT}"))


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """Return a folder with one chain that was ended in good order, 11 records in several files."""
    written(tmp_path)
    assert len(segments(tmp_path)) > 2
    return tmp_path


def test_what_was_written_is_verified(trail: Path) -> None:
    """Over several files, and with nothing to tell."""
    verifier = Verifier(trail, KEY)
    assert (verifier.findings(), verifier.records) == ([], 11)


def lines_of(folder: Path) -> list[tuple[Path, int]]:
    """Return file and number of each line."""
    return [(path, number) for path in segments(folder) for number in range(len(path.read_bytes().splitlines()))]


@pytest.mark.parametrize("which", range(11))
def test_removed_record_is_named(trail: Path, which: int) -> None:
    """The first, the last, and any between them."""
    path, number = lines_of(trail)[which]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
    assert broken(trail) == [which]


@pytest.mark.parametrize("which", range(11))
def test_altered_record_is_named(trail: Path, which: int) -> None:
    """In a way that JSON allows; the record after it tells, and of the last the head."""
    path, number = lines_of(trail)[which]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b'"@timestamp":"20', b'"@timestamp":"19')
    path.write_bytes(b"".join(lines))
    assert broken(trail) == [which]


def test_cut_off_end_is_found(trail: Path) -> None:
    """Line by line, and file by file."""
    last = segments(trail)[-1]
    lines = last.read_bytes().splitlines(keepends=True)
    first = 11 - len(lines)
    for kept in reversed(range(len(lines))):
        last.write_bytes(b"".join(lines[:kept]))
        assert broken(trail) == [first + kept]
    last.unlink()
    assert broken(trail) == [first]


def test_swapped_records_are_found(trail: Path) -> None:
    """The first that is not in its place."""
    path = segments(trail)[0]
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))
    assert broken(trail)


def test_records_after_the_end_are_found(trail: Path) -> None:
    """Copied, or half a line."""
    last = segments(trail)[-1]
    content = last.read_bytes()
    for added in (content.splitlines(keepends=True)[-1], b"{"):
        last.write_bytes(content + added)
        assert broken(trail) == [11]


def test_records_added_where_the_end_was_not_in_good_order_are_told(tmp_path: Path) -> None:
    """A process that was killed leaves no end; what comes after its head is told, and is no more than that."""
    chain = written(tmp_path, close=False)
    (found,) = Verifier(tmp_path, KEY).findings()
    assert (found.broken, found.sequence, found.text.split(": ")[1]) == (False, 10, "0 records after the head")
    with chain.segment.open("ab") as file:
        file.write(b'{"torn')
    (found,) = Verifier(tmp_path, KEY).findings()
    assert not found.broken
    assert "a line that was cut off" in found.text


@pytest.mark.parametrize("change", ["removed", "unreadable", "of nobody", "older"])
def test_head_that_is_not_the_chains_is_found(trail: Path, change: str) -> None:
    """It is sealed with the site's key."""
    (head,) = trail.glob(f"*{HEAD}")
    content = head.read_bytes()
    if change == "removed":
        head.unlink()
    elif change == "unreadable":
        head.write_bytes(content[:-9])
    elif change == "of nobody":
        assert not broken(trail, None)
        assert broken(trail, b"another key")
        return
    else:
        head.write_bytes(content.replace(b'"sequence":10', b'"sequence":9'))
    assert broken(trail)


def test_chain_that_is_gone_is_found_by_its_anchors(trail: Path) -> None:
    """What the log of the time says was there."""
    (chain,) = chains(trail)
    for path in trail.iterdir():
        path.unlink()
    assert broken(trail) == []
    assert broken(trail, anchors={chain: {7: "ab"}}) == [0]


def test_anchor_that_differs_is_found(trail: Path) -> None:
    """A chain that was made anew with the key is not the one that was told."""
    (chain,) = chains(trail)
    assert broken(trail, anchors={chain: {4: "ab"}}) == [4]


def test_anchors_are_read_from_the_log() -> None:
    """Among other lines."""
    line = b'{"message":"audit_anchored","bedside":{"audit":{"chain":"c","sequence":3,"head":"ab"}}}\n'
    assert read_anchors(b"x\n" + line) == {"c": {3: "ab"}}


def test_retired_file_is_missed_only_where_nothing_says_so(tmp_path: Path) -> None:
    """Retention removes old files, and the chain that does so records it."""
    written(tmp_path)
    oldest = segments(tmp_path)[0]
    inner = oldest.name.partition(".")[0]
    content = oldest.read_bytes()
    count = len(content.splitlines())
    oldest.unlink()
    assert broken(tmp_path) == [0]
    written(tmp_path, extra=(own(AuditAction.SEGMENT_RETIRED, retired_chain=inner, retired_sequence=count - 1),))
    assert broken(tmp_path) == []
    anchored = {"gone": {1: "ab"}}
    assert broken(tmp_path, anchors=anchored) == [0]
    written(tmp_path, extra=(own(AuditAction.SEGMENT_RETIRED, retired_chain="gone", retired_sequence=3),))
    assert broken(tmp_path, anchors=anchored) == []


def test_what_follows_a_head_excuses_nothing(tmp_path: Path) -> None:
    """Whoever can add lines to a chain that was not ended could say that a file was retired, or change those before."""
    chain = written(tmp_path, close=False)
    head = tmp_path / f"{chain.id}{HEAD}"
    sealed = head.read_bytes()
    victim = written(tmp_path)
    retired = own(AuditAction.SEGMENT_RETIRED, retired_chain=victim.id, retired_sequence=10)
    with chain.segment.open("ab") as file:
        file.write(AuditLines(Service("b", "test"), lambda *_: "ab")(retired, chain.id, 10, chain.head.digest))
    for path in (*segments(tmp_path), tmp_path / f"{victim.id}{HEAD}"):
        if path.name.startswith(victim.id):
            path.unlink()
    assert broken(tmp_path, anchors={victim.id: {10: victim.head.digest}}) == [0]
    head.write_bytes(sealed.replace(b'"sequence":9', b'"sequence":10'))
    assert broken(tmp_path) == [0]


def test_end_that_was_made_anew_beyond_the_head_is_found(tmp_path: Path) -> None:
    """The head is of a record among them, not only of the last."""
    chain = written(tmp_path, close=False, segment_bytes=10**6)
    first = chain.segment.read_bytes().splitlines(keepends=True)[0]
    render = AuditLines(Service("b", "test"), lambda *_: "ab")
    digest, lines = hashlib.sha256(first).hexdigest(), [first]
    for number in range(1, 12):
        lines.append(render(called(100 + number), chain.id, number, digest))
        digest = hashlib.sha256(lines[-1]).hexdigest()
    chain.segment.write_bytes(b"".join(lines))
    assert broken(tmp_path) == [chain.head.sequence]


def test_records_whose_head_cannot_be_written_are_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full between the two; the same records, written again, do not follow themselves."""
    chain = Chain(tmp_path, KEY, AuditLines(Service("b", "test"), lambda *_: "ab"), segment_bytes=1, synchronise=False)
    append(chain, [own(AuditAction.CHAIN_OPENED)])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", Mock(side_effect=OSError(28, "full")))
        link = chain.link(called(0))
        with pytest.raises(OSError, match="full"):
            chain.write([link])
    chain.write([link])
    append(chain, [own(AuditAction.CHAIN_CLOSED)], closing=True)
    chain.close()
    verifier = Verifier(tmp_path, KEY)
    assert (verifier.findings(), verifier.records) == ([], 3)


def test_file_that_nobody_can_read_is_not_retired(tmp_path: Path) -> None:
    """Empty, no record, gone meanwhile; of a last line that was cut off the one before counts."""
    (tmp_path / f"empty.000000{SEGMENT}").touch()
    (tmp_path / f"foreign.000000{SEGMENT}").write_bytes(b"{}\n")
    (tmp_path / f"gone.000000{SEGMENT}").symlink_to("nowhere")
    torn = written(tmp_path, close=False, segment_bytes=10**6)
    with torn.segment.open("ab") as file:
        file.write(b'{"torn')
    assert list(retire(tmp_path, "", before=4e9)) == [(torn.id, 9)]


def test_retention_removes_old_files_of_others(tmp_path: Path) -> None:
    """With their last numbers; the head goes with the last file, and what is one's own stays."""
    old = written(tmp_path)
    new = written(tmp_path)
    found = list(retire(tmp_path, new.id, before=4e9))
    assert {chain for chain, _ in found} == {old.id}
    assert found[-1] == (old.id, 10)
    assert chains(tmp_path) == {new.id}
    assert not list(retire(tmp_path, "", before=0))


def test_records_are_read_by_their_moment(trail: Path) -> None:
    """From the first moment to before the last; a torn line is left out."""
    with segments(trail)[-1].open("ab") as file:
        file.write(b'{"torn')
    moments = sorted(record["@timestamp"] for record in records(trail))
    assert len(moments) == 11
    assert len(list(records(trail, moments[3], moments[5]))) == len(
        [m for m in moments if moments[3] <= m < moments[5]]
    )


@given(st.data())
def test_any_mutation_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes changed, removed, put in, cut off or moved, in any file of the chain."""
    folder = tmp_path_factory.mktemp("trail")
    written(folder, count=3)
    path = data.draw(st.sampled_from(segments(folder)), label="file")
    content = path.read_bytes()
    begin = data.draw(st.integers(0, len(content)), label="begin")
    end = data.draw(st.integers(begin, min(len(content), begin + 2000)), label="end")
    put = data.draw(st.binary(max_size=8) | st.just(content[:end]), label="put")
    changed = content[:begin] + put + content[end:]
    path.write_bytes(changed)
    assert bool(broken(folder)) == (changed != content)
