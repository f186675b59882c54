"""What a stranger archived with a dataset runs in a process whose memory is limited, whoever asks for it."""

import ast
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import eventlake as el
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.datasets.building import isolated
from eventlake.errors import EventlakeError, InvalidInputError, StorageError
from tests.support.forging_on_disk import SCHEMA, TYPE, forge_dataset, payment

PACKAGE = Path(el.__file__).parent
linux = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="only Linux counts all private memory"
)

COUNT = "SELECT subject, count(*) AS n FROM events GROUP BY subject"
REPEATED = (
    "SELECT subject, max(length(repeat(subject, 500000000))) AS n FROM events GROUP BY subject"
)
PLANNED = f"SELECT subject, count(*) AS n FROM ({COUNT}) AS c, range(length(repeat('x', 3500000000)) - 3499999999) GROUP BY subject"
"""Its text is made when the query is planned, before there is a limit of rows or time."""
AT_CUTOFF = """
SELECT s.spine_row, s.subject, {n} AS n FROM spine s
LEFT JOIN "payment.received" p ON p.subject = s.subject {before}
GROUP BY s.spine_row, s.subject
"""
SPINE = pl.DataFrame(
    {"subject": ["/loan/0", "/loan/1"], "cutoff": [datetime(2026, 1, 9, tzinfo=UTC)] * 2}
)
FEATURES = el.FeatureSet("risk", features=[el.count(TYPE).name("n")], known="watermark")


@pytest.fixture
def root(tmp_path):
    """28 payments on seven loans, from January 1 to 28."""
    lake = el.create(tmp_path / "lake", origin="bank.example/loans")
    lake.register(TYPE, SCHEMA)
    lake.append([payment(number) for number in range(28)])
    return tmp_path / "lake"


@pytest.fixture
def started(monkeypatch):
    """The commands of the processes that are started."""
    commands = []
    start = isolated.start_python

    def noting(arguments, folder, **streams):
        commands.append(arguments)
        return start(arguments, folder, **streams)

    monkeypatch.setattr(isolated, "start_python", noting)
    return commands


def build(root, query=COUNT, **how):
    return el.open(root).build(
        el.Projection.sql("count", query, key=["subject"], by="subject", level="exact"), **how
    )


def forged(root, query):
    """The manifest hash of the dataset ``count`` once its archived query is another."""

    def recipe(document):
        document["sources"] = {name: sha256_hex(query.encode()) for name in document["sources"]}

    return forge_dataset(root, "count", recipe=recipe, sources=lambda _: query)


@linux
@pytest.mark.parametrize("query", [REPEATED, PLANNED], ids=["run", "planned"])
def test_an_archived_query_that_makes_very_long_text_ends_with_a_named_error_in_python(
    root, stranger, monkeypatch, query
):
    build(root)
    manifest_hash = forged(root, query)
    stranger()
    monkeypatch.setenv("EVENTLAKE_MEMORY", "3GB")
    with pytest.raises(EventlakeError, match=r"(?i)memory|alloc"):
        el.open(root).reproduce(manifest_hash)


@linux
def test_a_deep_verification_lists_an_archived_query_that_makes_very_long_text(
    root, stranger, monkeypatch
):
    build(root)
    forged(root, REPEATED)
    stranger()
    monkeypatch.setenv("EVENTLAKE_MEMORY", "3GB")
    report = el.open(root).verify(deep=True)
    assert report.problems == ()
    [doubt] = report.unproven
    assert "not reproduced" in doubt.message


@linux
def test_an_explanation_by_an_archived_query_that_makes_very_long_text_ends_with_an_error(
    root, stranger, monkeypatch
):
    build(root)
    manifest_hash = forged(root, REPEATED)
    stranger()
    monkeypatch.setenv("EVENTLAKE_MEMORY", "3GB")
    with pytest.raises(Exception, match=r"(?i)memory|alloc"):
        el.open(root).explain(manifest_hash, "/loan/3")


@linux
def test_a_search_for_leaks_by_an_archived_query_that_makes_very_long_text_ends_with_an_error(
    root, stranger, monkeypatch
):
    build(root, AT_CUTOFF.format(n="count(p.id)", before=""), spine=SPINE)
    manifest_hash = forged(
        root, AT_CUTOFF.format(n="max(length(repeat(p.id, 1900000000)))", before="")
    )
    stranger()
    monkeypatch.setenv("EVENTLAKE_MEMORY", "3GB")
    with pytest.raises(Exception, match=r"(?i)memory|alloc"):
        el.check_leakage(el.open(root).dataset(manifest_hash), known="watermark")


@linux
def test_a_stranger_s_dataset_is_made_again_in_another_process_with_the_same_rows(
    root, stranger, started
):
    made = build(root)
    stranger()
    again = el.open(root).reproduce(made.manifest_hash)
    assert len(started) == 1
    assert (again.identical, again.content_hash, again.differences, again.causes) == (
        True,
        made.content_hash,
        (),
        (),
    )
    assert dict(again.dataset.polars().iter_rows()) == {f"/loan/{n}": 4 for n in range(7)}
    # What was found is remembered: a build takes it.
    assert not build(root).computed


