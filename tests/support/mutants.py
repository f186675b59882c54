"""Mutants of stored documents, and what a lake does with them: a named error, or what it said before.

A mutant is decoded first, by what reads such a document. What decodes is put into a copy of the
lake, with every checksum and hash made to hold, and the lake is opened, read, verified, appended to
and collected.
"""

import copy
import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

import eventlake as el
from eventlake.columns.keys import key_files
from eventlake.columns.parquet import frames, manifest_rows, segments
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.dataset import DatasetManifest
from eventlake.core.documents.lake import read_hint, read_lake, read_removed, read_tag
from eventlake.core.documents.manifest import KeyFile
from eventlake.core.documents.provenance import read_provenance
from eventlake.core.hashing.canonical import CHECKSUM, seal, unseal
from eventlake.datasets.building import build_once
from eventlake.datasets.definitions.lock import Lock
from eventlake.datasets.store.archive import open_archive
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.errors import EventlakeError
from eventlake.features.feature_set import FeatureSet
from eventlake.features.spines.spine import spine_of
from eventlake.importing.mapping import read_mapping
from eventlake.schemas.catalogue import Catalogue
from eventlake.storage import MemoryStorage
from tests.support import forging
from tests.support.forging import QUERY, TYPE, payments, put
from tests.support.limits import limited
from tests.support.parquet_mutants import parquet_mutant

SECONDS = 20.0
"""What the slowest mutant may take, on a loaded machine."""
UPCAST = {"cents": "CAST(amount * 100 AS BIGINT)"}
V2 = {
    "type": "object",
    "properties": {
        "cents": {"type": "integer"},
        "how": {"type": "string", "enum": ["card", "cash"]},
    },
    "required": ["cents"],
}
INTEGERS = (
    0,
    1,
    -1,
    2,
    63,
    64,
    255,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**62,
    2**62 + 1,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**40,
    10**400,
)
TEXTS = (
    "", " ", "\0", "a\0b", "\x1b[2J", "\u202e", "\n", "/", "..",
    "../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "*", "?", "'",
    '"', "'); DROP TABLE events; --", "$(id)", "NaN", "Infinity", "true", "null", "0", "-1", "1e999", "1.0", "x" * 5_000, "é", "\U0001f986",
    "0" * 64, "F" * 64, "2026-01-01T00:00:00Z", "exact", "sql", "python", "features", "events", "spine", "sequence", "subject",
    "decimal(99, 99)", "list<" * 300, "utf8", "int64", "struct", "append", "fence", "compact", "fold", "schema", TYPE, "prediction.made",
)  # fmt: skip
OTHERS = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [{}],
    {"": {}},
    {"kind": "struct"},
    [0, 0],
    ["a", "b"],
    1.0,
    0.5,
    1e300,
    -0.0,
)
POOL = (*INTEGERS, *TEXTS, *OTHERS)


def nested(depth, kind):
    value = 0
    for _ in range(depth):
        value = [value] if kind else {"parts": value}
    return value


def places(value, path=()):
    """The paths to every value of a document."""
    yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for step, one in inner:
        yield from places(one, (*path, step))


def mutated(dice, document):
    """A document in which one to three things are changed."""
    changed = copy.deepcopy(document)
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        way = dice.choice([path for path in places(changed) if path])
        *up, last = way
        holder = changed
        for step in up:
            holder = holder[step]
        _change(dice, holder, last, changed)
        if not changed:
            return changed
    return changed


