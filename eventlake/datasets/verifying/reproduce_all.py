"""Reproduces stored datasets one after another from their archives, and compares manifests.

Hashes show that rows, spine and source are what a writer stored. Only a reproduction shows that the
source makes these rows of the history.
"""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from eventlake.columns.hashing.content import content_hash
from eventlake.core.documents.dataset import UNCHECKED, DatasetManifest, Spine
from eventlake.core.documents.provenance import is_uncounted
from eventlake.database import Limits
from eventlake.datasets.building.build_once import dataset_statement
from eventlake.datasets.building.environment import environment
from eventlake.datasets.building.given_spine import spine_of_events
from eventlake.datasets.building.isolated import isolated
from eventlake.datasets.building.ready import make
from eventlake.datasets.building.reproduce import manifest_differences, prepare_reproduction
from eventlake.datasets.store.archive import EVENT_SPINE, Archive
from eventlake.errors import CorruptionError, EventlakeError, NotFoundError, NotIdenticalError
from eventlake.features.spines.spine import spine_of
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import at_checkpoint
from eventlake.history.verifying.report import Tally
from eventlake.log.chain.chain import Chain
from eventlake.progress import task
from eventlake.projections.kinds import kind_named
from eventlake.trust import OWN

MOST_SECONDS = 600.0
"""The time limit of a query, which may be untrusted and never end."""
LEAST_SECONDS = 1
"""The time limit does not fall below it."""


def reproduce_all(
    chain: Chain,
    archives: Sequence[Archive],
    tally: Tally,
    *,
    trust: bool,
    seconds: float = MOST_SECONDS,
) -> None:
    """Reproduce datasets. Earlier findings of this user are not trusted; the new ones are recorded.

    Args:
        chain: The lake's log, with a ledger that knows only what this verification has checked.
        archives: Datasets whose rows, spines and sources match their manifests.
        tally: Gets a problem for each false dataset, and a doubt for each that cannot be
            reproduced.
        trust: Run archived Python.
        seconds: The time limit of the first query; it halves after each timeout.
    """
    with task("reproducing datasets", len(archives)) as advance:
        for archive in archives:
            if not _derive(chain, archive, tally, seconds=seconds, trust=trust):
                # A lake with many endless queries would take ten minutes for each of them.
                seconds = max(seconds / 2, LEAST_SECONDS)
            advance(1)


def _derive(chain: Chain, archive: Archive, tally: Tally, *, seconds: float, trust: bool) -> bool:
    """Reproduce one dataset; False if its query timed out."""
    then = archive.manifest
    if kind_named(then.recipe.kind).needs_trust and not trust:
        message = f"archived Python ({then.recipe.entry}) is run only with trust=True or --trust"
        tally.doubt(archive.folder, f"not reproduced: {message}")
        return True
    try:
        history = at_checkpoint(chain, then.recipe.checkpoint)
        found, proved = isolated(_reproduce, history, archive, trust=trust, seconds=seconds)
    except (CorruptionError, NotFoundError) as error:
        tally.blame(archive.folder, f"cannot be reproduced: {error.message}")
    except EventlakeError as error:
        tally.doubt(archive.folder, f"not reproduced: {error.message}")
        return "seconds" not in error.facts
    else:
        tally.problems += found.problems
        tally.unproven += found.unproven
        if proved:
            OWN.ledger.note([dataset_statement(then.manifest_hash)])
    return True


def _reproduce(
    history: PinnedHistory, archive: Archive, *, trust: bool, seconds: float
) -> tuple[Tally, bool]:
    """What is wrong with a dataset, and whether its recipe makes exactly its manifest."""
    tally, then = Tally(), archive.manifest
    # More rows than the manifest has are a difference already, and could fill the memory.
    limits = Limits(then.rows, seconds)
    ready_build = prepare_reproduction(
        archive, history, archive.spine(), trust=trust, limits=limits
    )
    try:
        built = make(ready_build, changed_only=True)
    except NotIdenticalError as error:
        _report_difference(archive, tally, ready_build.recipe.engine_version, error.message)
        return tally, False
    now = built.manifest
    _check_spines(archive, history, tally)
    told = [provenance for provenance, _ in archive.attempts() if not is_uncounted(provenance)]
    if told:
        counts = built.hindsight or ready_build.kind.hindsight(ready_build.computation)
        for provenance in told:
            _check_counts(provenance, counts, tally)
    proved = now.manifest_hash == then.manifest_hash
    if not proved and not _equal_except_engine_version(then, now):
        differences = [
            *manifest_differences(then, now),
            f"content hash: {then.content_hash} then, {now.content_hash} now",
        ]
        _report_difference(archive, tally, now.recipe.engine_version, "; ".join(differences))
    return tally, proved


