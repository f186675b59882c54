"""Pinned bytes: keys, key files, a tier's rows, the hint; and key files a second time, naive, without a line of eventlake's code."""

import base64
import hashlib
import io
import json
import struct
import zlib

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.columns.keys import key_files, keys
from eventlake.columns.keys.key_runs import merged
from eventlake.columns.keys.keys import event_keys, subject_keys, text_key
from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.delivery import Position
from eventlake.core.documents.manifest import CommitSummary, KeyFile
from eventlake.core.documents.segment import Segment
from eventlake.errors import CorruptionError
from eventlake.log.chain import hint
from eventlake.log.chain.unfolded_keys import own_keys, position_text
from eventlake.storage import MemoryStorage
from tests.support import naive
from tests.support.limits import limited

pytestmark = pytest.mark.every_case

# XXH3 with 64 bits and seed 0, as https://github.com/Cyan4973/xxHash specifies it for inputs of up
# to 64 bytes.

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c3c2852bb91c300cb"
)
ALL = (1 << 64) - 1
PRIMES = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9


def word(data, at, size=8):
    return int.from_bytes(data[at : at + size], "little")


def spread(value, first, multiplier, last):
    value ^= value >> first
    value = value * multiplier & ALL
    return value ^ value >> last


def turned(value, by):
    return (value << by | value >> 64 - by) & ALL


def folded(left, right):
    product = left * right
    return product & ALL ^ product >> 64


def mixed(data, at, secret):
    return folded(
        word(data, at) ^ word(SECRET, secret), word(data, at + 8) ^ word(SECRET, secret + 8)
    )


def xxh3(text):
    data = text.encode()
    size = len(data)
    assert size <= 64
    if size < 4:
        return short(data)
    if size < 9:
        value = (
            word(data, size - 4, 4) + (word(data, 0, 4) << 32) ^ word(SECRET, 8) ^ word(SECRET, 16)
        )
        value ^= turned(value, 49) ^ turned(value, 24)
        value = value * 0x9FB21C651E98DF25 & ALL
        value = (value ^ (value >> 35) + size) * 0x9FB21C651E98DF25 & ALL
        return value ^ value >> 28
    if size < 17:
        low = word(data, 0) ^ word(SECRET, 24) ^ word(SECRET, 32)
        high = word(data, size - 8) ^ word(SECRET, 40) ^ word(SECRET, 48)
        total = size + int.from_bytes(low.to_bytes(8, "little"), "big") + high + folded(low, high)
        return spread(total & ALL, 37, 0x165667919E3779F9, 32)
    total = size * PRIMES[0] + mixed(data, 0, 0) + mixed(data, size - 16, 16)
    if size > 32:
        total += mixed(data, 16, 32) + mixed(data, size - 32, 48)
    return spread(total & ALL, 37, 0x165667919E3779F9, 32)


def short(data):
    if data:
        size = len(data)
        value = data[0] << 16 | data[size >> 1] << 24 | data[-1] | size << 8
        value ^= word(SECRET, 0, 4) ^ word(SECRET, 4, 4)
    else:
        value = word(SECRET, 56) ^ word(SECRET, 64)
    value ^= value >> 33
    value = value * PRIMES[1] & ALL
    value ^= value >> 29
    value = value * PRIMES[2] & ALL
    return value ^ value >> 32


# Keys and key files, one key after the other.

FINGERPRINT = ALL ^ 0xFFFF


def key_of_event(source, name):
    return xxh3(name) + xxh3(source) * 0x9E3779B97F4A7C15 & FINGERPRINT


def key_of_text(kind, text):
    return xxh3(f"{kind}\x1f{text}") & FINGERPRINT


def above(subject):
    """The subjects that a subject is below."""
    while "/" in subject and subject != "/":
        subject = subject[: subject.rindex("/")] or "/"
        yield subject


def heads_of(commit):
    yield key_of_text("commit", commit["commit_id"])
    for producer, position in commit["deliveries"]:
        yield key_of_text("producer", producer)
        yield key_of_text("position", f"{producer}\x1f{position}")
    for _, _, subject in commit["events"]:
        if subject is not None:
            yield key_of_text("subject", subject)
            yield from (key_of_text("below", parent) for parent in above(subject))


def key_file(commits, shift=0):
    """The file of the keys of ``{version: commit}``."""
    start = min(commits)
    ids = sorted(
        key_of_event(source, name) | (version >> shift) - (start >> shift)
        for version, commit in commits.items()
        for source, name, _ in commit["events"]
    )
    heads = {}
    for version in sorted(commits):
        heads |= dict.fromkeys(heads_of(commits[version]), version - start)
    first = section([(key, struct.pack("<Q", key)) for key in ids])
    return first + section([(key, struct.pack("<QI", key, heads[key])) for key in sorted(heads)])


