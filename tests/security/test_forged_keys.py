"""Keys that somebody else stored: by them a writer decides whether an event, a subject, a producer's batch is known already."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.columns.keys import key_files
from eventlake.columns.parquet import manifest_rows
from eventlake.core.documents.manifest import KeyFile
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.errors import ConflictError, EventlakeError, InvalidEventsError
from eventlake.log.chain import check_derived
from eventlake.storage import LocalStorage
from tests.support.forging_on_disk import commits_of, forge_commit, head_of, payment
from tests.support.limits import limited

OTHER = np.uint64(0x00F0 << 48)
"""Changes every fingerprint."""


def batches_of(where):
    """The batches of the producer ``core-bank``, at the positions 0, 1, …"""
    return (
        [range(700)]
        if where == "a large commit"
        else [range(start, start + 5) for start in range(0, 60, 5)]
    )


@pytest.fixture(params=["a tier", "a large commit", "the commits themselves"])
def where(request):
    return request.param


@pytest.fixture
def opened(where):
    """Opens the lake; with small tiers, if the keys are in a tier."""

    def open_lake(root, **options):
        lake = el.open(root, **options)
        return limited(lake, fold_weight=100) if where == "a tier" else lake

    return open_lake


@pytest.fixture
def root(tmp_path, where, opened):
    el.create(tmp_path / "lake", origin="bank.example/loans")
    lake = opened(tmp_path / "lake")
    for position, numbers in enumerate(batches_of(where)):
        lake.append(
            [payment(number) for number in numbers], producer="core-bank", position=position
        )
    return tmp_path / "lake"


def changed(run):
    order = np.argsort(run.heads ^ OTHER)
    heads, versions = (run.heads ^ OTHER)[order], run.versions[order]
    return type(run)(run.start, run.shift, np.sort(run.ids ^ OTHER), heads, versions)


def forged(root, document):
    """A key file with other keys under the name that it must have; and what a commit must say of it."""
    file = KeyFile(
        *(document[name] for name in ("sha256", "bytes", "ids", "heads", "start", "shift"))
    )
    data = key_files.encode(
        changed(key_files.decode((root / "keys" / f"{file.sha256}.keys").read_bytes(), file, ""))
    )
    (root / "keys" / f"{sha256_hex(data)}.keys").write_bytes(data)
    return {"sha256": sha256_hex(data), "bytes": len(data)}


def files_of(document):
    return [*(tier["keys"] for tier in document["tiers"]), *document["recent"]["files"]]


def forge_named(root):
    """The head names key files without the keys, and carries none."""

    def change(document):
        for file in files_of(document):
            file.update(forged(root, file))
        document["recent"].update(ids="", heads="")

    forge_commit(root, head_of(root)[0], change)


def forge_in_place(root):
    """Key files are rewritten under their names, every checksum in them right."""
    for file in files_of(head_of(root)[1]):
        name = forged(root, file)["sha256"]
        (root / "keys" / f"{name}.keys").replace(root / "keys" / f"{file['sha256']}.keys")


DECISIONS = {
    "a duplicate": (lambda lake: lake.append([payment(3)]), InvalidEventsError),
    "a subject that must be new": (
        lambda lake: lake.append([payment(9000, "/loan/3")], expect=[el.pristine("/loan/3")]),
        ConflictError,
    ),
    "a subtree that must be new": (
        lambda lake: lake.append(
            [payment(9000, "/x")], expect=[el.pristine("/loan", subtree=True)]
        ),
        ConflictError,
    ),
    "a position that is taken": (
        lambda lake: lake.append([payment(9000)], producer="core-bank", position=0),
        ConflictError,
    ),
    "a position after a gap": (
        lambda lake: lake.append([payment(9000)], producer="core-bank", position=77),
        ConflictError,
    ),
}


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("whose", ["a stranger's", "one's own"])
def test_keys_that_a_head_names_falsely_fool_no_append(root, stranger, whose, decision, opened):
    forge_named(root)
    if whose == "a stranger's":
        stranger()
    before = opened(root).watermark
    with pytest.raises(EventlakeError, match="keys"):
        DECISIONS[decision][0](opened(root))
    assert opened(root).watermark == before


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("whose", ["a stranger's", "one's own"])
def test_key_files_that_were_rewritten_in_place_fool_no_append(
    root, stranger, whose, decision, opened
):
    forge_in_place(root)
    append, refusal = DECISIONS[decision]
    if whose == "a stranger's":
        stranger()
        refusal = EventlakeError
    before = opened(root).watermark
    with pytest.raises(refusal):
        append(opened(root))
    assert opened(root).watermark == before


@pytest.mark.parametrize("whose", ["a stranger's", "one's own"])
def test_an_identical_event_is_still_skipped(root, stranger, whose, opened):
    if whose == "a stranger's":
        stranger()
    receipt = opened(root).append([payment(3), payment(9000)], duplicates="skip_identical")
    assert (receipt.skipped, receipt.stop - receipt.start) == (1, 1)


def test_keys_that_others_stored_soundly_are_checked_once(root, stranger, monkeypatch, opened):
    stranger()
    with pytest.raises(InvalidEventsError):
        opened(root).append([payment(3)])
    monkeypatch.setattr(check_derived, "_rebuilt", lambda *_: pytest.fail("made again"))
    with pytest.raises(InvalidEventsError):
        opened(root).append([payment(3)])
    opened(root).append([payment(9001)])
    with pytest.raises(InvalidEventsError):
        opened(root).append([payment(9001)])


def test_ones_own_keys_are_not_made_again(root, monkeypatch, opened):
    monkeypatch.setattr(check_derived, "_rebuilt", lambda *_: pytest.fail("made again"))
    opened(root).append([payment(9001)])
    with pytest.raises(InvalidEventsError):
        opened(root).append([payment(9001)])


def test_with_trust_in_the_lake_the_keys_that_its_head_names_are_believed(root, stranger, opened):
    forge_named(root)
    stranger()
    assert opened(root, trust="lake").append([payment(3)]).stop == opened(root).watermark


def test_a_deep_verification_makes_keys_again(root, opened):
    assert opened(root).verify(deep=True).ok
    forge_named(root)
    report = opened(root).verify(deep=True)
    assert any("its keys do not match the events" in problem.message for problem in report.problems)


@pytest.mark.thorough
def test_commits_of_two_users_in_turn_are_each_checked_by_the_other(tmp_path, monkeypatch):
    users = [tmp_path / name for name in ("she", "he")]
    for folder in users:
        folder.mkdir(mode=0o700)
    monkeypatch.setenv("EVENTLAKE_CACHE", str(users[0]))
    el.create(tmp_path / "lake", origin="bank.example/loans")
    for number in range(40):
        monkeypatch.setenv("EVENTLAKE_CACHE", str(users[number % 2]))
        lake = limited(el.open(tmp_path / "lake"), fold_weight=200)
        lake.append([payment(number)])
        with pytest.raises(InvalidEventsError):
            lake.append([payment(number // 2)])
    assert lake.watermark == 40
    assert lake.snapshot().scan().collect()["id"].to_list() == [
        f"p{number}" for number in range(40)
    ]
    assert lake.verify(deep=True).ok


def test_rows_of_a_tier_that_do_not_say_what_the_log_says_are_refused(tmp_path, stranger):
    """The rows claim that an event was recorded at another instant, and the head names them by their hash."""
    root = tmp_path / "lake"
    lake = limited(el.create(root, origin="bank.example/loans"), fold_weight=100)
    for number in range(20):
        lake.append([payment(number)])
    version, document = head_of(root)
    tier = document["tiers"][-1]
    path = next((root / "manifests").glob(f"*{tier['rows']['sha256'][:12]}*"))
    table = pq.read_table(path)
    at = table.schema.get_field_index("recorded_at")
    table = table.set_column(
        at, table.schema.field(at), pa.array([1] * table.num_rows, table.schema.field(at).type)
    )
    data = manifest_rows.encode_table(table)
    (root / "manifests" / f"{tier['stop']:020d}-{sha256_hex(data)[:12]}.parquet").write_bytes(data)

    def change(document):
        document["tiers"][-1]["rows"] = {"sha256": sha256_hex(data), "bytes": len(data)}

    forge_commit(root, version, change)
    stranger()
    with pytest.raises(EventlakeError, match="does not match the commits"):
        el.open(root).snapshot().scan().collect()


def blamed(root):
    return {finding.path for finding in verify_lake(LocalStorage(root), deep=True).problems}


def test_keys_that_any_commit_carries_falsely_are_found_though_the_head_carries_others(
    root, where, opened
):
    """An earlier commit carries other keys; the commits after it carry the right ones."""
    version = 1 if where == "a large commit" else 3

    def change(document):
        for file in files_of(document):
            file.update(forged(root, file))
        document["recent"].update(ids="", heads="")

    lake = opened(root)
    lake.append([payment(9000)])
    lake.append([payment(9001)])
    assert lake.verify(deep=True).ok
    forge_commit(root, version, change)
    assert f"log/{version:020}.json" in blamed(root)


def test_a_key_file_of_a_tier_that_the_head_names_no_more_is_compared(tmp_path):
    lake = limited(el.create(tmp_path / "lake", origin="bank.example/loans"), fold_weight=100)
    root, kept = tmp_path / "lake", tmp_path / "kept"
    for start in range(0, 200, 5):
        lake.append([payment(number) for number in range(start, start + 5)])
        if (root / "keys").exists():
            shutil.copytree(root / "keys", kept, dirs_exist_ok=True)
    # Earlier versions left what a fold replaced to the next garbage collection.
    shutil.copytree(kept, root / "keys", dirs_exist_ok=True)
    now = {file["sha256"] for file in files_of(head_of(root)[1])}
    version, superseded = next(
        (version, document["tiers"][-1]["keys"])
        for version, document in commits_of(root).items()
        if document["tiers"] and document["tiers"][-1]["keys"]["sha256"] not in now
    )
    assert lake.verify(deep=True).ok

    def change(document):
        document["tiers"][-1]["keys"].update(forged(root, superseded))

    forge_commit(root, version, change)
    name = commits_of(root)[version]["tiers"][-1]["keys"]["sha256"]
    assert f"keys/{name}.keys" in blamed(root)


@pytest.mark.parametrize("step", [1, 2])
def test_a_tier_whose_keys_leave_out_its_first_commits_is_refused(tmp_path, step, stranger):
    lake = limited(el.create(tmp_path / "lake", origin="bank.example/loans"), fold_weight=100)
    for start in range(0, 60, 5):
        lake.append([payment(number) for number in range(start, start + 5)])
    root = tmp_path / "lake"
    version = head_of(root)[0]
    forge_commit(root, version, lambda document: document["tiers"][0]["keys"].update(start=step))
    stranger()
    with pytest.raises(EventlakeError, match="expected keys from commit 0 on"):
        el.open(root).append([payment(0)])
    assert f"log/{version:020}.json" in blamed(root)


def test_rows_that_the_head_names_no_more_are_not_read_if_they_are_longer_than_was_recorded(
    tmp_path, monkeypatch
):
    root = tmp_path / "lake"
    lake = limited(el.create(root, origin="bank.example/loans"), fold_weight=100)
    for start in range(0, 200, 5):
        lake.append([payment(number) for number in range(start, start + 5)])
    now = {tier["rows"]["sha256"] for tier in head_of(root)[1]["tiers"]}
    rows = next(
        tier["rows"]["sha256"]
        for document in commits_of(root).values()
        for tier in document["tiers"]
        if tier["rows"]["sha256"] not in now
    )
    (path,) = (root / "manifests").glob(f"*{rows[:12]}*")
    with path.open("ab") as file:
        file.write(bytes(1_000))
    name = path.relative_to(root).as_posix()
    held = []
    monkeypatch.setattr(
        LocalStorage,
        "read",
        lambda self, asked, read=LocalStorage.read: held.append(asked) or read(self, asked),
    )
    storage = LocalStorage(root)
    storage.piece_bytes = 100
    assert [one.path for one in verify_lake(storage, deep=True).problems] == [name]
    assert held.count(name) == 0
