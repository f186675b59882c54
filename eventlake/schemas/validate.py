"""Check the payloads of a batch against the schemas of their types."""

import numpy as np

from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.columns.rows import grouped, numbered
from eventlake.schemas.catalogue import Catalogue
from eventlake.schemas.parse import problems
from eventlake.schemas.retractions import empty_retractions


def schema_problems(batch: Batch, catalogue: Catalogue, *, strict: bool) -> list[Problem]:
    """The payloads that do not fit the newest schema of their type, by the batch's original rows.

    Args:
        batch: Events that follow the event rules.
        catalogue: The lake's schemas.
        strict: Whether a type without a schema is a problem.
    """
    # Nothing can be wrong, so the batch is not searched for its types.
    if not batch.rows or (not strict and not catalogue.types):
        return []
    types, names = numbered(batch.table.column("type"))
    versions = [catalogue.newest(name) for name in names]
    found: list[Problem] = []
    if strict and None in versions:
        first = np.unique(types, return_index=True)[1].tolist()
        message = "expected a registered type: this lake is strict"
        found += [
            Problem(batch.number(row), "type", message, name)
            for name, version, row in zip(names, versions, first, strict=True)
            if version is None
        ]
    is_read = np.array([version is not None for version in versions])[types]
    retractions = empty_retractions(batch.table.column("correction"), batch.table.column("data"))
    if retractions is not None:
        is_read &= ~retractions
    schemas = [version and version.schema.payload for version in versions]
    for groups in grouped(batch.table.column("data"), np.where(is_read, types, -1)):
        columns = [
            (payloads, schema) for number, _, payloads in groups if (schema := schemas[number])
        ]
        for (_, rows, _), some in zip(groups, problems(columns), strict=True):
            found += [
                Problem(batch.number(int(rows[one.row or 0])), one.field, one.message, one.found)
                for one in some
            ]
    return sorted(found, key=lambda problem: problem.row or 0)
