"""Values reach SQL text by ``identifier``, ``quoted`` or ``integer``; whatever else does is on a list here."""

from pathlib import Path

import pytest

import eventlake
from tests.support.sql_text import Scan

pytestmark = pytest.mark.every_case

PACKAGE = Path(eventlake.__file__).parent
LOOKED_AT = {
    "the query of a user, a mapping or an archive, which passed check_select": [
        "eventlake.database.queries::_check_hidden::nodes(json.loads(tree))",
        "eventlake.projections.on_duckdb.by_entity::OneEntity.rows::self._query",
        "eventlake.projections.on_duckdb.by_entity::entity_columns::query.text",
        "eventlake.projections.on_duckdb.run::bound::query.text",
        "eventlake.projections.on_duckdb.run::run::query.text",
        "eventlake.projections.on_duckdb.exact::with_values::data.decode()",
    ],
    "a condition of a mapping, or an expression of an upcast: parsed alone first, and judged": [
        "eventlake.importing.tables::Tables.rows::rules.where",
        "eventlake.tables.check_upcast::check_stored::version.upcast",
        "eventlake.tables.expressions::evaluate::expressions",
        "eventlake.tables.check_upcast::largest::version.upcast",
    ],
    "a query that DuckDB writes of a tree, which was made of a checked one": [
        "eventlake.importing.sql::int96_files::connection.execute('SELECT json_deserialize_sql(?::JSON)', [json.dumps(look)]).fetchall()",
    ],
    "a part of the query that is advised, which is taken apart and put together as a tree": [
        "eventlake.database.queries::tree_of::json.loads(_serialized(text))",
        "eventlake.exactness.on_duckdb.json_members::_structure::json.loads(text)",
        "eventlake.exactness.on_duckdb.json_members::members::arguments",
        "eventlake.exactness.on_duckdb.json_members::members::node",
        "eventlake.exactness.on_duckdb.format_strings::_template::_PLAIN.fullmatch(spec)",
        "eventlake.exactness.on_duckdb.format_strings::concatenations::name",
        "eventlake.exactness.on_duckdb.format_strings::concatenations::text.replace('x_', f'x{place}_')",
    ],
    "a number that this process counts": [
        "eventlake.database.connection::open_database::next(_numbers)",
        "eventlake.features.on_duckdb.joins_and_trees::tree::parts.index(part)",
        "eventlake.features.on_duckdb.along_edges::along_edges::number_probes(((end, None if part in extremes else start) for part, (end, start) in looks.items()))",  # noqa: E501, RUF100
        "eventlake.features.on_duckdb.along_edges::_with_ended::parts.index(part)",
    ],
    "SQL that was made by functions which are looked at themselves, handed on where the scan does not follow": [
        "eventlake.features.on_duckdb.joins_and_trees::_aggregate::part.kind.in_sql(column, plan.scale(part), where)",
        "eventlake.features.on_duckdb.joins_and_trees::joined::ctes",
        "eventlake.features.on_duckdb.joins_and_trees::treed::ctes",
        "eventlake.features.on_duckdb.along_edges::along_edges::ctes",
        "eventlake.features.on_duckdb.along_edges::along_edges::parts",
        "eventlake.features.on_duckdb.parts::_queries::make(plan, some, [e], can_expire=source.can_expire)",
        "eventlake.features.on_duckdb.parts::joins::parts",
        "eventlake.features.on_duckdb.parts::DuckDB.parts::self.plan.parts_by_stream()",
        "eventlake.features.on_duckdb.parts::DuckDB._parts_of::replace(part, column='')",
        "eventlake.features.on_duckdb.database::Tables.early::events",
        "eventlake.features.on_duckdb.database::Tables.forget::self.names.popitem()",
        "eventlake.features.on_duckdb.database::Tables.materialize::self.names",
        "eventlake.importing.staged::Staged._read::columns",
        "eventlake.projections.on_duckdb.by_entity::OneEntity.__init__::self._tables",
        "eventlake.projections.on_duckdb.run::_Empty.hold::self._held",
    ],
    "names of our own": [
        "eventlake.database.connection::open_database::scratch()",
        "eventlake.importing.staged::Staged.__init__::self._key_names",
        "eventlake.importing.staged::Staged._check_ties::self._key_names",
        "eventlake.importing.staged::Staged.arrange::self._key_names",
    ],
    "a name that is quoted where it is used": [
        "eventlake.datasets.auditing.cut_history::_database::TableName(event_type, AS_RECORDED)",
        "eventlake.datasets.auditing.cut_history::_database::TableName(event_type, corrections)",
        "eventlake.features.on_duckdb.database::Tables.__init__::TableName(name, AS_RECORDED if plan.known_at_cutoff else LATEST)",
        "eventlake.history.sql.tables_read::tables_read::TableName(name, corrections)",
        "eventlake.history.sql.tables_read::tables_read::TableName(registered[table], schema if schema in {LATEST, LIFETIMES} else AS_RECORDED)",
    ],
    "no SQL: messages, names of columns, numbers": [
        "eventlake.database.queries::_checked::str(statement.type).rsplit('.', 1)",
        "eventlake.features.aggregates.part_kinds::Added.in_python::values",
        "eventlake.features.aggregates.part_kinds::Extreme.in_python::values",
        "eventlake.features.aggregates.part_kinds::Placed.in_python::-1",
        "eventlake.features.aggregates.part_kinds::Placed.in_python::self.place",
        "eventlake.features.aggregates.part_kinds::Placed.in_python::values",
        "eventlake.features.aggregates.part_kinds::Quantile.in_python::self.per_mille",
        "eventlake.features.aggregates.part_kinds::Quantile.in_python::values",
        "eventlake.features.declared.bound::Bound.instant_in_python::cutoff",
        "eventlake.features.declared.bound::Bound.instant_in_python::self.microseconds",
        "eventlake.features.on_duckdb.database::Tables.size_bytes::sum((one.size_bytes for one in self._sorted.values()))",
        "eventlake.features.on_duckdb.database::Tables.size_bytes::int(self.connection.execute('SELECT sum(memory_usage_bytes) FROM duckdb_memory()').fetchall()[0][0])",  # noqa: E501, RUF100
        "eventlake.features.planned.literals::_decimal::number.quantize(Decimal(1).scaleb(-kind.scale))",
        "eventlake.features.planned.literals::in_python::kind.precision",
        "eventlake.features.planned.literals::in_python::kind.scale",
        "eventlake.features.planned.literals::in_python::repr(value)",
        "eventlake.features.planned.literals::in_python::value",
        "eventlake.features.planned.nested_fields::_inside::field.name",
        "eventlake.features.planned.nested_fields::_inside::field.type",
        "eventlake.features.planned.nested_fields::fields_inside::field.name",
        "eventlake.history.sql.result::to_pandas.exact::str(kind).replace('i', 'I').replace('uI', 'UI')",
        "eventlake.history.sql.refusals::_column::get_close_matches(name, EVENT_COLUMNS, 1, 0.75)",
        "eventlake.history.sql.refusals::_schema::name.partition('.')",
        "eventlake.history.sql.refusals::advice::name",
        "eventlake.history.sql.refusals::advice::names.split(',')",
        "eventlake.importing.staged::Staged._check_ties::key.column",
        "eventlake.importing.tables::Tables._condition::rules.number",
        "eventlake.importing.tables::Tables._query::table.name",
        "eventlake.importing.tables::Tables.check_columns::rules.columns",
        "eventlake.importing.tables::Tables.check_columns::rules.number",
        "eventlake.importing.tables::Tables.check_columns::rules.table",
        "eventlake.importing.tables::Tables.columns::str(row[0])",
        "eventlake.importing.tables::Tables.columns::str(row[1])",
        "eventlake.projections.on_duckdb.by_entity::entity_columns::error",
        "eventlake.tables.expressions::<module>::duckdb.__version__",
        "eventlake.tables.check_upcast::_check_unchanged::of_field(before, new, new.name)",
        "eventlake.tables.check_upcast::complete::field.name",
        "eventlake.tables.check_upcast::complete::new.event_type",
    ],
}


