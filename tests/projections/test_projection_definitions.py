"""What a projection may be, and which source identifies it."""

import sys

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidProjectionError
from eventlake.projections.source import capture, check_imports, load
from tests.support.dataset_fixtures import POLARS_TOTALS, cell, make_lake, module, sql

pytestmark = pytest.mark.every_case


def plain(snapshot):
    return snapshot.scan()


class Holder:
    def method(self, snapshot):
        return snapshot.scan()


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "_a", "a-b", "a.b", "a/b", "../a", "ä", "a b", "a" * 101, "a\n"]
)
def test_a_name_is_lower_case_letters_digits_and_underscores(name):
    with pytest.raises(InvalidProjectionError, match="expected a name"):
        sql("SELECT 1 AS k", name=name)


@pytest.mark.parametrize("name", ["a", "a1_b", "a" * 100])
def test_plain_names_are_taken(name):
    assert sql("SELECT 1 AS k", name=name).name == name


@pytest.mark.parametrize("key", [[], [1], [None], ["a", 2]])
def test_a_key_is_at_least_one_column_name(key):
    with pytest.raises(InvalidProjectionError, match="key"):
        sql("SELECT 1 AS k", key=key)


def test_a_key_given_as_one_text_is_one_column():
    assert el.Projection.sql("a", "SELECT 1 AS loan", key="loan").key == ("loan",)


@pytest.mark.parametrize("level", ["", "EXACT", "proven", None])
def test_an_unknown_level_is_refused(level):
    with pytest.raises(InvalidProjectionError, match="level"):
        sql("SELECT 1 AS k", level=level)


@pytest.mark.parametrize("value", [1.5, b"x", [1], {"a": 1}, object(), 1j])
def test_a_parameter_is_text_an_integer_a_boolean_or_none(value):
    with pytest.raises(InvalidProjectionError, match="parameter w"):
        sql("SELECT $w AS k", parameters={"w": value})


@pytest.mark.parametrize("value", ["x", 1, 2**70, True, None])
def test_exact_parameters_are_taken(value):
    assert sql("SELECT $w AS k", parameters={"w": value}).parameters == {"w": value}


def test_an_undeclared_parameter_is_refused_and_the_declared_ones_are_named():
    with pytest.raises(InvalidProjectionError, match="no parameter v") as caught:
        sql("SELECT $w AS k", parameters={"w": 1}).with_parameters({"v": 2})
    assert "w" in caught.value.hint


def test_a_float_for_a_declared_parameter_is_refused():
    with pytest.raises(InvalidProjectionError, match="parameter w"):
        sql("SELECT $w AS k", parameters={"w": 1}).with_parameters({"w": 2.0})


def test_setting_a_parameter_leaves_the_projection_as_it_was():
    projection = sql("SELECT $w AS k", parameters={"w": 1, "v": 2})
    assert projection.with_parameters({"w": 5}).parameters == {"w": 5, "v": 2}
    assert projection.parameters == {"w": 1, "v": 2}


@pytest.mark.parametrize(
    "file",
    ["../x.py", "a/../../x.py", "/etc/passwd", "", ".hidden", "a b", "a\\b", "ä.py", "..", "a/.."],
)
def test_a_source_file_that_leaves_its_folder_is_refused(file):
    with pytest.raises(InvalidProjectionError, match="source files"):
        el.Projection("a", "sql", "q.sql", {"q.sql": "SELECT 1 AS k", file: "x"}, ("k",))


@pytest.mark.parametrize("file", ["a/./b.sql", "a//b.sql"])
def test_a_source_file_has_one_spelling(file):
    with pytest.raises(InvalidProjectionError):
        el.Projection("a", "sql", "q.sql", {"q.sql": "SELECT 1 AS k", file: "x"}, ("k",))


def test_a_lambda_is_refused():
    with pytest.raises(InvalidProjectionError, match="top level"):
        el.projection(name="a", key=["k"])(lambda snapshot: snapshot.scan())


def test_a_closure_is_refused():
    hidden = 3

    def inner(snapshot):
        return snapshot.scan().head(hidden)

    with pytest.raises(InvalidProjectionError, match="top level") as caught:
        el.projection(name="a", key=["k"])(inner)
    assert "parameters" in caught.value.hint


@pytest.mark.parametrize(
    "function",
    [Holder.method, Holder().method, len, Holder, 5, None],
    ids=["method", "bound", "builtin", "class", "int", "None"],
)
def test_what_is_no_plain_function_is_refused(function):
    with pytest.raises(InvalidProjectionError, match="top level"):
        capture(function)


def test_a_function_of_a_module_is_identified_by_the_whole_module(tmp_path):
    text = "import polars as pl\n\nLIMIT = 3\n\n\ndef plain(snapshot):\n    return snapshot.scan().head(LIMIT)\n"
    entry, sources = capture(module(tmp_path, "plainly", text)["plain"])
    assert (entry, sources) == ("plainly.py:plain", {"plainly.py": text})