def _change(dice, holder, last, whole):
    value, what = holder[last], dice.random()
    if what < 0.45:
        holder[last] = copy.deepcopy(dice.choice(POOL))
    elif what < 0.55:
        del holder[last]
    elif what < 0.62 and isinstance(holder, dict):
        holder[dice.choice([text for text in TEXTS if isinstance(text, str)])] = copy.deepcopy(
            dice.choice([value, *POOL])
        )
    elif what < 0.68:
        holder[last] = nested(dice.choice([1, 5, 50, 120]), dice.random() < 0.5)
    elif what < 0.76:
        other = whole
        for step in dice.choice(list(places(whole))):
            other = other[step]
        holder[last] = copy.deepcopy(other)
    elif isinstance(value, int) and not isinstance(value, bool):
        holder[last] = value + dice.choice([-1, 1, -value, value, 10**6])
    elif isinstance(value, str) and value:
        at = dice.randrange(len(value))
        holder[last] = dice.choice(
            [
                value[:at],
                value + value,
                value[:at] + dice.choice("0aZ\0é'\"/.") + value[at + 1 :],
                value.upper(),
            ]
        )
    elif isinstance(value, list) and value:
        holder[last] = dice.choice(
            [value[:-1], value[1:], [*value, copy.deepcopy(value[0])], value[::-1], value * 2]
        )
    else:
        holder[last] = copy.deepcopy(dice.choice(POOL))


def torn(dice, data):
    """Bytes that are changed in one to three places."""
    changed = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 3])):
        at = dice.randrange(len(changed) + 1)
        what = dice.randrange(7)
        if what == 0 and changed:
            changed[min(at, len(changed) - 1)] ^= 1 << dice.randrange(8)
        elif what == 1:
            del changed[at:]
        elif what == 2:
            del changed[at : at + dice.choice([1, 2, 16])]
        elif what == 3:
            changed[at:at] = dice.choice(
                [
                    b"\0",
                    b"\xff",
                    b"\xed\xa0\x80",
                    b"NaN",
                    b"1e999",
                    b'"\\ud800"',
                    b"9" * 5000,
                    b",",
                    b"}",
                    b'"',
                    b"\xef\xbb\xbf",
                ]
            )
        elif what == 4:
            changed[at:at] = dice.choice([b"[", b"{", b'{"a":', b"[{"]) * dice.choice(
                [1, 100, 20_000]
            )
        elif what == 5:
            changed[at:at] = changed[max(at - dice.choice([4, 40, 400]), 0) : at]
        else:
            cut = changed.split(b",")
            dice.shuffle(cut)
            changed = bytearray(b",".join(cut))
    return bytes(changed)


@cache
def rich_files():
    """A lake with every kind of file."""
    lake = limited(el.create(storage := MemoryStorage(), "adv.example/rich"), fold_weight=200)
    lake.register(TYPE, forging.SCHEMA)
    for number in range(8):
        lake.append(payments(range(number * 4, number * 4 + 4)), producer="bank", position=number)
    lake.append(payments(range(100, 700)))
    lake.compact()
    lake.append(
        [
            {
                "id": "x",
                "source": "core",
                "type": "other.thing",
                "subject": "/x/1",
                "data": {"é": [1, {"a": None}]},
            }
        ]
    )
    lake.register(TYPE, V2, upcast=UPCAST)
    lake.append(
        [
            {
                "id": "c",
                "source": "core",
                "type": TYPE,
                "subject": "/loan/1",
                "data": {"cents": 7, "how": "card"},
            }
        ]
    )
    lake.snapshot().table(TYPE).collect()
    built = lake.build(el.Projection.sql("paid", QUERY, key=["subject"]))
    spine = el.spine.on(TYPE, where=el.field("cents") > 100).label(
        "more", el.exists(TYPE), horizon="5d"
    )
    risk = el.FeatureSet(
        "risk",
        features=[el.count(TYPE, window="30d"), (el.sum(TYPE, "cents") / 2).name("half")],
        known="watermark",
    )
    lake.build(risk, spine=spine)
    lake.tag(built.manifest_hash, "model-1")
    assert lake._chain.head.commit.tiers
    return {item.path: storage.read(item.path) for item in storage.list("")}


def rich_lake():
    storage = MemoryStorage()
    for path, data in rich_files().items():
        storage.create(path, data)
    return storage


def said(storage):
    """What a lake holds."""
    return el.open(storage).snapshot().scan(columns=["id", "source", "data"]).collect().rows()


@cache
def truth():
    return said(rich_lake())