def section(entries):
    bits = 0
    while 8 << bits + 1 <= len(entries):
        bits += 1
    directory = b""
    place = 0
    for bucket in range(1 << bits):
        data = b"".join(one for key, one in entries if key >> 64 - bits == bucket)
        directory += struct.pack("<II", place, zlib.crc32(data))
        place += sum(key >> 64 - bits == bucket for key, _ in entries)
    return directory + struct.pack("<II", place, 0) + b"".join(one for _, one in entries)


# What eventlake makes of the same.


def run_of(commits):
    runs = []
    for version, commit in commits.items():
        rows = [
            dict(zip(("source", "id", "subject"), event, strict=True)) for event in commit["events"]
        ]
        events = pl.DataFrame(rows, schema=dict.fromkeys(("source", "id", "subject"), pl.String))
        positions = [Position(*delivery) for delivery in commit["deliveries"]]
        subjects = subject_keys(events) if rows else None
        runs.append(
            own_keys(np.sort(event_keys(events)), subjects, positions, commit["commit_id"]).at(
                version
            )
        )
    return merged(runs, max(commits) + 1)


def commit(number, rows=2, deliveries=()):
    subjects = [f"/loan/{number}/payment/{row}" if row % 3 else None for row in range(rows)]
    events = [
        (f"core/{number % 2}", f"{number}-é{row}", subject) for row, subject in enumerate(subjects)
    ]
    return {
        "events": events,
        "deliveries": deliveries,
        "commit_id": f"00000000-0000-4000-8000-{number:012d}",
    }


SMALL = {
    7: {
        "events": [("core", "a", "/loan")],
        "deliveries": [("bank", 3)],
        "commit_id": "00000000-0000-4000-8000-000000000000",
    }
}
SMALL_BYTES = (
    "00000000d3b9503801000000000000000000504db6a57cc8000000008879e32a050000000000000000003e05484bfb52000000000000bc"
    "206348c45d0000000000007e5fbe9dee87000000000000c54f16109bb3000000000000f8154c0e86e700000000"
)
HISTORIES = {
    "one event": (SMALL, 0),
    "a fence alone": ({0: commit(0, 0)}, 0),
    "many buckets": (
        {9 + number: commit(number, 40, [("bank", number)]) for number in range(20)},
        0,
    ),
    "more commits than cells": (
        {version: commit(version, 3) for version in (5, 6, 70_000, 200_001, 300_000)},
        3,
    ),
}
FILE_HASHES = {
    "one event": "af09dbc8c4deef2130f79e889068850ec85c015fbe5657ec5ff3316c09f74432",
    "a fence alone": "bd696b3fb1050068b7d45792c4e9c8fdcf696753f9cec25d971e637710bab900",
    "many buckets": "711704361d29dfe5140f553f135fefcfdf91d76635721a7d42491fa9789618a0",
    "more commits than cells": "811cae4921f317eba7680bba3655602982c38577ee9c50a4feaec9f64f8e8ef3",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0x2D06800538D394C2), ("a", 0xE6C632B61E964E1F), ("abc", 0x78AF5F94892F3950)],
)
def test_the_naive_hash_is_the_published_one(text, expected):
    assert xxh3(text) == expected


TEXTS = [
    "",
    "a",
    "é",
    "/loan",
    "/loan/7",
    "core-bank",
    "00000000-0000-4000-8000-000000000000",
    "🦆" * 12,
    "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p",
]


@pytest.mark.parametrize("kind", ["subject", "below", "producer", "position", "commit"])
def test_the_key_of_a_text_is_the_naive_one(kind):
    for text in TEXTS:
        assert text_key(kind, text) == key_of_text(kind, text)


def test_the_key_of_an_event_is_the_naive_one():
    pairs = [(source, name) for source in TEXTS for name in TEXTS]
    events = pl.DataFrame(pairs, schema={"source": pl.String, "id": pl.String}, orient="row")
    assert event_keys(events).tolist() == [key_of_event(*pair) for pair in pairs]


LONG_KEYS = {
    ("subject", 65): "d0c60a4966700000",
    ("subject", 128): "13ab490c52070000",
    ("subject", 129): "b03597997f0a0000",
    ("subject", 240): "5b8f5eb44e0f0000",
    ("subject", 241): "96cdce87809a0000",
    ("commit", 4_096): "edb22c0fd5720000",
}