def package():
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path.read_text(
            encoding="utf-8"
        )
        for path in PACKAGE.rglob("*.py")
    }


@pytest.fixture(scope="module")
def scan():
    return Scan(package())


def test_every_value_in_sql_is_quoted_or_was_looked_at(scan):
    listed = sorted(place for places in LOOKED_AT.values() for place in places)
    assert scan.places() == listed, (
        "a value reaches SQL text: spell it with identifier, quoted or integer of eventlake.core.sql; what needs none of them is listed above"
    )


def test_the_scan_sees_the_modules_that_make_sql(scan):
    found = {module.name for module in scan.modules if module.makes_sql}
    assert found >= {
        f"eventlake.{name}"
        for name in (
            "database.files",
            "features.on_duckdb.parts",
            "history.sql.duckdb_views",
            "importing.tables",
            "tables.expressions",
        )
    }
    assert len(found) < 40


HEAD = "from eventlake.core.sql import identifier, integer, quoted\n"


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ('def f(c, value):\n    c.execute(f"SELECT {value}")', ["value"]),
        ('def f(c, value):\n    c.execute("SELECT " + value)', ["value"]),
        ('def f(c, value):\n    c.execute("SELECT %s" % value)', ["value"]),
        ('def f(c, value):\n    c.execute("SELECT {}".format(value))', ["value"]),
        ('def f(c, value):\n    c.execute("SELECT {x}".format(x=value))', ["value"]),
        ('def f(c, value):\n    c.execute("SELECT X".replace("X", value))', ["value"]),
        ('T = "SELECT {}"\ndef f(c, value):\n    c.execute(T.format(value))', ["value"]),
        ("def f(c, value):\n    c.execute(value)", ["value"]),
        ("def f(c, value):\n    return c.sql(value)", ["value"]),
        ("def f(c, one):\n    text = one.text\n    c.execute(text)", ["one.text"]),
        (
            'def f(c, one):\n    text = "a"\n    if one:\n        text = one.text\n    c.execute(text)',
            ["one.text"],
        ),
        (
            'def f(c, rows):\n    names = ", ".join(row.name for row in rows)\n    c.execute(f"SELECT {names}")',
            ["row.name"],
        ),
        (
            'def f(c, rows):\n    parts = []\n    for row in rows:\n        parts.append(row.name)\n    c.execute(", ".join(parts))',
            ["row.name"],
        ),
        (
            'def f(c, one):\n    parts = {"a": one.text}\n    c.execute(f"SELECT {parts[\'a\']}")',
            ["one.text"],
        ),
        (
            'def part(one):\n    return one.text\ndef f(c, one):\n    c.execute(f"SELECT {part(one)}")',
            ["one.text"],
        ),
        (
            'def part(name):\n    return f"{name} = 1"\ndef f(c, one):\n    c.execute(part(one.name))',
            ["one.name"],
        ),
        (
            'def part(name="x"):\n    return f"{name} = 1"\ndef f(c, one):\n    c.execute(part(name=one.name))',
            ["one.name"],
        ),
        (
            'class A:\n    def part(self):\n        return self.text\ndef f(c, a):\n    c.execute(f"SELECT {a.part()}")',
            ["self.text"],
        ),
        ('def f(one):\n    return f"t + {one.offset}"', ["one.offset"]),
        ('def f(c, one):\n    c.execute(f"SELECT {str(one)}")', ["str(one)"]),
        ('def f(c, one):\n    c.execute(f"SELECT {int(one)}")', ["int(one)"]),
        (
            'SIGNS = {"==": "="}\ndef f(c, one):\n    c.execute(f"SELECT a {SIGNS.get(one.sign, one.sign)} b")',
            ["one.sign"],
        ),
    ],
)
def test_a_value_that_was_not_quoted_would_be_found(planted, found):
    places = Scan({"planted": HEAD + planted}).places()
    assert [place.rpartition("::")[2] for place in places] == found


@pytest.mark.parametrize(
    "sound",
    [
        'def f(c, a, b, n):\n    c.execute(f"SELECT {identifier(a)}, {quoted(b)}, {integer(n)}")',
        'def f(c, names):\n    c.execute("SELECT " + ", ".join(map(identifier, names)))',
        'def f(c, names):\n    shown = [f"{identifier(name)} AS c{number}" for number, name in enumerate(names)]\n    c.execute(f"SELECT {\', \'.join(shown)}")',  # noqa: E501, RUF100
        'SIGNS = {"==": "="}\ndef f(c, one):\n    c.execute(f"SELECT a {SIGNS[one.sign]} b")',
        "def f(c, few):\n    c.execute(f\"SELECT {'min' if few else 'max'}(a)\" + \" LIMIT 1\" * few)",
        'def part(name):\n    return f"{name} = 1"\ndef f(c, one):\n    c.execute(part(identifier(one.name)))',
        'def f(c, value):\n    c.execute("SELECT ?", [value])',
        'def f(value):\n    message = f"expected a number, found {value}"\n    raise ValueError(message)',
    ],
)
def test_what_is_quoted_is_no_place(sound):
    assert Scan({"planted": HEAD + sound}).places() == []
