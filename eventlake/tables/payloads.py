"""Payloads that were accepted under some version of a schema, as columns of a later one."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from eventlake.columns.problems import Problem
from eventlake.schemas.checks import arrow_schema
from eventlake.schemas.parse import Parsed, parse
from eventlake.schemas.version import Version
from eventlake.tables.expressions import complete
from eventlake.tables.upcast import upcast, widened

__all__ = ["complete", "read"]


def read(payloads: pa.ChunkedArray, sequences: npt.NDArray[np.int64], version: Version) -> Parsed:
    """Reads a column of payloads as ``version`` has them.

    Args:
        payloads: JSON texts or null, of one event type.
        sequences: Where the events stand, ascending.
        version: The schema to read with. Payloads older than one of its upcasts are read with the version that they were accepted under,
            and brought up step by step. Where there are problems the table is of no use.
    """
    tables, problems, done = [arrow_schema(version.schema.payload).empty_table()], [], 0
    for end, accepted in version.epochs():
        stop = len(sequences) if end is None else int(np.searchsorted(sequences, end))
        if stop > done:
            parsed = parse(payloads.slice(done, stop - done), accepted.schema.payload)
            table, found = _brought_up(parsed, accepted, version)
            tables.append(table)
            problems += [problem.shifted(done) for problem in found]
            done = stop
    return Parsed(pa.concat_tables(tables), problems)


def _brought_up(parsed: Parsed, accepted: Version, version: Version) -> tuple[pa.Table, list[Problem]]:
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