@pytest.mark.parametrize(("kind", "length"), list(LONG_KEYS))
def test_the_key_of_a_long_text_stays_what_it_is(kind, length):
    text = "".join(chr(0x61 + number % 26) for number in range(length))
    assert f"{text_key(kind, text):016x}" == LONG_KEYS[kind, length]


@pytest.mark.parametrize("name", HISTORIES)
def test_a_key_file_is_written_in_these_bytes(name):
    commits, shift = HISTORIES[name]
    run = run_of(commits)
    data = key_files.encode(run)
    assert run.shift == shift
    assert data == key_file(commits, shift)
    assert hashlib.sha256(data).hexdigest() == FILE_HASHES[name]


def test_the_smallest_key_file_is_written_in_these_bytes_and_read_back():
    data = bytes.fromhex(SMALL_BYTES)
    assert key_files.encode(run_of(SMALL)) == data
    run = key_files.decode(data, KeyFile("", len(data), 1, 5, 7, 0), "keys/x")
    assert (run.ids.tolist(), run.heads.tolist(), run.versions.tolist()) == (
        [key_of_event("core", "a")],
        sorted(heads_of(SMALL[7])),
        [7] * 5,
    )


def test_every_key_of_a_lake_is_the_naive_one_in_its_tiers_its_files_and_its_newest_commit():
    storage = MemoryStorage()
    lake = limited(el.create(storage, "o"), fold_weight=100, tier_ratio=4, inline_keys=3)
    for number in range(29):
        rows = 1 + number % 5
        events = [
            {
                "id": f"{number}-{row}",
                "source": "é",
                "type": "t",
                "subject": f"/loan/{row}/{number}",
            }
            for row in range(rows)
        ]
        lake.append(
            events,
            producer="p" if number % 3 else None,
            position=number - 1 - number // 3 if number % 3 else None,
        )
    rows = lake.snapshot().scan().collect().select("source", "id", "subject").rows()
    commits = {
        version: {
            "events": rows[entry.commit.start : entry.commit.stop],
            "deliveries": [
                (one.position.producer, one.position.position) for one in entry.commit.deliveries
            ],
            "commit_id": entry.commit.commit_id,
        }
        for version, entry in enumerate(lake.log())
    }
    head = lake.log()[-1].commit
    assert len(head.tiers) > 1
    assert head.recent.files
    for tier in head.tiers:
        part = {version: commits[version] for version in range(tier.start, tier.stop)}
        assert storage.read(layout.keys_path(tier.keys.sha256)) == key_file(part)
    large = {file.start: file for file in head.recent.files}
    for version, file in large.items():
        assert storage.read(layout.keys_path(file.sha256)) == key_file({version: commits[version]})
    ids, heads = [], {}
    for version in sorted(set(range(head.recent.start, head.version + 1)) - set(large)):
        ids += [
            key_of_event(source, name) | version - head.recent.start
            for source, name, _ in commits[version]["events"]
        ]
        heads |= {key: key | version - head.recent.start for key in heads_of(commits[version])}
    document = json.loads(storage.read(layout.commit_path(head.version)))["recent"]
    for name, expected in (("ids", ids), ("heads", heads.values())):
        assert base64.b64decode(document[name]) == b"".join(
            struct.pack("<Q", key) for key in sorted(expected)
        )


def test_a_position_is_spelled_in_its_key_as_the_format_says():
    assert position_text(Position("core bank", 12)) == "core bank\x1f12"
    assert keys.parents(pl.Series(["/a/b", "/a", "/", "a/b", "a", "//"])).sort().to_list() == [
        "/",
        "/a",
        "a",
    ]


# A tier's rows. Parquet's bytes are the library's own affair; what was written once is read for
# ever.