def _check_spines(archive: Archive, history: PinnedHistory, tally: Tally) -> None:
    """Derive each declared event spine again, and compare it with the recipe's."""
    recipe = archive.manifest.recipe
    # Stored event tables may be forged too, so they are derived again.
    history = history.with_schemas(recipe.schemas, ignore_stored=True)
    for provenance, _ in archive.attempts():
        if EVENT_SPINE not in provenance:
            continue
        try:
            declared = spine_of(provenance[EVENT_SPINE])
            rows, counts = spine_of_events(declared, history)
        except CorruptionError as error:
            tally.blame(provenance["attempt"], error)
            continue
        except EventlakeError as error:
            tally.doubt(provenance["attempt"], f"its spine was not derived: {error.message}")
            continue
        if recipe.spine == Spine(rows.num_rows, content_hash(rows)):
            _check_counts(provenance, counts, tally)
            continue
        then, now = _versions(provenance)
        types = {declared.event_type, *(label.event_type for _, label, _ in declared.labels)}
        message = (
            f"its spine is not the one that its declaration makes of {declared.event_type} events"
        )
        if then != now:
            tally.doubt(
                provenance["attempt"], f"{message}; it was made by eventlake {then}, this is {now}"
            )
        # A recipe pins the schemas that the query reads, not those of the spine.
        elif any(
            len(history.catalogue.types.get(one, ())) > 1 and one not in recipe.schemas
            for one in types
        ):
            tally.doubt(provenance["attempt"], f"{message}; some of its types have newer schemas")
        else:
            tally.blame(provenance["attempt"], message)


def _check_counts(provenance: dict[str, Any], now: Mapping[str, int], tally: Tally) -> None:
    """Compare the hindsight that a provenance records with what was counted now."""
    for name, count in now.items():
        if (recorded := provenance.get(name)) == count:
            continue
        message = f"it records {name} = {recorded}, but counting again gives {count}"
        then, here = _versions(provenance)
        # Older versions did not record it, or counted differently; that does not prove a forgery.
        if recorded is None or then != here:
            tally.doubt(
                provenance["attempt"], f"{message}; it was made by eventlake {then}, this is {here}"
            )
        else:
            tally.blame(provenance["attempt"], message)


def _versions(provenance: dict[str, Any]) -> tuple[str, str]:
    """The version of eventlake that wrote a provenance, and this one."""
    then, now = (one["versions"]["eventlake"] for one in (provenance, environment()))
    return then, now


def _equal_except_engine_version(then: DatasetManifest, now: DatasetManifest) -> bool:
    """Whether another version of the engine made the same rows of the same recipe."""
    engine = {"engine": None}
    same = then.recipe.document() | engine == now.recipe.document() | engine
    return same and (then.content_hash, then.rows, then.schema) == (
        now.content_hash,
        now.rows,
        now.schema,
    )


def _report_difference(
    archive: Archive, tally: Tally, engine_version: str, differences: str
) -> None:
    reason = _why_not_promised(archive, engine_version)
    if reason is None:
        tally.blame(archive.folder, f"its rows are not those that its recipe makes: {differences}")
    else:
        tally.doubt(
            archive.folder,
            f"reproduced with other rows, which proves nothing: {reason}; {differences}",
        )


def _why_not_promised(archive: Archive, engine_version: str) -> str | None:
    """Why the same rows are not guaranteed here; None if they are."""
    recipe = archive.manifest.recipe
    machine = archive.provenance()["environment"]["machine"]
    if recipe.engine_version != engine_version:
        return f"it was made by {recipe.engine} {recipe.engine_version}, this is {engine_version}"
    if recipe.level == "unproven":
        return "its level is unproven"
    if recipe.level == "exact" and recipe.check == UNCHECKED:
        return "its level was declared and not checked"
    if recipe.level == "fixed" and machine != platform.machine():
        return f"it was made on {machine}, this is {platform.machine()}, and its level is fixed"
    return None
