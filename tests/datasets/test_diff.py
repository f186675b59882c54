"""What ``diff`` says of two datasets: history, recipe, code, schema and damage, on both engines, and on every face."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import eventlake as el
from eventlake.columns.hashing.content import normalise
from eventlake.columns.parquet.frames import encode_parts
from eventlake.core.documents.dataset import DatasetManifest
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.comparing.diff import _Patches, diff
from eventlake.datasets.store.archive import Archive
from eventlake.datasets.store.publish import publish
from eventlake.errors import CorruptionError, InvalidInputError, NotFoundError
from eventlake.progress import shown_by
from eventlake.storage import MemoryStorage
from tests.support.dataset_fixtures import (
    ORIGIN,
    POLARS_TOTALS,
    TOTALS,
    TOTALS_SQL,
    attempt,
    cell,
    event,
    events,
    make_lake,
    sql,
)
from tests.support.diff_fixtures import PROVENANCE, compared, counts, stored

MEAN = '<script>alert("x")</script>&'


def polars_totals(text=POLARS_TOTALS):
    return cell(text)["totals"]


# Whole datasets, on both engines


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_more_events_show_as_watermark_and_as_rows_that_changed_or_came(engine):
    lake = make_lake("memory://")
    projection = TOTALS if engine == "duckdb" else polars_totals()
    first = lake.build(projection)
    lake.append([*events(1, 12), event(13, subject="/loan/new")])
    second = lake.build(projection)
    found = lake.diff(first.manifest_hash[:8], second.manifest_hash[:8])
    assert (found.identical, found.sources, found.schema, found.refusal) == (False, (), (), None)
    assert (found.history.events, found.history.problem) == (2, None)
    assert [change.what for change in found.recipe] == ["clock hash"] * (engine == "polars")
    assert counts(found.rows) == {
        "before": 5,
        "after": 6,
        "added": 1,
        "removed": 0,
        "changed": 1,
        "unchanged": 4,
    }
    assert found.rows.columns == {"events": 1, "amount": 1, "last": 1}
    (added,), (changed,) = found.rows.added_rows, found.rows.changed_rows
    assert (added.key, added.before, added.after["events"], added.after["amount"]) == (
        {"k": "/loan/new"},
        None,
        1,
        Decimal("781.13"),
    )
    was, became = (
        {row["k"]: row for row in dataset.polars().to_dicts()}[changed.key["k"]]
        for dataset in (first, second)
    )
    assert (changed.before, changed.after) == tuple(
        {name: row[name] for name in ("events", "amount", "last")} for row in (was, became)
    )
    assert (
        lake.diff(second.manifest_hash, first.manifest_hash).rows.removed_rows[0].before
        == added.after
    )


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_other_code_is_a_unified_diff_and_the_same_rows_are_not_read(engine, monkeypatch):
    lake = make_lake("memory://")
    if engine == "duckdb":
        pair, line = (
            (TOTALS, sql(TOTALS_SQL.replace("amount DESC", "amount"), name="totals")),
            "+FROM events GROUP BY subject ORDER BY amount\n",
        )
    else:
        pair = (
            polars_totals(),
            polars_totals(POLARS_TOTALS.replace("maintain_order=True", "maintain_order=False")),
        )
        line = '+        .group_by(pl.col("subject").alias("k"), maintain_order=False)\n'
    first, second = (lake.build(projection) for projection in pair)
    monkeypatch.setattr(Archive, "pieces", lambda _: pytest.fail("rows were read"))
    found = lake.diff(first.manifest_hash, second.manifest_hash)
    assert found.identical
    (source,) = found.sources
    assert source.kind == "changed"
    assert line in source.patch
    assert counts(found.rows) == {
        "before": 5,
        "after": 5,
        "added": 0,
        "removed": 0,
        "changed": 0,
        "unchanged": 5,
    }
    assert "rows the same" in repr(found)
    assert "the same (5 rows" in found.text()


def test_the_two_engines_are_compared_with_each_other():
    lake = make_lake("memory://")
    first, second = lake.build(TOTALS), lake.build(polars_totals())
    found = lake.diff(first.manifest_hash, second.manifest_hash)
    changes = {change.what: (change.before, change.after) for change in found.recipe}
    assert changes["engine"] == ("duckdb", "polars")
    assert changes["kind"] == ("sql", "python")
    assert changes["clock hash"][0] == "absent"
    assert [(source.name, source.kind) for source in found.sources] == [
        ("projection.py", "added"),
        ("query.sql", "removed"),
    ]
    assert [(change.what, change.before, change.after) for change in found.schema] == [
        ("events", "int64", "uint32")
    ]
    assert (found.rows.columns, found.not_compared) == (
        {"amount": 0, "last": 0},
        {"events": "other type"},
    )
    assert (found.rows.changed, found.rows.unchanged) == (0, 5)


def test_parameters_spine_and_schemas_read_are_told():
    lake = make_lake("memory://")
    query = "SELECT s.k, $least AS least, count(e.id) AS n FROM spine s LEFT JOIN events e ON e.subject = s.k GROUP BY s.k"
    spines = [pa.table({"k": ["/loan/1", "/loan/2"]}), pa.table({"k": ["/loan/1"]})]
    projection = el.Projection.sql("counted", query, key=["k"], parameters={"least": 1})
    first, second = (
        lake.build(projection, spine=spine, parameters={"least": n})
        for n, spine in enumerate(spines)
    )
    found = lake.diff(first.manifest_hash, second.manifest_hash)
    changes = {change.what: (change.before, change.after) for change in found.recipe}
    assert changes["parameter least"] == ("0", "1")
    assert [text.split(",")[0] for text in changes["spine"]] == ["2 rows", "1 row"]
    assert counts(found.rows) == {
        "before": 2,
        "after": 1,
        "added": 0,
        "removed": 1,
        "changed": 1,
        "unchanged": 0,
    }


def test_schemas_level_check_and_settings_are_told():
    rows = pa.table({"k": [1]})
    settings = {"memory_limit": "4GB", "preserve_insertion_order": True, "threads": 1}
    one = {
        "schemas": {"paid": "aa" * 32},
        "level": "fixed",
        "check": "allow-list",
        "settings": settings,
        "engine_version": "2.1",
    }
    found = compared(rows, rows, **one)
    assert {change.what: (change.before, change.after) for change in found.recipe} == {
        "level": ("exact", "fixed"),
        "check": ("declared, unchecked", "allow-list"),
        "engine version": ("2.0.0", "2.1"),
        "setting memory_limit": ("absent", '"4GB"'),
        "setting preserve_insertion_order": ("absent", "true"),
        "setting threads": ("absent", "1"),
        "schema of paid": ("absent", "aa" * 32),
    }
    assert found.identical


def test_a_history_that_the_lake_does_not_have_is_told_and_the_rest_compared():
    lake = make_lake("memory://")
    first = lake.build(TOTALS)
    stored(
        pa.table({"k": ["/loan/1"], "events": pa.array([9], pa.int64())}),
        storage=lake._chain.storage,
    )
    lonely = next(dataset for dataset in lake.datasets() if dataset.name == "made")
    assert lake.diff(lonely.manifest_hash, first.manifest_hash).history.events == 12
    foreign = stored(
        pa.table({"k": ["x"]}),
        storage=lake._chain.storage,
        checkpoint=Checkpoint(ORIGIN, 99, "ab" * 32),
    )
    found = lake.diff(first.manifest_hash, foreign.manifest.manifest_hash)
    assert found.history.events is None
    assert "its end is missing" in found.history.problem
    assert "its end is missing" in found.text()
    assert found.rows.removed == 5


def test_rows_that_were_given_back_are_not_compared_and_that_is_said(tmp_path):
    lake = make_lake(tmp_path / "lake")
    first = lake.build(TOTALS)
    lake.append(events(2, 12))
    second = lake.build(TOTALS)
    assert lake.prune(older_than=timedelta(0), keep_last=1, dry_run=False).files
    found = lake.diff(first.manifest_hash, second.manifest_hash)
    assert (found.identical, found.rows, found.history.events) == (False, None, 2)
    assert f"builds/totals/{first.manifest_hash[:12]} were pruned" in found.refusal
    assert "'eventlake reproduce' computes them again" in found.text()


# Damage, and what is no dataset


@pytest.mark.parametrize("damage", ["flipped", "missing", "shorter"])
def test_a_damaged_part_is_found_and_named(tmp_path, damage):
    lake = make_lake(tmp_path / "lake")
    first = lake.build(TOTALS)
    lake.append(events(2, 12))
    second = lake.build(TOTALS)
    (part,) = attempt(second).glob("part-*")
    data = part.read_bytes()
    part.chmod(0o644)
    if damage == "missing":
        part.unlink()
    else:
        part.write_bytes(
            data[:-1] if damage == "shorter" else data[:50] + bytes([data[50] ^ 1]) + data[51:]
        )
    with pytest.raises(CorruptionError) as error:
        lake.diff(first.manifest_hash, second.manifest_hash)
    assert error.value.facts["path"].endswith(part.name)


def test_rows_that_are_not_the_manifests_are_found_though_their_file_is_whole():
    honest, storage = stored(pa.table({"k": [1], "v": [1]})), MemoryStorage()
    forged = DatasetManifest(honest.manifest.recipe, "ab" * 32, 1, honest.manifest.schema)
    archive = publish(
        storage,
        forged,
        parts=lambda: encode_parts(normalise(pa.table({"k": [1], "v": [2]}))),
        spine=None,
        sources={},
        provenance=PROVENANCE,
    )
    with pytest.raises(CorruptionError, match="its manifest says abab"):
        diff(honest, archive, lambda _: None)


def test_what_is_no_dataset_is_refused():
    lake = make_lake("memory://")
    made = lake.build(TOTALS)
    with pytest.raises(NotFoundError):
        lake.diff(made.manifest_hash, "0" * 64)
    with pytest.raises(InvalidInputError):
        lake.diff("no hash", made.manifest_hash)


def test_progress_counts_every_row():
    done = []

    class Reporter:
        def task(self, what, total):
            done.append([what, total, 0])
            return self

        def __enter__(self):
            return lambda steps: done[-1].__setitem__(2, done[-1][2] + steps)

        def __exit__(self, *_):
            return None

    with shown_by(Reporter()):
        compared(pa.table({"k": [1, 2, 3]}), pa.table({"k": [3, 4]}))
    assert done == [["comparing rows of made", 5, 5]]


# Faces


@pytest.fixture
def pair(tmp_path):
    """A lake in a folder, and the hashes of two datasets with other rows."""
    lake = make_lake(tmp_path / "lake")
    first = lake.build(TOTALS).manifest_hash
    lake.append(events(2, 12))
    return lake.uri, first, lake.build(TOTALS).manifest_hash


def test_the_command_prints_the_text_and_exits_1_where_rows_differ(run, pair):
    uri, first, second = pair
    code, out, err = run("diff", uri, first[:8], second[:8])
    assert (code, err) == (1, "")
    assert out == el.open(uri).diff(first, second).text()
    assert f"totals {first[:12]} → totals {second[:12]}: rows differ" in out
    assert re.search(r"events between +2\n", out)
    assert "5 → 5: 0 added, 0 removed, 2 changed, 3 unchanged" in out
    assert re.search(r'k "/loan/\d" +events +\d +\d\n', out)


def test_the_command_exits_0_where_rows_are_the_same(run, pair):
    code, out, err = run("diff", pair[0], pair[1], pair[1])
    assert (code, err) == (0, "")
    assert "the same in both\n  recipe, schema, code\n" in out


def test_json_holds_what_the_result_holds(run, pair):
    uri, first, second = pair
    code, out, err = run("diff", uri, first, second, "--json")
    document = json.loads(out)
    assert (code, err) == (1, "")
    assert (document["before"]["manifest_hash"], document["after"]["manifest_hash"]) == (
        first,
        second,
    )
    assert document["history"]["events_between"] == 2
    assert (
        document["identical"],
        document["recipe"],
        document["sources"],
        document["refusal"],
    ) == (False, [], [], None)
    rows = el.open(uri).diff(first, second).rows
    assert {name: document["rows"][name] for name in counts(rows)} == counts(rows)
    assert document["rows"]["columns"] == rows.columns
    change = document["rows"]["changed_rows"][0]
    assert change["key"] == rows.changed_rows[0].key
    assert change["after"]["amount"] == str(rows.changed_rows[0].after["amount"])
    assert change["after"]["last"].endswith("Z")


def test_json_stays_json_for_every_value(run, tmp_path):
    lake = make_lake(tmp_path / "lake")
    odd = "SELECT k, d, b, l FROM spine"
    rows = [
        {"k": 1, "d": float(text), "b": blob, "l": [float("inf"), None]}
        for text, blob in (("nan", b"\xff"), ("-0.0", b"\x00"))
    ]
    first, second = (
        lake.build(sql(odd, level="fixed"), spine=pa.Table.from_pylist([row])).manifest_hash
        for row in rows
    )
    document = json.loads(
        run("diff", lake.uri, first, second, "--json")[1], parse_constant=pytest.fail
    )
    (change,) = document["rows"]["changed_rows"]
    assert (change["before"], change["after"]) == ({"d": "nan", "b": "ff"}, {"d": -0.0, "b": "00"})
    assert str(change["after"]["d"]) == "-0.0"


def test_unknown_hashes_are_refused_on_stderr(run, pair):
    code, out, err = run("diff", pair[0], pair[1], "0" * 8, "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["error"] == "not-found"


def test_html_is_written_whole_beside_the_text(run, pair, tmp_path):
    file = tmp_path / "diff.html"
    code, out, err = run("diff", *pair, "--html", file)
    assert code == 1
    assert out.startswith("totals ")
    assert f"written to {file}" in err
    assert file.read_text(encoding="utf-8") == el.open(pair[0]).diff(*pair[1:]).html()
    assert run("diff", *pair, "--html", tmp_path / "no" / "folder")[0] == 3


def test_html_escapes_names_values_and_code_and_needs_nothing_else():
    lake = make_lake("memory://")
    text = f'SELECT k, v AS "{MEAN.replace(chr(34), "")}" FROM spine WHERE k <> $p'
    one, other = (
        lake.build(
            el.Projection.sql("odd", f"{text} {comment}", key=["k"], parameters={"p": ""}),
            spine=pa.table({"k": [MEAN], "v": [f"{MEAN}{comment}"]}),
            parameters={"p": f"{MEAN}{comment}"},
        )
        for comment in ("-- <b>one</b>", "-- <b>two</b>")
    )
    found = lake.diff(one.manifest_hash, other.manifest_hash)
    html = found.html()
    assert found.rows.changed == 1
    assert html.count("&lt;script&gt;alert") >= 8
    assert '<span class="less">-SELECT k' in html
    assert "-- &lt;b&gt;one&lt;/b&gt;" in html
    assert "prefers-color-scheme: dark" in html
    for word in ("<script", "<b>", "http", "src=", "href", "<link", "@import", "url("):
        assert word not in html
    assert "<script" not in found._repr_html_()
    assert found.title.replace(">", "&gt;") in found._repr_html_()


def test_text_cannot_steer_a_terminal():
    before, after = (
        pa.table({"k": [1], "v\n\x1b[2J": [text]}) for text in ("a\x1b[31m", "b\u202e\n")
    )
    text = compared(before, after, parameters={"p": "\x1b]0;x\x07"}).text()
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(text)
    assert "v\\n\\x1b[2J" in text


def test_of_long_values_the_first_difference_is_shown():
    before, after = (
        pa.table({"k": [1], "v": ["x" * 5000 + end + "y" * 5000]}) for end in ("ONE", "TWO")
    )
    text = compared(before, after).text()
    assert "ONE" in text
    assert "TWO" in text
    assert len(text) < 5000


def test_a_code_change_of_blanks_alone_is_seen():
    lake = make_lake("memory://")
    one, other = (lake.build(sql(f"SELECT 1 AS k{end}")) for end in ("", " \n"))
    text = lake.diff(one.manifest_hash, other.manifest_hash).text()
    assert "  -SELECT 1 AS k\n  \\ No newline at end of file\n  +SELECT 1 AS k \n" in text


def applied(patch, text):
    """The text after a patch of one hunk; each line that it shows must be there."""
    before = text.splitlines(keepends=True)
    _, _, place, *shown = patch.splitlines(keepends=True)
    first, count, new_count = map(
        int, re.match(r"@@ -(\d+),(\d+) \+\d+,(\d+) @@\n", place).groups()
    )
    at = first - 1 if count else first
    old, new = ([line[1:] for line in shown if line[0] in signs] for signs in (" -", " +"))
    assert (before[at : at + count], len(new)) == (old, new_count)
    return "".join([*before[:at], *new, *before[at + count :]])


@given(st.text("ab\n", max_size=30), st.text("ab\n", max_size=30))
def test_files_of_more_lines_than_are_aligned_have_a_patch_that_makes_one_of_the_other(
    before, after
):
    before, after = f"{before}\n", f"{after}\n"
    assume(before != after)
    assert applied(_Patches(aligned_lines=0).patch("f", before, after), before) == after


def test_queries_whose_alignment_would_take_hours_are_compared():
    """``difflib`` takes the cube of the lines where every second one is alike."""
    lake = el.create(MemoryStorage(), "o")
    lake.append([{"id": "1", "source": "s", "type": "t", "subject": "/a"}])
    lines = [f"-- {number % 100}\n" for number in range(30_000)]
    texts = (
        lines,
        [line if number % 2 else f"-- {number}, again\n" for number, line in enumerate(lines)],
    )
    one, other = (
        lake.build(
            el.Projection.sql(
                "a", "".join(text) + f"SELECT subject, {number} AS n FROM events", key=["subject"]
            )
        )
        for number, text in enumerate(texts)
    )
    (source,) = lake.diff(one.manifest_hash, other.manifest_hash).sources
    assert source.patch.startswith(
        "--- a/query.sql\n+++ b/query.sql\n@@ -1,30001 +1,30001 @@\n--- 0\n--- 1\n"
    )
    assert source.patch.endswith(
        "+-- 99\n+SELECT subject, 1 AS n FROM events\n\\ No newline at end of file\n"
    )


@pytest.mark.thorough
def test_a_pipe_that_closes_early_is_no_error(pair):
    line = f"'{sys.executable}' -c 'from eventlake.cli import main; main()' diff {' '.join(pair)} | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)  # noqa: S602 - our own command
    assert done.stdout.startswith("totals ")
    assert done.stderr == ""