SEGMENTS = (
    Segment(
        "ab" * 32,
        1_234,
        2,
        4,
        ("id", "source", "type", "time"),
        ("cd" * 32,),
        (("a", 1), ("ü", 1)),
        (-5, 7),
        1,
        None,
    ),
    Segment(
        "ac" * 32,
        99,
        4,
        7,
        ("id", "source", "type", "recorded_at"),
        ("ce" * 32, "cf" * 32),
        (("a", 3),),
        None,
        3,
        (8, 9),
    ),
)
ROWS = [
    (CommitSummary(4, "01" * 32, "append", 1_767_225_600_000_000, 2, 7, "02" * 32), SEGMENTS),
    (CommitSummary(5, "03" * 32, "fence", 1_767_225_600_000_000, 7, 7, "02" * 32), ()),
]
ROWS_BYTES = (
    "c-p;J3v3+48J?Y6-(3>pN6c>bqN6>WW@Vbd+UGbpk&(RTv(FB8uusHxETQObZ+&Ncuil+)><Wpe8dV}fO-oypAk+pmB9YRHSCAqUDdJHc;gJXs"
    "1PLL;qpBdPD4=3OXJ#L_d%Jh*t0G4B-p;@OKi~I1X7=B4G1|q@On?b8_n)|MvY`)6z(xQ%o)W$fwA>8<4V2NK{xX2s$o!l+^8P)~Ztyd1rUm`G"
    "{hU{O&UrNp7IfH1TU&v;`nnMSAey)-%0(mCyC|lEx%j}-cX>@D`fo$#NCkpNTiee-d;A@sBj9ovT!3;I)w%IZFZ0S@AA844t?f@p18K$bc{!WF"
    "zRt>7Nv=w<fjs8iihgyp7N(u~!+$=wx3Q0bWi+pdRQdx$!x6WZg~uK~|3})G1?_qH4rjqCwZ%ruDwXieL*G2<u~Y(7Gw5-s1dpC`Xs86Mw6_0G"
    "e)jg+W{dw7*cSiGC>~pEPc3ZXe?P)L`s)ktZ7^X61_5Y+kOJijtiZ+<2ptCJs8O94*&WY(`R5(h&2jwr3G?Q-eDd+j4F+nkBXGiDaDn3v!%EHN"
    "Lc3Bene!)39cr?a%v<WNm&|Fa;KzA2J<h9XvarKOTARbcuP^;&UDdLs9XQa|vPB%|HI%K9!w-L7ec-C9hp5MagU5P^!VVj0bq=>Pv&@_4UpUxo"
    ";?T2~0^4C5(wj?cE9MpolDw_7oJW_rjJ&BJOSwWqPVA4BC~)k?7pqoLn~gQMsX}O2tvby&D0HBH`rH$*m}@3=1c2!P(tE8RUCzDkx*GUH^Hfzr"
    "{pTFU>kfkpyyh^f`>=}{Wgh?Zo!^_&ea+_pG$E~Dwa40bb!}@udm8=R>Cq(JcUE=AqbhJsX4~2Y_tk&Dp)K|H-4Dtz)Em}4dEdpi-G0VvQ*W9D"
    "OLy2v%M`R7<$^AJZ3bl~@7{gnkhSzFbupJi>AQ4L%24`NsY5jW@%+2iaClYQb>?u~e{}UJk1-tUbTrKZhr=qh2?tHW(WivNx61Ya&RvvJawf*K"
    "qvLxE<UEUVp*WYz0;UPQWFWUe%4IThrTwW`F$I`Lq(RTmWfNP#s2@|rCL0WUNs%-ZOR<7_PZvwMytW!$$mL4f#9d6qf;~G_llXE;E-Lp|73E|`"
    "&X)EYmT4@@@N$@lN6MuaGTEZW1<M)=v20RS@9{?0p7tPcd=Q}5rF*mw3uul`&lO7yR2`SoG6qm*3)w`hBqy+)SM$%=mUa95zSUM9_)&O!fV;(~"
    "2b5`K-R#E{djRrr-dkTQ>f45E1)~8}1rYRI=l1cWr^851Dv~i(1nn|pPeJ}8$Ug|LT<ckzOQXt#6bT`5iefKP{ILf9CEB*Rw5-Rr`;04UaWqyL"
    "S@;6QeoOIRxcQ@Xwv@F!(D0NRHe~H<FMrruU*otoB(g({F0JQ}uCK34Tw8&V-A8~<L-ucw|D=&W+<4_$!nKi5cRiu83fZS2f4G@{wdu;Wf3`Fr"
    "U722T-Wbw*v6a84wZ0~AZAj+R%z*fD8~>ZO`dYfRA)3xg1K__H{<lnh{abB7ZMSPDF~K?m*>jLT#_<pT<p1o(tVhC(&kj~O><Q>Wnmyp+U*5!j"
    "=KJwFE-TM7ls!@MCL%;Xq}cmV>aXE1`5n3`>*~Mo*<`zyyw=F;NP7(-ATN7~Vt)tuSAWKT_0#%VC~L}jH}nnB%J+fk)uz5A4JG!`wfuo=>+6%&"
    "RMWlsOW5k^zbW=1$p3RQ|KR5Ox}(~jvX?irZr;m2vIY43T%#C`-ZHgIX_mNe*9&;uAr6Y7I3X(IW>H)cLrHN+6qDjWlE^|KQ5?fJ1EM%W1m$0J"
    "!R7-wWF}5ywSlFuD26+cIT9hYktJjnlJI;K&&QL<Y@in-CNcET1YRbG=K@}D_Yz(-r>}qWO0OXFqMO07A(aH4kSk^#A|wePDKmL{ynFZj%#`9z"
    "WV~AtcIx&6#7NN}6!k$C$tNO{B{Ch;^u>^}%F52#_7WC$#WT?qT4P=uudom6_6q;dQU(7BeV&M<OEY9TFfYssLJafA>JuYG8qtlELE;lhcg{?8"
    "lKGUTFA^j%qucMbx5u}`(H<!>xq{~c*6$5#d<X6Q-HV0G`=)xbgzLbqTTvC|FkezDQKGa@=ckNeA`I><CZ@U;q@~c9uqX(F<2Rc88>!$ICYF2B"
    "Gr_KOJR6;rx}%Gd@@NFx>vY7BHV=s@B28A{?;)8APG;j%lM9KVohymR&~k!!7T#*g*N8T+mT%(!oID*(OPKp`h5e{*KW=Z2LlatwMFyAm+=}jR"
    "8O8cUsauanZ}of+?_P{|E3z>1Sy)!%A(;HHj6cCI$1l9y96xcpgZ+?dpOUf!JE!Vv@y}J*OBME`=KUF+-8VfUPLB(wdd+HcwO)s9>%EkZXC}1y"
    "pz=Jd`yal8Jes$|NA*{VPo+DjgQ=7hOsXMHV!eo7e<8wV1cv}^)iE`A6FLR^`XW>lnaO1-m|l!0vHcQ0s)kin!+CPkO@IsJV})NX$ffJ0eE#}a"
    "p^#e&sGnGY;Eo$QZ|FiFVCajl-apXV48XV;?fM^(Hyp("
)


