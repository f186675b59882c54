"""Resolve ``at=``: find the history that a watermark, an instant, a checkpoint or a hash names."""

import re
from datetime import datetime
from numbers import Integral
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eventlake.core import layout
from eventlake.core.documents.dataset import DatasetManifest
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.instants import format_instant, instant_of, parse_instant
from eventlake.core.names import HASH_PREFIX
from eventlake.errors import ConflictError, CorruptionError, InvalidInputError, NotFoundError
from eventlake.history.pin import pin
from eventlake.history.pinned import PinnedHistory
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.checked_read import check_claims
from eventlake.log.maintaining.check_compaction import check_compacted

At = int | str | datetime | Checkpoint | None
_WATERMARK = re.compile(r"0|[1-9][0-9]{0,11}")
_FORMS = (
    "a watermark, an instant with a zone, a checkpoint, "
    "or the hash of a commit or dataset manifest (6 to 64 hex digits)"
)


def resolve(chain: Chain, at: At) -> PinnedHistory:
    """Find the history that ``at`` names.

    Args:
        chain: The lake's log, refreshed.
        at: None for the head; an int watermark; an aware datetime or RFC 3339 text (events with
            ``recorded_at <`` it); a checkpoint or its one-line text; a commit hash or dataset
            manifest hash or a prefix of one of at least 6 digits.

    Raises:
        InvalidInputError: ``at`` is none of these, or a prefix of several hashes.
        NotFoundError: There is no such watermark or hash.
        ConflictError: The lake has not moved past the instant: later appends could still be
            recorded before it.
        CorruptionError: The root at the watermark is not the checkpoint's.
    """
    if at is None:
        return pin(chain, chain.watermark)
    # In Python a bool is an integer, and True would pin the first event.
    if isinstance(at, bool):
        raise _unsupported(at)
    if isinstance(at, Integral):
        return _at_watermark(chain, int(at))
    if isinstance(at, datetime):
        return _at_instant(chain, checked_instant(at, "at"))
    if isinstance(at, Checkpoint):
        return at_checkpoint(chain, at)
    if isinstance(at, str):
        return _at_text(chain, at.strip())
    raise _unsupported(at)


def _at_text(chain: Chain, text: str) -> PinnedHistory:
    if "@" in text:
        return at_checkpoint(chain, Checkpoint.parse(text))
    # Digits alone may be a watermark or the beginning of a hash.
    if _WATERMARK.fullmatch(text):
        hashed = _named_by_hash(chain, text) if re.fullmatch(HASH_PREFIX, text) else []
        if not hashed:
            return _at_watermark(chain, int(text))
        # Both readings are possible, and a guess could silently pin another history.
        if int(text) <= chain.watermark:
            message = f"{text} is a watermark of this lake, and the beginning of a hash"
            raise InvalidInputError(
                message, "give more digits of the hash, or the watermark as an int.", at=text
            )
    if re.fullmatch(HASH_PREFIX, text):
        return _at_hash(chain, text)
    try:
        instant = parse_instant(text)
    except ValueError as error:
        message = f"expected {_FORMS}, found {text!r}: {error}"
        raise InvalidInputError(message, at=text) from None
    return _at_instant(chain, instant)


def _unsupported(at: Any) -> InvalidInputError:
    return InvalidInputError(f"expected {_FORMS}, found {at!r}", at=at)


def checked_instant(value: object, name: str) -> int:
    """The microseconds of an instant: a datetime with a zone, or RFC 3339 text.

    Raises:
        InvalidInputError: It is neither, or finer than a microsecond.
    """
    try:
        return instant_of(value)
    except ValueError as error:
        message = f"{name}={value!r}: {error}"
        hint = (
            "such as datetime(2026, 1, 31, tzinfo=UTC) or '2026-01-31T12:00:00Z'; "
            "round it yourself if it is finer."
        )
        raise InvalidInputError(message, hint, **{name: value}) from None


def _at_watermark(chain: Chain, watermark: int) -> PinnedHistory:
    if not 0 <= watermark <= chain.watermark:
        message = f"expected a watermark from 0 to {chain.watermark:,}, found {watermark:,}"
        raise NotFoundError(message, at=watermark, head=chain.watermark)
    return pin(chain, watermark)