def calls(storage):
    """What a user may do with a lake, each of which may be refused by name."""
    yield "open", lambda: el.open(storage)
    yield "verify", lambda: verify_lake(storage, deep=True)
    lake = el.open(storage)
    yield (
        "scan",
        lambda: said(storage) == truth() or verify_lake(storage, deep=True).problems or _wrong(),
    )
    yield (
        "sql",
        lambda: (
            lake.snapshot().sql("SELECT count(*), max(recorded_at), min(time) FROM events").polars()
        ),
    )
    yield "table", lambda: lake.snapshot().table(TYPE).collect()
    yield "log", lake.log
    yield "at", lambda: lake.snapshot(lake.watermark - 1)
    yield "datasets", lake.datasets
    yield "tags", lake.tags
    yield "named", lambda: lake.dataset("model-1").polars()
    yield "gc", lambda: lake.gc(older_than=timedelta(0))
    yield "prune", lambda: lake.prune(older_than=timedelta(0), keep_last=0)
    for dataset in lake.datasets():
        yield "rows", dataset.polars
        yield "card", dataset.card
        yield "reproduce", lambda dataset=dataset: lake.reproduce(dataset.manifest_hash)
        yield (
            "explain",
            lambda dataset=dataset: lake.explain(
                dataset.manifest_hash, dataset.polars().row(0)[:1]
            ),
        )
    yield "check", lambda: lake.check(payments([3, 300]))
    yield (
        "append",
        lambda: lake.append(
            [
                {
                    "id": "new",
                    "source": "core",
                    "type": TYPE,
                    "subject": "/loan/1",
                    "data": {"cents": 1},
                }
            ]
        ),
    )
    yield "again", lambda: lake.append(payments(range(4)), producer="bank", position=0)
    yield "compact", lake.compact
    yield "collect", lambda: lake.gc(older_than=timedelta(0), dry_run=False)


def _wrong():
    raise AssertionError("the lake says something else than was appended")


@dataclass(frozen=True)
class Kind:
    """A kind of document.

    Attributes:
        read: Gives its document, or its bytes, in a lake.
        spell: A document as bytes.
        decode: What reads such bytes.
        install: Puts changed bytes, which decode, into a lake; gives what to do besides ``calls``.
        change: Makes a mutant of its bytes; None for one of its document.
    """

    read: Callable
    spell: Callable
    decode: Callable
    install: Callable
    change: Callable | None = None


