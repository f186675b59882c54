"""Payloads that were accepted under some version of a schema, as columns of a later one."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from eventlake.columns.intake.problems import Problem
from eventlake.columns.rows import gathered
from eventlake.schemas.checks import arrow_schema
from eventlake.schemas.parse import Parsed, parse
from eventlake.schemas.version import Version
from eventlake.tables.expressions import complete
from eventlake.tables.upcast import upcast, widened

__all__ = ["complete", "read"]


def read(
    payloads: pa.ChunkedArray,
    sequences: npt.NDArray[np.int64],
    version: Version,
    quiet: npt.NDArray[np.bool_] | None = None,
) -> Parsed:
    """Reads a column of payloads as ``version`` has them.

    Args:
        payloads: JSON texts or null, of one event type.
        sequences: Where the events stand, ascending.
        version: The schema to read with. Payloads older than one of its upcasts are read with the
            version that they were accepted under, and brought up step by step. Where there are
            problems the table is of no use.
        quiet: Retractions without a payload. Under a schema with required fields, every field of
            theirs is null.
    """
    tables, problems, done = [arrow_schema(version.schema.payload).empty_table()], [], 0
    for end, accepted in version.epochs():
        stop = len(sequences) if end is None else int(np.searchsorted(sequences, end))
        if stop > done:
            schema, mute = accepted.schema.payload, None if quiet is None else quiet[done:stop]
            if mute is None or not mute.any() or not any(field.required for field in schema.fields):
                mute = np.zeros(stop - done, np.bool_)
            spoken = np.flatnonzero(~mute)
            part = payloads.slice(done, stop - done)
            table, found = _brought_up(
                parse(part.filter(pa.array(~mute)) if mute.any() else part, schema, stored=True),
                accepted,
                version,
            )
            tables.append(_spread(table, ~mute) if mute.any() and not found else table)
            problems += [
                replace(problem, row=done + int(spoken[problem.row or 0])) for problem in found
            ]
            done = stop
    return Parsed(pa.concat_tables(tables), problems)


def _spread(table: pa.Table, where: npt.NDArray[np.bool_]) -> pa.Table:
    """The rows of a table at some places, with nulls at the others."""
    return gathered(table, pa.array(np.cumsum(where) - 1, mask=~where))


def _brought_up(
    parsed: Parsed, accepted: Version, version: Version
) -> tuple[pa.Table, list[Problem]]:
    table, problems = parsed.table, list(parsed.problems)
    for step in version.lineage()[accepted.number :]:
        if problems:
            break
        if step.upcast is None:
            table = widened(table, step.schema)
        else:
            table, problems = upcast(table, step)
    # Where something is wrong nobody reads on.
    return (table if not problems else arrow_schema(version.schema.payload).empty_table()), problems