def _at_instant(chain: Chain, instant: int) -> PinnedHistory:
    # An event recorded at exactly this instant could still be appended, so equality is not enough.
    head = chain.head
    if head is None or head.commit.recorded_at < instant:
        last = format_instant(head.commit.recorded_at) if head else "nothing yet"
        message = (
            f"the lake has not moved past {format_instant(instant)} "
            f"(its newest event was recorded at {last})"
        )
        hint = (
            "events recorded before that instant may still come; "
            "take the head, or an earlier instant."
        )
        raise ConflictError(message, hint)
    placed = chain.segments(0, chain.watermark)
    # The search relies on instants in commits, so those of other users are checked first.
    check_claims(chain.storage, placed, chain.trust)
    check_compacted(chain, placed)
    for commit, segment in placed:
        if segment.recorded is None:
            if commit.recorded_at >= instant:
                return pin(chain, segment.start)
        elif segment.recorded[1] >= instant:
            # The instant lies inside a compacted segment, whose events have several instants.
            history = pin(chain, segment.stop)
            recorded = (
                history.read(history.stretches[-1], ["recorded_at"])
                .column("recorded_at")
                .cast(pa.int64())
            )
            return pin(chain, segment.start + pc.sum(pc.less(recorded, instant)).as_py())
    message = "the commits' instants disagree with their segments'"
    raise CorruptionError(message, "run 'eventlake verify LAKE'.")


def at_checkpoint(chain: Chain, checkpoint: Checkpoint) -> PinnedHistory:
    """The history that a checkpoint names, if the segments that hold it now have its root.

    Raises:
        NotFoundError: The lake is shorter, or has another origin.
        CorruptionError: The lake has a different history at that watermark.
    """
    if checkpoint.origin != chain.origin:
        message = f"the checkpoint is of {checkpoint.origin}, this lake is {chain.origin}"
        raise NotFoundError(
            message, "open the lake that the checkpoint was made in.", checkpoint=str(checkpoint)
        )
    if checkpoint.watermark > chain.watermark:
        message = (
            f"the checkpoint has {checkpoint.watermark:,} events, "
            f"this lake only {chain.watermark:,}: its end is missing"
        )
        raise NotFoundError(
            message,
            "the lake was restored from an older copy, or its newest commits are lost.",
            checkpoint=str(checkpoint),
        )
    history = pin(chain, checkpoint.watermark)
    if history.checkpoint.root != checkpoint.root:
        message = (
            f"another history: expected root {checkpoint.root} at {checkpoint.watermark:,}, "
            f"found {history.checkpoint.root}"
        )
        raise CorruptionError(
            message,
            "this lake is not the one that the checkpoint was made in.",
            checkpoint=str(checkpoint),
        )
    return history


def _at_hash(chain: Chain, prefix: str) -> PinnedHistory:
    found = _named_by_hash(chain, prefix)
    if len(found) > 1:
        message = f"{prefix} fits {len(found)} hashes; expected one"
        raise InvalidInputError(message, "give more digits.", prefix=prefix)
    if found:
        return at_checkpoint(chain, found[0])
    message = f"no commit or dataset manifest has a hash that starts with {prefix}"
    raise NotFoundError(
        message, "'eventlake log' and 'eventlake datasets' list the hashes.", prefix=prefix
    )


def _named_by_hash(chain: Chain, prefix: str) -> list[Checkpoint]:
    """The checkpoints of commits and dataset manifests whose hash begins with ``prefix``."""
    named = (commit for commit in chain.manifest().commits if commit.commit_hash.startswith(prefix))
    commits = [Checkpoint(chain.origin, commit.stop, commit.root) for commit in named]
    return commits + _dataset_checkpoints(chain, prefix)


def _dataset_checkpoints(chain: Chain, prefix: str) -> list[Checkpoint]:
    """The checkpoints of built datasets whose manifest hash begins with ``prefix``."""
    found = []
    # A build's folder begins with its manifest hash, so few manifests are read.
    for item in chain.storage.list(layout.BUILDS):
        parts = layout.build_parts(item.path)
        if (
            parts
            and parts[2] == layout.MANIFEST
            and parts[1].startswith(prefix[: layout.SHORT_HASH])
        ):
            data = chain.storage.read(item.path)
            if sha256_hex(data).startswith(prefix):
                found.append(DatasetManifest.decode(data, item.path).recipe.checkpoint)
    return found