def sealed(document):
    """``seal`` of anything JSON can say."""

    def canonical(one):
        return json.dumps(one, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    if not isinstance(document, dict):
        return canonical(document)
    return canonical({**document, CHECKSUM: hashlib.sha256(canonical(document)).hexdigest()})


def _spelled(document):
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _at(path):
    return lambda storage: forging.document(storage, path)


def _put(path):
    return lambda storage, data: put(storage, path, data)


def _head(storage):
    return max(item.path for item in storage.list("log"))


def _rechained(version):
    def install(storage, data):
        document = {name: value for name, value in json.loads(data).items() if name != CHECKSUM}
        forging.forge_commit(
            storage, version, lambda commit: (commit.clear(), commit.update(document))
        )

    return install


def _catalogue_path(storage):
    return f"schemas/{json.loads(storage.read(_head(storage)))['schemas']}.json"


def _install_catalogue(storage, data):
    sha256 = hashlib.sha256(data).hexdigest()
    put(storage, f"schemas/{sha256}.json", data)
    old = json.loads(storage.read(_head(storage)))["schemas"]
    for item in sorted(item.path for item in storage.list("log")):
        if json.loads(storage.read(item))["schemas"] == old:
            forging.forge_commit(
                storage, int(item[4:24]), lambda commit: commit.update(schemas=sha256)
            )


def _install_manifest(storage, data):
    document = json.loads(data)
    forging.forge_dataset(
        storage, "paid", lambda manifest: (manifest.clear(), manifest.update(document))
    )


def _decode_manifest(data):
    storage = MemoryStorage()
    folder = f"builds/{DatasetManifest.decode(data, 'manifest.json').recipe.name}/{hashlib.sha256(data).hexdigest()[:12]}"
    storage.create(f"{folder}/manifest.json", data)
    open_archive(storage, folder)


def _manifest(storage):
    return json.loads(storage.read(f"{forging.folder_of(storage, 'paid')}/manifest.json"))


def _spelled_manifest(document):
    if isinstance(document, dict) and isinstance(document.get("recipe"), dict):
        document = document | {
            "recipe_hash": hashlib.sha256(_spelled(document["recipe"])).hexdigest()
        }
    return _spelled(document)


def _provenance_path(storage, name="risk"):
    return next(
        item.path
        for item in storage.list(f"builds/{name}")
        if item.path.endswith("/provenance.json")
    )


def _decode_provenance(data):
    found = read_provenance(data, "provenance.json")
    if "event_spine" in found:
        spine_of(found["event_spine"])


def _features(storage):
    return json.loads(
        next(
            storage.read(item.path)
            for item in storage.list("builds/risk")
            if item.path.endswith("features.json")
        )
    )


def _tier(storage):
    return forging.document(storage, _head(storage))["tiers"][-1]


def _install_tier(what):
    """Puts changed rows or keys of the newest tier into a lake; every later commit names them."""

    def install(storage, data):
        sha256 = hashlib.sha256(data).hexdigest()
        stop, old = _tier(storage)["stop"], _tier(storage)[what]["sha256"]
        put(
            storage,
            f"manifests/{stop:020d}-{sha256[:12]}.parquet"
            if what == "rows"
            else f"keys/{sha256}.keys",
            data,
        )

        def change(commit):
            for tier in commit["tiers"]:
                if tier[what]["sha256"] == old:
                    tier[what] |= {"sha256": sha256, "bytes": max(len(data), 1)}

        for item in sorted(item.path for item in storage.list("log")):
            forging.forge_commit(storage, int(item[4:24]), change)

    return install


def _rows(storage):
    tier = _tier(storage)
    return storage.read(f"manifests/{tier['stop']:020d}-{tier['rows']['sha256'][:12]}.parquet")


def _keys(storage):
    return storage.read(f"keys/{_tier(storage)['keys']['sha256']}.keys")


def _decode_keys(data):
    keys = _tier(rich_lake())["keys"]
    key_files.decode(data, _key_file(keys), "keys/x")


def _key_file(keys):
    return KeyFile(
        "0" * 64, keys["bytes"], keys["ids"], keys["heads"], keys["start"], keys["shift"]
    )


def _segment(storage):
    """The newest commit that has appended events, and what it says of its segment."""
    for path in sorted((item.path for item in storage.list("log")), reverse=True):
        commit = forging.document(storage, path)
        if commit["kind"] == "append":
            return int(path[4:24]), commit["segments"][0]
    raise AssertionError("nothing was appended")


def _install_segment(storage, data):
    version, _ = _segment(storage)
    sha256 = hashlib.sha256(data).hexdigest()
    put(storage, f"segments/{sha256}.parquet", data)
    forging.forge_commit(
        storage,
        version,
        lambda commit: commit["segments"][0].update(sha256=sha256, bytes=max(len(data), 1)),
    )


def _decode_segment(data):
    segments.decode(data, "segments/x")
    list(segments.strict_batches(data, "segments/x"))


def _ending(storage, folder, ending):
    return next(item.path for item in storage.list(folder) if ending in item.path)


def _install_table(storage, data):
    path = _ending(storage, "tables", ".parquet")
    storage.delete(path)
    storage.create(
        f"{path[: -len('.parquet') - 64]}{hashlib.sha256(data).hexdigest()}.parquet", data
    )


def _install_attempt(folder, ending):
    """Puts a changed file of a dataset into a lake, under the name and in the provenance that its bytes have."""

    def install(storage, data):
        path = _ending(storage, folder, ending)
        attempt, _, name = path.rpartition("/")
        sha256 = hashlib.sha256(data).hexdigest()
        renamed = f"part-00000-{sha256[:12]}.parquet" if name.startswith("part-") else name
        storage.delete(path)
        put(storage, f"{attempt}/{renamed}", data)
        note = f"{attempt}/provenance.json"
        document = unseal(storage.read(note), note)
        del document["files"][name]
        document["files"][renamed] = {"bytes": len(data), "sha256": sha256}
        put(storage, note, seal(document))

    return install


def _removed(storage):
    manifest = _manifest(storage)
    path = f"{forging.folder_of(storage, 'paid')}/manifest.json"
    return {
        "content_hash": manifest["output"]["content_hash"],
        "manifest_hash": hashlib.sha256(storage.read(path)).hexdigest(),
        "name": "paid",
        "recipe_hash": manifest["recipe_hash"],
        "removed_at": 1_790_000_000_000_000,
    }


def _install_removed(storage, data):
    attempt = _provenance_path(storage, "paid").rpartition("/")[0]
    put(storage, f"{attempt}/removed.json", data)


def _decode_claim(data):
    assert isinstance(build_once._describe_holder(data), str)
    assert build_once._is_dead(data) in {True, False}


def _install_claim(storage, data):
    put(storage, f"recipes/{_manifest(storage)['recipe_hash']}/000001.claim", data)


def _commit_path(version):
    return f"log/{version:020d}.json"


def _text_file(name, read):
    """Files that are read from a folder of the user's, not from a lake."""

    def decode(data):
        folder = decode.folder
        (folder / name).write_bytes(data)
        read(folder)

    return decode


LOCK = "\n".join([
    "format = 1", 'name = "paid"', f'checkpoint = "adv.example/x 3@{"0" * 64}"', 'engine = "duckdb 2.0.0"', "rows = 3",
    *(f'{name} = "{"0" * 64}"' for name in ("content_hash", "recipe_hash", "manifest_hash")), "", "[schemas]",
    f'"{TYPE}" = "{"1" * 64}"', "",
]).encode()  # fmt: skip
DEFINITION = b"""name = "paid"
engine = "duckdb"
key = ["subject", "n"]
level = "exact"
sql = "query.sql"
files = ["a.py", "b/c.py"]
by = "subject"
[parameters]
since = "2026-01-01"
most = 10
all = true
"""
MAPPING = (Path(__file__).parents[2] / "datasets/berka_loans/mapping.toml").read_bytes()

KINDS = {
    "lake.json": Kind(
        _at("lake.json"), sealed, lambda data: read_lake(data, "lake.json"), _put("lake.json")
    ),
    "hint": Kind(_at("hint"), sealed, lambda data: read_hint(data, "hint"), _put("hint")),
    "tag": Kind(
        _at("tags/model-1.json"),
        sealed,
        lambda data: read_tag(data, "tag"),
        _put("tags/model-1.json"),
    ),
    "commit": Kind(
        _at(_commit_path(3)), sealed, lambda data: Commit.decode(data, "commit"), _rechained(3)
    ),
    "head": Kind(
        lambda storage: forging.document(storage, _head(storage)),
        sealed,
        lambda data: Commit.decode(data, "commit"),
        lambda storage, data: put(storage, _head(storage), data),
    ),
    "catalogue": Kind(
        lambda storage: forging.document(storage, _catalogue_path(storage)),
        sealed,
        lambda data: Catalogue.decode(data, "schemas"),
        _install_catalogue,
    ),
    "manifest.json": Kind(_manifest, _spelled_manifest, _decode_manifest, _install_manifest),
    "provenance.json": Kind(
        lambda storage: forging.document(storage, _provenance_path(storage)),
        sealed,
        _decode_provenance,
        lambda storage, data: put(storage, _provenance_path(storage), data),
    ),
    "features.json": Kind(
        _features,
        lambda document: json.dumps(document).encode(),
        lambda data: FeatureSet.from_text("risk", data.decode(errors="surrogateescape")),
        lambda storage, data: forging.forge_dataset(storage, "risk", source=lambda _: data),
    ),
    "rows": Kind(
        _rows,
        bytes,
        lambda data: manifest_rows.decode(data, "manifests/x"),
        _install_tier("rows"),
        parquet_mutant,
    ),
    "segment": Kind(
        lambda storage: storage.read(f"segments/{_segment(storage)[1]['sha256']}.parquet"),
        bytes,
        _decode_segment,
        _install_segment,
        parquet_mutant,
    ),
    "event table": Kind(
        lambda storage: storage.read(_ending(storage, "tables", ".parquet")),
        bytes,
        lambda data: segments.read_bytes(data, "tables/x"),
        _install_table,
        parquet_mutant,
    ),
    "part": Kind(
        lambda storage: storage.read(_ending(storage, "builds/paid", "/part-")),
        bytes,
        lambda data: frames.decode(data, "part"),
        _install_attempt("builds/paid", "/part-"),
        parquet_mutant,
    ),
    "spine": Kind(
        lambda storage: storage.read(_ending(storage, "builds/risk", "/spine.parquet")),
        bytes,
        lambda data: frames.decode(data, "spine"),
        _install_attempt("builds/risk", "/spine.parquet"),
        parquet_mutant,
    ),
    "removed.json": Kind(
        _removed, sealed, lambda data: read_removed(data, "removed.json"), _install_removed
    ),
    "claim": Kind(
        lambda _: {"beat": 1, "machine": "host", "process": 2**22, "since": 1_790_000_000_000_000},
        _spelled,
        _decode_claim,
        _install_claim,
    ),
    "keys": Kind(_keys, bytes, _decode_keys, _install_tier("keys")),
    "dataset.lock": Kind(lambda _: LOCK, bytes, _text_file("dataset.lock", Lock.read), None),
    "dataset.toml": Kind(
        lambda _: DEFINITION, bytes, _text_file("dataset.toml", el.read_definition), None
    ),
    "mapping.toml": Kind(
        lambda _: MAPPING,
        bytes,
        _text_file("mapping.toml", lambda folder: read_mapping(folder / "mapping.toml")),
        None,
    ),
}


@dataclass
class Outcome:
    """What came of some mutants.

    Attributes:
        refused: Those that did not decode.
        lived: Those that did, and were put into a lake.
        slowest: Seconds of the slowest one.
        failures: What went wrong, each with the mutant.
    """

    refused: int = 0
    lived: int = 0
    slowest: float = 0.0
    failures: list = None


def run(name, count, seed, folder, most_lakes=10**9):
    """Makes mutants of a kind and looks at what comes of them."""
    kind, dice, outcome = KINDS[name], random.Random(f"{name} {seed}"), Outcome(failures=[])
    if kind.install is None:
        kind.decode.folder = folder
    whole = kind.read(rich_lake())
    original = kind.spell(whole)
    kind.decode(original)
    for number in range(count):
        data = _mutant(dice, kind, whole, original)
        if data is None or data == original:
            continue
        began = time.monotonic()
        lives = _outcome(outcome, number, data, "decode", lambda data=data: kind.decode(data))
        outcome.refused += not lives
        if lives and kind.install is not None and outcome.lived < most_lakes:
            outcome.lived += 1
            _in_a_lake(outcome, number, data, kind)
        outcome.slowest = max(outcome.slowest, time.monotonic() - began)
        if time.monotonic() - began > SECONDS:
            outcome.failures.append((number, "took", time.monotonic() - began, data[:2_000]))
    return outcome


def _mutant(dice, kind, whole, original):
    if kind.change is not None:
        return kind.change(dice, original)
    if isinstance(whole, bytes) or dice.random() < 0.25:
        return torn(dice, original)
    try:
        return kind.spell(mutated(dice, whole))
    except (ValueError, RecursionError):
        return None


def _in_a_lake(outcome, number, data, kind):
    storage = rich_lake()
    try:
        kind.install(storage, data)
    except (TypeError, ValueError, KeyError):
        return  # it cannot be forged any further: the bytes are another spelling of what JSON says
    more = calls(storage)
    while True:
        try:
            what, call = next(more)
        except (StopIteration, EventlakeError):
            return
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            outcome.failures.append((number, "calls", repr(error), data[:2_000]))
            return
        _outcome(outcome, number, data, what, call)


def _outcome(outcome, number, data, what, call):
    """Whether a call went well; anything but an error of ours is a failure."""
    try:
        call()
    except EventlakeError:
        return False
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        outcome.failures.append(
            (number, what, f"{type(error).__name__}: {error}"[:500], data[:2_000])
        )
        return False
    return True


def assert_gone_well(outcome):
    shown = "\n".join(
        f"{number} {what}: {error}\n    {data}"
        for number, what, error, data in outcome.failures[:10]
    )
    assert not outcome.failures, f"{len(outcome.failures)} failures, such as\n{shown}"