@linux
def test_a_stranger_s_dataset_of_other_rows_differs_in_the_same_words_in_another_process(
    root, stranger, started
):
    build(root)
    manifest_hash = forged(root, COUNT.replace("count(*)", "count(*) + 1"))
    believing = el.open(root, trust="lake").reproduce(manifest_hash)
    assert started == []
    stranger()
    again = el.open(root).reproduce(manifest_hash)
    assert len(started) == 1
    assert (again.identical, again.differences, again.causes) == (False, ("column n",), ("data",))
    assert (again.content_hash, again.command) == (believing.content_hash, believing.command)


@linux
def test_an_error_of_a_stranger_s_dataset_is_the_same_in_another_process(root, stranger, started):
    build(root)
    manifest_hash = forged(root, COUNT.replace("count(*)", "error('no')"))
    with pytest.raises(EventlakeError) as here:
        el.open(root, trust="lake").reproduce(manifest_hash)
    stranger()
    with pytest.raises(EventlakeError) as there:
        el.open(root).reproduce(manifest_hash)
    assert len(started) == 1
    assert (type(there.value), there.value.message, there.value.hint) == (
        type(here.value),
        here.value.message,
        here.value.hint,
    )
    assert there.value.facts == here.value.facts


@linux
def test_a_row_of_a_stranger_s_dataset_is_explained_in_another_process(root, stranger, started):
    made = build(root)
    stranger()
    explanation = el.open(root).explain(made.manifest_hash, "/loan/3", "n")
    assert len(started) == 1
    assert explanation.behind["id"].to_list() == ["p3", "p10", "p17", "p24"]
    assert explanation.row == {"subject": "/loan/3", "n": 4}
    assert (explanation.by, explanation.entity) == ("subject", "/loan/3")


@linux
def test_leaks_of_a_stranger_s_dataset_are_found_in_another_process(root, stranger, started):
    made = build(root, AT_CUTOFF.format(n="count(p.id)", before=""), spine=SPINE)
    stranger()
    report = el.check_leakage(el.open(root).dataset(made.manifest_hash), known="watermark")
    assert len(started) == 1
    # By January 9 two of the four payments of each loan have happened: on the 1st and 8th, on the
    # 2nd and 9th at noon.
    assert report.leaks.select("subject", "column", "stored", "rebuilt").rows() == [
        ("/loan/0", "n", "4", "2"),
        ("/loan/1", "n", "4", "1"),
    ]


@linux
@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_features_of_a_stranger_are_made_again_in_another_process(root, stranger, started, engine):
    made = el.open(root).build(FEATURES, spine=SPINE, engine=engine)
    stranger()
    again = el.open(root).reproduce(made.manifest_hash)
    assert (len(started), again.identical) == (1, True)
    assert again.dataset.polars()["n"].to_list() == [2, 1]


@linux
def test_a_stranger_s_dataset_on_s3_is_made_again_in_another_process(s3, stranger, started):
    lake = el.create("s3://bucket/lake", "o")
    lake.append([payment(number) for number in range(28)])
    made = build("s3://bucket/lake")
    stranger()
    again = el.open("s3://bucket/lake").reproduce(made.manifest_hash)
    assert (len(started), again.identical) == (1, True)


def test_what_this_user_built_is_made_again_here(root, started):
    made = build(root)
    assert el.open(root).reproduce(made.manifest_hash).identical
    assert el.open(root).verify(deep=True).ok
    assert el.open(root).explain(made.manifest_hash, "/loan/3").behind.height == 4
    assert started == []


def test_a_lake_in_memory_is_read_here(stranger, started):
    lake = el.create("memory://", "o")
    lake.append([payment(number) for number in range(28)])
    made = lake.build(el.Projection.sql("count", COUNT, key=["subject"]))
    stranger()
    assert lake.reproduce(made.manifest_hash).identical
    assert started == []


@linux
def test_a_process_that_dies_is_a_named_error(root, stranger, monkeypatch):
    made = build(root)
    stranger()
    start = isolated.start_python
    dying = [
        "-c",
        "import os, sys; sys.stderr.write('bad_alloc'); sys.stderr.flush(); os.kill(os.getpid(), 9)",
    ]
    monkeypatch.setattr(
        isolated, "start_python", lambda _, folder, **streams: start(dying, folder, **streams)
    )
    with pytest.raises(
        StorageError,
        match=r"dataset count: the process that worked on it ended with -9, .*; its last output: bad_alloc",
    ):
        el.open(root).reproduce(made.manifest_hash)


@linux
def test_a_limit_that_is_no_size_is_refused_before_a_process_starts(
    root, stranger, monkeypatch, started
):
    made = build(root)
    stranger()
    monkeypatch.setenv("EVENTLAKE_MEMORY", "much")
    with pytest.raises(InvalidInputError, match="EVENTLAKE_MEMORY"):
        el.open(root).reproduce(made.manifest_hash)
    assert started == []


def test_all_that_uses_what_is_archived_was_looked_at():
    """Whoever runs an archived query must be called through ``isolated``. ``features_of`` only parses."""
    callers = {
        (path.stem, function.name)
        for path in (PACKAGE / "datasets").rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in {"projection_of", "prepare_reproduction"}
    }
    isolated_work = {
        ("reproduce", "_reproduce"),
        ("reproduce_all", "_reproduce"),
        ("leakage", "_checked"),
    }
    below = {("reproduce", "prepare_reproduction"), ("explain", "_by_entity")}
    assert callers == isolated_work | below | {("recorded", "features_of")}
    handed = {
        (path.stem, ast.unparse(call.args[0]))
        for path in (PACKAGE / "datasets").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "isolated"
    }
    assert handed == isolated_work | {("explain", "_explain")}
