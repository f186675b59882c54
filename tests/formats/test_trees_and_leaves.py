"""Pinned hashes: the published RFC 6962 vectors, and what the bytes and hash of an event are for ever."""

import pyarrow as pa
import pytest

import eventlake as el
from eventlake.columns.hashing import leaves
from eventlake.columns.schema import SCHEMA
from eventlake.core.hashing.merkle import EMPTY_ROOT, CompactRange, leaf_hash, node_hash
from tests.support import naive

pytestmark = pytest.mark.every_case

ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The vectors of Certificate Transparency, by number of entries."""

EVENTS = {
    "every attribute": (
        {
            "id": "e-1",
            "source": "core/bank",
            "type": "loan.granted",
            "subject": "/loan/7",
            "time": 1_767_225_600_123_456,
            "datacontenttype": "application/json",
            "dataschema": "urn:x",
            "correlation_id": "c-1",
            "causation_id": "c-0",
            "corrects": "e-0",
            "correction": "replace",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "extensions": '{"a":1}',
            "data": '{"amount": 100.00}',
        },
        b"id=3:e-1,source=9:core/bank,type=12:loan.granted,subject=7:/loan/7,time=16:1767225600123456,"
        b"datacontenttype=16:application/json,dataschema=5:urn:x,correlation_id=3:c-1,causation_id=3:c-0,corrects=3:e-0,"
        b"correction=7:replace,traceparent=55:00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01,"
        b'extensions=7:{"a":1},data=64:0236e5e4e95995e55fe3ba7bc603938f16092f677bf1fadd9bb9f0969feeaf13,',
        "3761c59d917a578a67649979e18d4631d3ec660f69e16c8df3d4ff0b14aa2e2a",
    ),
    "required attributes alone": (
        {"id": "1", "source": "s", "type": "t"},
        b"id=1:1,source=1:s,type=1:t,",
        "1befceac1525f815726b2243c623aa46879c1b549dac0ad9ad75b9ee8c7a8ba0",
    ),
    "not ASCII": (
        {"id": "é", "source": "/ünï", "type": "Zahlung €", "subject": "🦆", "data": '"ß"'},
        b"id=2:\xc3\xa9,source=6:/\xc3\xbcn\xc3\xaf,type=11:Zahlung \xe2\x82\xac,subject=4:\xf0\x9f\xa6\x86,"
        b"data=64:7aaea23a32207f5d7f36a436cb302093575e5e7cb4e08c35b1af9772fe13282d,",
        "335e647250a0fb9c28f40bf9b05b71c248ef2b8775e4c82668e1844acd791f7c",
    ),
    "the payload null, which is not no payload": (
        {"id": "1", "source": "s", "type": "t", "data": "null"},
        b"id=1:1,source=1:s,type=1:t,data=64:74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b,",
        "5b4dea8676bc461c1cfa0c0f0071e777075a6d0635ed0b370427e736ce3b8859",
    ),
    "a microsecond before 1970": (
        {"id": "1", "source": "s", "type": "t", "time": -1},
        b"id=1:1,source=1:s,type=1:t,time=2:-1,",
        "b7c6c84998c691f011e9cc064fdfac34420e10726aab3161a89daf03b3d967bc",
    ),
    "the first instant of the year 1": (
        {"id": "1", "source": "s", "type": "t", "time": -62_135_596_800_000_000, "data": "{}"},
        b"id=1:1,source=1:s,type=1:t,time=18:-62135596800000000,data=64:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a,",
        "089b116653d9fbb1c60f48c869c98375c8f735f6a99bc26071d159e33a835dc1",
    ),
}


@pytest.mark.parametrize("count", range(len(ROOTS)))
def test_trees_have_the_published_roots(count):
    assert naive.tree_hash(ENTRIES[:count]).hex() == ROOTS[count]
    frontier = CompactRange.empty()
    for at, entry in enumerate(ENTRIES[:count]):
        frontier = frontier.merge(CompactRange(at, at + 1, (leaf_hash(entry),)))
    assert frontier.root().hex() == ROOTS[count]


def test_leaf_and_node_hashes_are_those_of_rfc_6962():
    assert EMPTY_ROOT.hex() == ROOTS[0]
    assert leaf_hash(b"").hex() == ROOTS[1]
    assert node_hash(leaf_hash(b""), leaf_hash(b"\x00")).hex() == ROOTS[2]


@pytest.mark.parametrize("name", EVENTS)
def test_the_bytes_and_the_leaf_hash_of_an_event_never_change(name):
    event, expected_bytes, expected_hash = EVENTS[name]
    assert naive.event_bytes(event) == expected_bytes
    assert naive.leaf(event).hex() == expected_hash
    arrays = [
        pa.array([event.get(f.name)], pa.int64() if f.name == "time" else f.type).cast(f.type)
        for f in SCHEMA
    ]
    assert leaves.leaf_hashes(pa.table(arrays, schema=SCHEMA))[0].tobytes().hex() == expected_hash


def test_the_root_of_a_lake_with_these_events_never_changes():
    lake = el.create("memory://", "golden")
    lake.append(
        [{"id": "e-0", "source": "every attribute", "type": "loan.granted", "subject": "/loan/7"}]
    )
    for name, (event, _, _) in EVENTS.items():
        columns = {key: pa.array([value]) for key, value in event.items()} | {
            "source": pa.array([name])
        }
        if "time" in columns:
            columns["time"] = columns["time"].cast(pa.timestamp("us", tz="UTC"))
        lake.append(pa.table(columns))
    assert lake.checkpoint == el.Checkpoint(
        "golden", 7, "70ac275ccb5a0f099f144c8134f83e91c0b46f2ad76e630fa94e57ec714bd377"
    )


def test_the_clock_hash_joins_equal_neighbours_and_names_the_start_of_each_run():
    lake = el.create("memory://", "golden")
    stamps = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z"]
    lake.append(
        [
            {"id": str(n), "source": "s", "type": "t", "recorded_at": stamp}
            for n, stamp in enumerate(stamps)
        ]
    )
    # SHA-256 of the text "0:1767225600000000,2:1767225600000001,"
    assert (
        lake.snapshot().history.clock_hash()
        == "bd01420855cbdb3e62952ff4f9d3748f589e986ee8571f10f4494783913db605"
    )
    assert lake.snapshot(0).history.clock_hash() == ROOTS[0]
