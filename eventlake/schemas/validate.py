"""Check the payloads of a batch against the schemas of their types."""

import numpy as np
import pyarrow.compute as pc

from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.columns.rows import chosen
from eventlake.schemas.catalogue import Catalogue
from eventlake.schemas.parse import parse
from eventlake.schemas.retractions import empty_retractions


def schema_problems(batch: Batch, catalogue: Catalogue, *, strict: bool) -> list[Problem]:
    """The payloads that do not fit the newest schema of their type, by the batch's original rows.

    Args:
        batch: Events that follow the event rules.
        catalogue: The lake's schemas.
        strict: Whether a type without a schema is a problem.
    """
    # Nothing can be wrong, so the batch is not searched for its types.
    if not strict and not catalogue.types:
        return []
    types = batch.table.column("type")
    retractions = empty_retractions(batch.table.column("correction"), batch.table.column("data"))
    problems: list[Problem] = []
    for event_type in pc.unique(types).to_pylist():
        version = catalogue.newest(event_type)
        if version is None and not strict:
            continue
        rows = (
            np.flatnonzero(pc.equal(types, event_type).to_numpy())
            if len(pc.unique(types)) > 1
            else np.arange(batch.rows)
        )
        if version is None:
            problems.append(
                Problem(
                    batch.number(int(rows[0])),
                    "type",
                    "expected a registered type: this lake is strict",
                    event_type,
                )
            )
            continue
        if retractions is not None:
            rows = rows[~retractions[rows]]
        # Only the payloads are selected by row, not all columns of the batch.
        mine = batch.table.select(["data"])
        payloads = (mine if len(rows) == batch.rows else chosen(mine, rows)).column("data")
        found = parse(payloads, version.schema.payload).problems
        problems += [
            Problem(batch.number(int(rows[one.row or 0])), one.field, one.message, one.found)
            for one in found
        ]
    return sorted(problems, key=lambda problem: problem.row or 0)