def test_declared_files_are_part_of_the_identity(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "rates.csv").write_text("a,1\n")
    source = POLARS_TOTALS.replace('key=["k"]', 'key=["k"], files=["sub/rates.csv"]')
    projection = module(tmp_path, "features", source)["totals"]
    assert projection.sources == {"features.py": source, "sub/rates.csv": "a,1\n"}
    assert projection.entry == "features.py:totals"


def test_a_missing_declared_file_is_named(tmp_path):
    with pytest.raises(InvalidProjectionError, match=r"nope\.csv"):
        module(
            tmp_path,
            "features",
            POLARS_TOTALS.replace('key=["k"]', 'key=["k"], files=["nope.csv"]'),
        )


def test_a_declared_file_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "code").mkdir()
    with pytest.raises(InvalidProjectionError, match="source files"):
        module(
            tmp_path / "code",
            "features",
            POLARS_TOTALS.replace('key=["k"]', 'key=["k"], files=["../secret.txt"]'),
        )


def test_source_is_captured_when_the_projection_is_defined(tmp_path):
    projection = module(tmp_path, "features", POLARS_TOTALS)["totals"]
    (tmp_path / "features.py").write_text("# gone")
    assert projection.sources == {"features.py": POLARS_TOTALS}


def test_changed_source_is_another_recipe_even_where_rows_are_the_same(tmp_path):
    lake = make_lake("memory://")
    hashes = set()
    for text in (POLARS_TOTALS, POLARS_TOTALS + "# a remark\n"):
        dataset = lake.build(module(tmp_path, "features", text)["totals"])
        hashes.add((dataset.recipe_hash, dataset.content_hash))
    assert len({recipe for recipe, _ in hashes}) == 2
    assert len({content for _, content in hashes}) == 1


NOTEBOOK = '''
import polars as pl
import eventlake as el
import datetime as clock

lake = "something else"

@el.projection(name="totals", key=["k"])
def totals(snapshot):
    """Counts."""
    since = clock.date(2020, 1, 1)
    if since:
        return snapshot.scan().group_by(pl.col("subject").alias("k")).agg(pl.len().alias("events"))
'''


def test_a_notebook_function_is_captured_alone_with_the_modules_it_uses():
    projection = cell(NOTEBOOK)["totals"]
    assert projection.entry == "projection.py:totals"
    text = projection.sources["projection.py"]
    assert "import polars as pl\n" in text
    assert "import datetime as clock\n" in text
    assert "def totals(snapshot):" in text
    assert "something else" not in text
    assert "@el.projection" not in text


def test_a_captured_notebook_function_compiles():
    text = cell(NOTEBOOK)["totals"].sources["projection.py"]
    assert compile(text, "projection.py", "exec")


def test_a_notebook_function_is_the_same_recipe_in_every_cell_and_session():
    assert cell(NOTEBOOK)["totals"].sources == cell("# elsewhere\n\n" + NOTEBOOK)["totals"].sources


@pytest.mark.parametrize(
    "use", ["WINDOW", "helper(1)", "[WINDOW for _ in range(3)]", "(lambda: WINDOW)()"]
)
def test_a_notebook_function_that_uses_other_cells_is_refused(use):
    source = f"""
import eventlake as el
WINDOW = 3
def helper(x):
    return x
@el.projection(name="totals", key=["k"])
def totals(snapshot):
    used = {use}
    return snapshot.scan()
"""
    with pytest.raises(InvalidProjectionError, match="defined elsewhere in the notebook") as caught:
        cell(source)
    assert "parameter" in caught.value.hint