def test_the_rows_of_a_tier_that_were_written_once_are_read_for_ever():
    assert (
        manifest_rows.decode(zlib.decompress(base64.b85decode(ROWS_BYTES)), "manifests/x") == ROWS
    )


def test_the_rows_of_a_tier_are_a_table_that_anybody_can_read():
    data = manifest_rows.encode(ROWS)
    assert manifest_rows.decode(data, "manifests/x") == ROWS
    assert data == manifest_rows.encode(ROWS)
    first, second, third = pq.read_table(io.BytesIO(data)).to_pylist()
    commit_of_segments = {
        "version": 4,
        "commit_hash": b"\x01" * 32,
        "kind": "append",
        "recorded_at": 1_767_225_600_000_000,
        "start": 2,
        "stop": 7,
        "root": b"\x02" * 32,
    }
    assert first == commit_of_segments | {
        "sha256": b"\xab" * 32,
        "bytes": 1_234,
        "segment_start": 2,
        "segment_stop": 4,
        "columns": "id,source,type,time",
        "range": b"\xcd" * 32,
        "types": '{"a":1,"ü":1}',
        "time": [-5, 7],
        "undated": 1,
        "recorded": None,
    }
    assert second == commit_of_segments | {
        "sha256": b"\xac" * 32,
        "bytes": 99,
        "segment_start": 4,
        "segment_stop": 7,
        "columns": "id,source,type,recorded_at",
        "range": b"\xce" * 32 + b"\xcf" * 32,
        "types": '{"a":3}',
        "time": None,
        "undated": 3,
        "recorded": [8, 9],
    }
    assert (third["version"], third["kind"], third["start"], third["stop"]) == (5, "fence", 7, 7)
    assert {third[name] for name in list(third)[7:]} == {None}


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"x" * 100], ids=["nothing", "a beginning", "noise"]
)
def test_what_holds_no_rows_is_refused(data):
    with pytest.raises(CorruptionError, match="manifests/x"):
        manifest_rows.decode(data, "manifests/x")


def test_another_table_holds_no_commits():
    sink = io.BytesIO()
    pq.write_table(pl.DataFrame({"version": [1]}).to_arrow(), sink)
    with pytest.raises(CorruptionError, match="holds no commits"):
        manifest_rows.decode(sink.getvalue(), "manifests/x")


def test_the_hint_is_written_in_canonical_json_with_its_checksum():
    storage = MemoryStorage()
    hint.leave(storage, "bank.example/loans", 12)
    assert storage.read("hint") == naive.sealed({"origin": "bank.example/loans", "version": 12})
    assert (
        storage.read("hint")
        == b'{"checksum":"b1497d5445678a51ffd60fc32a71e8bc6d19f6ad4da9ffce1f4f139aec83eccd","origin":"bank.example/loans","version":12}'
    )
