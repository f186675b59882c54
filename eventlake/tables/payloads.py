"""Read payloads that were accepted under one version of a schema as columns of a later one."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from eventlake.columns.intake.problems import Problem
from eventlake.columns.rows import gathered
from eventlake.schemas.checks import arrow_schema
from eventlake.schemas.parse import Parsed, parse
from eventlake.schemas.version import Version
from eventlake.tables.check_upcast import complete
from eventlake.tables.upcast import upcast, widened

__all__ = ["complete", "read"]


def read(
    payloads: pa.ChunkedArray,
    sequences: npt.NDArray[np.int64],
    version: Version,
    retractions: npt.NDArray[np.bool_] | None = None,
) -> Parsed:
    """Read payloads as columns of ``version``.

    Payloads older than an upcast are read with the version that accepted them and upcast step by
    step.

    Args:
        payloads: JSON texts or null, of one event type.
        sequences: The events' sequences, ascending.
        version: The schema to read with.
        retractions: True for each retraction without a payload. Under a schema with required
            fields, all its fields are null.

    Returns:
        The columns and what is wrong; with problems, the columns are incomplete.
    """
    tables, problems, done = [arrow_schema(version.schema.payload).empty_table()], [], 0
    for end, accepted in version.epochs():
        stop = len(sequences) if end is None else int(np.searchsorted(sequences, end))
        if stop > done:
            schema = accepted.schema.payload
            empty = None if retractions is None else retractions[done:stop]
            # Without required fields an empty payload parses to nulls like any other.
            needs_values = any(field.required for field in schema.fields)
            if empty is None or not empty.any() or not needs_values:
                empty = np.zeros(stop - done, np.bool_)
            filled = np.flatnonzero(~empty)
            part = payloads.slice(done, stop - done)
            table, found = _upcast_to(
                parse(part.filter(pa.array(~empty)) if empty.any() else part, schema, stored=True),
                accepted,
                version,
            )
            tables.append(_with_null_rows(table, ~empty) if empty.any() and not found else table)
            problems += [
                replace(problem, row=done + int(filled[problem.row or 0])) for problem in found
            ]
            done = stop
    return Parsed(pa.concat_tables(tables), problems)


def _with_null_rows(table: pa.Table, filled: npt.NDArray[np.bool_]) -> pa.Table:
    """The rows of a table at the places that are ``filled``, with null rows at the others."""
    return gathered(table, pa.array(np.cumsum(filled) - 1, mask=~filled))


def _upcast_to(
    parsed: Parsed, accepted: Version, version: Version
) -> tuple[pa.Table, list[Problem]]:
    table, problems = parsed.table, list(parsed.problems)
    # Numbers begin with 1, so the slice begins with the version after the accepted one.
    for step in version.lineage()[accepted.number :]:
        if problems:
            break
        if step.upcast is None:
            table = widened(table, step.schema)
        else:
            table, problems = upcast(table, step)
    # Callers concatenate the parts, so that even a failed one has the final columns.
    return (table if not problems else arrow_schema(version.schema.payload).empty_table()), problems
