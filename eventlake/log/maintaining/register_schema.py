"""Register a schema: check events of its type, then publish a catalogue with one more version."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.backoff import pause_after_lost_race
from eventlake.columns.intake.problems import shorten
from eventlake.columns.schema import whole_columns
from eventlake.core import layout
from eventlake.core.documents.stored import check_writable
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import InvalidInputError, SchemaMismatchError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.checked_read import check_claims, stored_batches
from eventlake.log.chain.publish import publish
from eventlake.log.next_commit import plain_commit
from eventlake.progress import task
from eventlake.schemas.catalogue import Catalogue
from eventlake.schemas.evolution import obstacles
from eventlake.schemas.parse import Parsed
from eventlake.schemas.retractions import empty_retractions
from eventlake.schemas.schema import Schema
from eventlake.schemas.version import Version
from eventlake.storage import ObjectExistsError

_SHOWN = 10
_MOST_PROBLEMS = 1_000
"""The check of a history ends after this many problems."""


class Upcasts(Protocol):
    """Evaluates upcasts."""

    def complete(self, old: Schema, new: Schema, given: Mapping[str, str]) -> dict[str, str]:
        """Return an expression for every field of ``new``, all of them checked."""

    def read(
        self,
        payloads: pa.ChunkedArray,
        sequences: npt.NDArray[np.int64],
        version: Version,
        retractions: npt.NDArray[np.bool_] | None,
    ) -> Parsed:
        """Read payloads as ``version`` does, except those of empty ``retractions``."""


def register(
    chain: Chain, schema: Schema, upcast: Mapping[str, str] | None, upcasts: Upcasts
) -> Version:
    """Make ``schema`` the newest version of its type, unless it is that already.

    Args:
        chain: The lake's log; refreshed to the new head.
        schema: The schema that every event of the type must match, stored ones included.
        upcast: Expressions that turn payloads of the version before into payloads of this one; None
            if none are needed.
        upcasts: Evaluates the expressions.

    Raises:
        InvalidInputError: It cannot follow the version before, or differs from another type's name
            only in case.
        SchemaMismatchError: Stored events do not match it; the message names them.
        CommitUnknownError: The store failed while the commit was published.
        StorageError: The store failed before that; nothing was registered.
    """
    checked = attempt = 0
    follows: Version | None = None
    while True:
        chain.refresh()
        before = chain.catalogue()
        newest = before.newest(schema.event_type)
        if newest != follows:
            # Events were checked as read through versions that are no longer the ones before it.
            checked, follows = 0, newest
        if newest is not None and newest.schema == schema and _is_same(newest, upcast, upcasts):
            return newest
        expressions = None if upcast is None else _expressions(newest, schema, upcast, upcasts)
        if newest is not None and expressions is None:
            check_follows(newest.schema, schema)
        catalogue = before.with_schema(schema, chain.watermark, expressions)
        checked = _check_history(chain, catalogue.version(schema.event_type), checked, upcasts)
        version = _publish(chain, catalogue, schema)
        if version is not None:
            return version
        attempt += 1
        pause_after_lost_race(attempt)


def _is_same(newest: Version, upcast: Mapping[str, str] | None, upcasts: Upcasts) -> bool:
    """Whether the newest version reads older payloads as ``upcast`` does."""
    if upcast is None or newest.before is None or newest.upcast is None:
        return upcast is None
    try:
        return newest.upcast == upcasts.complete(newest.before.schema, newest.schema, upcast)
    except InvalidInputError:
        return False  # ``upcast`` uses fields of the newest version


def _expressions(
    newest: Version | None, schema: Schema, upcast: Mapping[str, str], upcasts: Upcasts
) -> dict[str, str]:
    if newest is None:
        message = f"{schema.event_type} has no schema yet, and so nothing to upcast from"
        raise InvalidInputError(
            message, "register the schema of the old payloads first.", event_type=schema.event_type
        )
    return upcasts.complete(newest.schema, schema, upcast)


def check_follows(old: Schema, new: Schema) -> None:
    """Check that older payloads are valid under a new schema and keep their values.

    Raises:
        InvalidInputError: They do not; with every obstacle.
    """
    found = list(obstacles(old.payload, new.payload))
    if found:
        lines = "\n".join(f"  field {path or '(payload)'}: {reason}" for path, reason in found)
        message = f"the schema of {new.event_type} cannot follow the one before:\n{lines}"
        hint = (
            "a version may add fields that are not required, digits, enum values; "
            "for more, give upcast= or a new event type."
        )
        raise InvalidInputError(message, hint, event_type=new.event_type)


def _publish(chain: Chain, catalogue: Catalogue, schema: Schema) -> Version | None:
    """Publish the catalogue; None if another commit came first."""
    data = catalogue.encode()
    sha256 = sha256_hex(data)
    check_writable(Catalogue.decode, data, layout.schemas_path(sha256))
    # The name is the hash, so an existing file holds the same bytes, and readers check that. No
    # catalogue is ever collected.
    with suppress(ObjectExistsError):
        chain.storage.create(layout.schemas_path(sha256), data)
    # The history was checked up to this version; a commit in between could bring events that do not
    # fit.
    expected = chain.next_version
    with chain.storage.turn(layout.LOG):
        chain.refresh()
        if chain.next_version > expected:
            return None
        commit = plain_commit(chain, "schema", schemas=sha256)
        encoded = commit.encode()
        vouch(chain, commit, encoded)
        if not publish(chain, commit, encoded):
            return None
        chain.published(commit, encoded)
    return chain.catalogue().newest(schema.event_type)


def _check_history(chain: Chain, version: Version, start: int, upcasts: Upcasts) -> int:
    """Check stored events of the type; return the sequence up to which they were checked.

    Raises:
        SchemaMismatchError: Some do not match.
    """
    found: list[str] = []
    schema = version.schema
    everything = chain.segments(start, chain.watermark)
    check_claims(chain.storage, everything, chain.trust)
    # Commits say which types a segment holds, so the others are not read.
    placed = [one for one in everything if schema.event_type in dict(one[1].types)]
    with task(f"checking {schema.event_type}", len(placed)) as advance:
        for one in placed:
            columns = ["type", "correction", "data"]
            for first, events in stored_batches(chain.storage, one, chain.trust, columns):
                found += _problems(first, whole_columns(events, columns), version, upcasts)
                if len(found) >= _MOST_PROBLEMS:
                    break
            advance(1)
            if len(found) >= _MOST_PROBLEMS:
                break
    if found:
        more = f"\n  … and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        message = (
            f"{len(found):,} values in the lake do not fit the schema of {schema.event_type}, "
            "nothing was registered:\n"
        )
        hint = "lake.infer_schema proposes one that fits; what never fitted needs a new event type."
        raise SchemaMismatchError(
            message + "\n".join(found[:_SHOWN]) + more,
            hint,
            event_type=schema.event_type,
            failures=len(found),
        )
    return chain.watermark


def _problems(first: int, events: pa.Table, version: Version, upcasts: Upcasts) -> Iterator[str]:
    """What is wrong with the payloads of the version's type among events from ``first`` on."""
    is_mine = pc.equal(events.column("type"), version.schema.event_type)
    sequences = first + np.flatnonzero(is_mine.to_numpy())
    mine = events.select(["correction", "data"]).filter(is_mine)
    retractions = empty_retractions(mine.column("correction"), mine.column("data"))
    for problem in upcasts.read(mine.column("data"), sequences, version, retractions).problems:
        what = "" if problem.found is None else f", found {shorten(problem.found)}"
        yield (
            f"  sequence {sequences[problem.row or 0]:,}, field {problem.field}: "
            f"{problem.message}{what}"
        )
