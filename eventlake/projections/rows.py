"""Turns an engine's result into a dataset's rows: types, unique key, key order, validation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.bounds import check_bounds
from eventlake.columns.casts import lossless
from eventlake.columns.hashing.content import content_hash, logical_type, normal_type, normalise
from eventlake.core.names import repeated
from eventlake.errors import InvalidProjectionError, SchemaMismatchError
from eventlake.projections.computation import Computation, Types
from eventlake.projections.printing import printing_to_stderr
from eventlake.projections.projection import Projection

_SHOWN = 10


class RowStream(Protocol):
    """Rows that are made piece by piece."""

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows in key order, in consecutive tables; at least one."""

    def hindsight(self) -> Mapping[str, int] | None:
        """Members of a provenance, once all tables were taken; None if nothing was counted."""


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A projection that an engine has accepted and can run.

    Attributes:
        schemas: The hash of the schema by event type, for every event table that it reads.
        reads_clock: Whether its rows can depend on ``recorded_at``.
        rows: Runs it, and returns the rows as the engine does.
        stream: Runs it as well, and yields the rows piece by piece; None if it cannot.
    """

    schemas: dict[str, str]
    reads_clock: bool
    rows: Callable[[], pa.Table]
    stream: Callable[[], RowStream] | None = None


def declared_types(schema: Any) -> Types:
    """The Arrow types that a pandera schema or model declares, by column; None without a schema.

    Columns without a declared type are left out.
    """
    if schema is None:
        return None
    types = {}
    for name, column in _pandera(schema).columns.items():
        if column.dtype is not None:
            types[name] = normal_type(pl.Series([], dtype=column.dtype.type).to_arrow().type, name)
    return types


def _pandera(schema: Any) -> Any:
    return schema.to_schema() if hasattr(schema, "to_schema") else schema


def finish(computation: Computation, result: pa.Table) -> pa.Table:
    """The dataset's rows: declared types, key order, normal Arrow types.

    Raises:
        InvalidProjectionError: The key is missing, null, repeated or a float.
        SchemaMismatchError: A declared column is missing or does not fit its type without loss, or
            a value is out of the range that readers support.
    """
    projection = computation.projection
    # Arrow allows repeated names; later look-ups by name would take the first column.
    doubled = repeated(result.column_names)
    if doubled:
        message = (
            f"projection {projection.name}: expected each column once, "
            f"found {', '.join(doubled)} more than once"
        )
        raise InvalidProjectionError(message, "name columns apart with AS.")
    # Before types are compared: engines spell the same type in several ways.
    table = normalise(result)
    for name, kind in (computation.types or {}).items():
        if name not in table.column_names:
            message = (
                f"projection {projection.name}: its schema declares column {name}, "
                f"the rows have {', '.join(table.column_names)}"
            )
            raise SchemaMismatchError(message, column=name)
        index = table.schema.get_field_index(name)
        table = table.set_column(
            index, pa.field(name, kind), lossless(table.column(name), kind, name)
        )
    check_bounds(table)
    return _in_key_order(projection, table)


def _in_key_order(projection: Projection, table: pa.Table) -> pa.Table:
    for name in projection.key:
        if name not in table.column_names:
            message = (
                f"projection {projection.name}: key column {name} is not among "
                f"{', '.join(table.column_names)}"
            )
            raise InvalidProjectionError(message, "return the key with the rows.", column=name)
        column = table.column(name)
        if pa.types.is_floating(column.type) or pa.types.is_nested(column.type):
            message = (
                f"projection {projection.name}: key column {name} is {logical_type(column.type)}, "
                "which cannot identify a row"
            )
            raise InvalidProjectionError(
                message, "a key is made of integers, decimals, text, dates, instants or booleans."
            )
        if column.null_count:
            message = (
                f"projection {projection.name}: key column {name} is null in "
                f"{column.null_count:,} rows"
            )
            raise InvalidProjectionError(
                message, "every row needs its key; filter those rows, or key by another column."
            )
    if len(projection.key) == 1 and _ascends(table.column(projection.key[0])):
        return table
    # Ties do not matter: a repeated key is refused below.
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in projection.key])
    table = table.take(order)
    repeated = _repeated(table.select(list(projection.key)))
    if repeated is not None:
        message = f"projection {projection.name}: more than one row has the key {repeated}"
        raise InvalidProjectionError(
            message, "add a column to the key, or aggregate to one row per key.", key=repeated
        )
    return table


def _ascends(key: pa.ChunkedArray) -> bool:
    """Whether a key of integers is in order and repeats nothing, as that of a whole spine is."""
    if not pa.types.is_integer(key.type):
        return False
    values = key.to_numpy()
    return bool((values[1:] > values[:-1]).all())


def _repeated(keys: pa.Table) -> dict[str, Any] | None:
    """The first key that occurs twice in sorted ``keys``."""
    if keys.num_rows < 2:  # noqa: PLR2004 - one row repeats nothing
        return None
    same = None
    for column in keys.columns:
        values = column.combine_chunks()
        equal = pc.equal(values[1:], values[:-1])
        same = equal if same is None else pc.and_(same, equal)
    position = pc.index(same, pa.scalar(value=True)).as_py()
    return (
        None
        if position < 0
        else {name: keys.column(name)[position].as_py() for name in keys.column_names}
    )


def validate(projection: Projection, table: pa.Table, rows_hash: str) -> None:
    """Validate the rows with pandera, which may refuse rows but must not change them.

    Raises:
        SchemaMismatchError: The rows break the schema; the first failures are listed.
        InvalidProjectionError: The schema changes values.
    """
    if projection.schema is None:
        return
    import pandera.config  # noqa: PLC0415 - half a second that only a schema needs
    import pandera.errors  # noqa: PLC0415

    # A declared schema is checked in full, even if the environment turns pandera off.
    depth = pandera.config.ValidationDepth.SCHEMA_AND_DATA
    try:
        with (
            pandera.config.config_context(validation_enabled=True, validation_depth=depth),
            printing_to_stderr(),
        ):
            checked = _pandera(projection.schema).validate(pl.DataFrame(table), lazy=True)
    except (pandera.errors.SchemaErrors, pandera.errors.SchemaError) as error:
        raise _refused(projection, error) from error
    except SystemExit as error:
        message = (
            f"projection {projection.name}: a check of its schema ended the program: "
            f"SystemExit: {error}"
        )
        raise InvalidProjectionError(
            message, "a check returns whether rows are valid; leave out sys.exit()."
        ) from error
    # Pandera may coerce silently, and the recipe does not pin its schema's code.
    if content_hash(checked.to_arrow()) != rows_hash:
        message = f"projection {projection.name}: its pandera schema changes values"
        hint = (
            "a schema checks; leave out coerce, parsers and defaults, and change values in the "
            "projection."
        )
        raise InvalidProjectionError(message, hint)


def _refused(projection: Projection, error: Exception) -> SchemaMismatchError:
    cases = getattr(error, "failure_cases", None)
    if not isinstance(cases, pl.DataFrame):
        return SchemaMismatchError(
            f"projection {projection.name}: the rows break the schema: {error}"
        )
    lines = []
    for case in cases.head(_SHOWN).iter_rows(named=True):
        where = f"row {case['index']}, " if case.get("index") is not None else ""
        check, value = case.get("check"), case.get("failure_case")
        lines.append(f"  {where}column {case.get('column')}: {check}, found {value}")
    more = f"\n  … and {cases.height - _SHOWN:,} more" if cases.height > _SHOWN else ""
    message = (
        f"projection {projection.name}: {cases.height:,} values break the schema, "
        "nothing was published:\n" + "\n".join(lines) + more
    )
    return SchemaMismatchError(
        message, "correct the projection, or the schema if it is wrong.", failures=cases.height
    )