def test_a_notebook_function_that_uses_a_module_beside_the_notebook_is_refused(
    tmp_path, monkeypatch
):
    (tmp_path / "lender_helpers.py").write_text("WINDOW = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = """
import lender_helpers
import eventlake as el
@el.projection(name="totals", key=["k"])
def totals(snapshot):
    return snapshot.scan().head(lender_helpers.WINDOW)
"""
    with pytest.raises(InvalidProjectionError, match="'lender_helpers'"):
        cell(source)


def test_a_notebook_variable_with_the_name_of_a_method_is_no_use_of_it():
    source = """
import eventlake as el
head = 3
@el.projection(name="totals", key=["k"])
def totals(snapshot):
    return snapshot.scan().head(5)
"""
    assert cell(source)["totals"].name == "totals"


def test_a_notebook_function_with_annotations_can_be_loaded_again(tmp_path):
    source = """
import polars as pl
import eventlake as el
@el.projection(name="totals", key=["k"])
def totals(
    snapshot: el.Snapshot,
) -> pl.LazyFrame:
    return snapshot.scan(["sequence"]).rename({"sequence": "k"})
"""
    projection = cell(source)["totals"]
    assert callable(load(projection.entry, projection.sources))


def test_a_notebook_function_whose_default_is_defined_elsewhere_is_refused():
    source = """
import eventlake as el
WINDOW = 3
@el.projection(name="totals", key=["k"])
def totals(snapshot, window=WINDOW):
    return snapshot.scan().head(window)
"""
    with pytest.raises(InvalidProjectionError, match="WINDOW"):
        cell(source)


def test_an_entry_names_a_function_of_its_file(tmp_path):
    sources = {"p.py": "def f(snapshot):\n    return 5\n\nx = 3\n"}
    assert load("p.py:f", sources)(None) == 5
    for entry in ("p.py", "p.py:g", "p.py:x"):
        with pytest.raises(InvalidProjectionError, match="there is no"):
            load(entry, sources)


EARLY = "from sibling_of_dataset import VALUE\n\n\ndef f(snapshot):\n    return VALUE\n"
LATE = "def f(snapshot):\n    from sibling_of_dataset import VALUE\n\n    return VALUE\n"


@pytest.mark.parametrize(
    "source", [EARLY, LATE], ids=["imported on top", "imported in the function"]
)
def test_siblings_are_importable_while_needed_and_forgotten_afterwards(source):
    def loaded(value):
        return load("p.py:f", {"p.py": source, "sibling_of_dataset.py": f"VALUE = {value}\n"})

    one, two = loaded(1), loaded(2)
    assert [one(None), two(None), one(None), loaded(3)(None)] == [1, 2, 1, 3]
    assert "sibling_of_dataset" not in sys.modules


@pytest.mark.parametrize(
    "source",
    [EARLY, LATE, "import sibling_of_dataset.part\n", "from . import sibling_of_dataset\n"],
)
def test_an_import_that_is_neither_installed_nor_declared_is_refused(source):
    with pytest.raises(InvalidProjectionError, match="'sibling_of_dataset'"):
        check_imports({"p.py": source})
    check_imports({"p.py": source, "sibling_of_dataset.py": ""})
    check_imports({"p.py": source, "sibling_of_dataset/part.py": ""})


def test_a_notebook_function_may_use_what_it_imported_from_installed_modules():
    source = """
import polars as pl
import eventlake as el
from datetime import timedelta as Span
@el.projection(name="totals", key=["k"])
def totals(snapshot):
    return pl.LazyFrame({"k": [Span(days=3).days]})
"""
    projection = cell(source)["totals"]
    assert "from datetime import timedelta as Span\n" in projection.sources["projection.py"]
    assert load(projection.entry, projection.sources)(None).collect().rows() == [(3,)]


def test_a_notebook_function_that_uses_what_only_a_later_cell_defines_is_refused():
    source = """
import eventlake as el
@el.projection(name="totals", key=["k"])
def totals(snapshot):
    return snapshot.scan().head(defined_later())
"""
    with pytest.raises(InvalidProjectionError, match="'defined_later'"):
        cell(source)


def test_a_module_with_future_annotations_and_a_dataclass_loads(tmp_path):
    source = """from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Window:
    days: int = 3
def f(snapshot):
    return Window().days
"""
    assert load("p.py:f", {"p.py": source})(None) == 3


def test_a_decorated_function_is_loaded_as_the_function_below_the_decorator(tmp_path):
    (tmp_path / "features.py").write_text(POLARS_TOTALS)
    function = load("features.py:totals", {"features.py": POLARS_TOTALS})
    frame = function(make_lake("memory://").snapshot())
    assert isinstance(frame, pl.LazyFrame)
    assert frame.collect().height == 5


def test_features_are_those_of_the_text_as_it_is_now():
    projection, other = (
        el.Projection.features(el.FeatureSet("loans", features=[el.count(event_type)]))
        for event_type in ("payment.missed", "payment.received")
    )
    assert projection.feature_set.aggregates()[0].event_type == "payment.missed"
    # A caller may keep, and change, the mapping that it passed.
    projection.sources[projection.entry] = other.sources[other.entry]
    assert projection.feature_set == other.feature_set


@pytest.mark.thorough
def test_metadata_among_the_sources_of_a_projection_installs_nothing():
    sources = {
        "p.py": "from eventlake.projections.source import check_imports\n"
        "def checked(): check_imports({'q.py': 'import undeclared_package'})\n",
        "undeclared-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: undeclared\nVersion: 1.0\n",
        "undeclared-1.0.dist-info/top_level.txt": "undeclared_package\n",
    }
    function = load("p.py:checked", sources)
    # Neither while the sources are importable nor afterwards.
    for check in (function, lambda: check_imports({"q.py": "import undeclared_package"})):
        with pytest.raises(InvalidProjectionError, match="neither installed nor declared"):
            check()
