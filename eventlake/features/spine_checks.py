"""Refuses spines of which no features can be looked up."""

import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.schema import INSTANT
from eventlake.core.card import counted
from eventlake.core.instants import MAX_US, MIN_US, format_instant
from eventlake.core.names import is_pattern
from eventlake.errors import InvalidInputError
from eventlake.features.planned.fields import SPINE_TYPES
from eventlake.features.planned.plan import Plan
from eventlake.features.spine_hints import cast_hint, missing
from eventlake.history.pinned import PinnedHistory
from eventlake.visible import warn

_MOST_EARLY = 0.25
"""The share of cutoffs before the first recording up to which there is no warning."""


def check_spine(plan: Plan, history: PinnedHistory, spine: pa.Table) -> None:
    """Refuse a spine without an entity or a cutoff, and one at whose cutoffs nothing was known.

    Warns if nothing was recorded yet at many of its cutoffs.

    Raises:
        InvalidInputError: A column is missing, has another type or the name of a feature; a cutoff
            is null or not in the years 1 to 9999; or all cutoffs lie before the first recording,
            and only what was known at the cutoff counts.
    """
    features = plan.features
    entity, cutoff = features.spine_entity, features.cutoff
    wanted = {entity: SPINE_TYPES[plan.entity.kind], cutoff: INSTANT}
    for name, kind in wanted.items():
        if is_pattern(name) or not name:
            message = (
                f"feature set {features.name}: expected the names of entity and cutoff in the "
                f"spine as names alone, found {name!r}"
            )
            raise InvalidInputError(message, "rename the column.", column=name)
        if name not in spine.column_names:
            message = (
                f"feature set {features.name}: the spine has no column {name}, only "
                f"{', '.join(spine.column_names[1:])}"
            )
            raise InvalidInputError(
                message,
                missing(spine, kind, "cutoff" if name == cutoff else "spine_by"),
                column=name,
            )
        if spine.column(name).type != kind:
            message = (
                f"feature set {features.name}: expected {name} of the spine as {kind}, found "
                f"{spine.column(name).type}"
            )
            raise InvalidInputError(
                message, cast_hint(name, kind, spine.column(name).type), column=name
            )
    if spine.column(cutoff).null_count:
        message = (
            f"feature set {features.name}: {cutoff} is null in "
            f"{counted(spine.column(cutoff).null_count, 'row')} of the spine"
        )
        raise InvalidInputError(
            message,
            "a row without a cutoff knows nothing, or everything: leave it out.",
            column=cutoff,
        )
    instants = spine.column(cutoff).cast(pa.int64())
    beyond = pc.sum(pc.or_(pc.less(instants, MIN_US), pc.greater(instants, MAX_US))).as_py()
    if beyond:
        message = (
            f"feature set {features.name}: {beyond:,} of {spine.num_rows:,} cutoffs are not in the "
            "years 1 to 9999"
        )
        raise InvalidInputError(
            message,
            "for everything that is known, give an instant after the last event.",
            column=cutoff,
        )
    clashes = [name for name in features.columns if name in spine.column_names]
    if clashes:
        message = (
            f"feature set {features.name}: {', '.join(clashes)} would be a column of the spine and "
            "a feature"
        )
        raise InvalidInputError(message, "rename one of the two.", column=clashes[0])
    # With hindsight, or without rows, there is nothing that could be unknown.
    first = history.first_recorded() if plan.known_at_cutoff and spine.num_rows else None
    if first is not None:
        _check_known(plan, spine.column(cutoff), first)


def _check_known(plan: Plan, cutoffs: pa.ChunkedArray, first: int) -> None:
    early = pc.sum(pc.less_equal(cutoffs.cast(pa.int64()), first)).as_py()
    if not early or early <= _MOST_EARLY * len(cutoffs):
        return
    message = (
        f"feature set {plan.features.name}: {early:,} of {len(cutoffs):,} cutoffs lie before "
        f"{format_instant(first)}, when the first "
        "event was recorded; nothing was known then"
    )
    hint = (
        "a history that was imported is known from its import on: build with known='watermark', "
        "which is hindsight, or import it with "
        "recorded_at taken from time."
    )
    if early == len(cutoffs):
        raise InvalidInputError(message, hint, projection=plan.features.name)
    warn(f"{message}; {hint}")
