"""The lake's clock: what bounds ``recorded_at``, and how to continue if the head's clock ran ahead.

There are two rules. A writer whose clock is more than five minutes ahead of the store's commits
nothing; the store's clock is the time at which it stored the writer's segment. And no writer
commits at an instant more than five minutes ahead of its own clock, unless somebody has *accepted*
the head's: after a fence that says so, every writer uses that instant until real time has passed
it.
"""

import time
from dataclasses import dataclass

from eventlake.core import counts, layout
from eventlake.core.card import Card
from eventlake.core.documents.commit import Commit
from eventlake.core.instants import format_instant
from eventlake.errors import InvalidInputError, NotFoundError, StorageError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.entry import Entry
from eventlake.log.chain.publish import publish
from eventlake.log.next_commit import plain_commit
from eventlake.storage import ObjectMissingError, Storage

MAX_LEAD_US = 5 * 60 * 1_000_000
"""Maximum lead of ``recorded_at`` over the writer's clock, and of that over the store's."""
_TRUSTED_US = 60 * 60 * 1_000_000
"""How long a comparison with the store's clock counts, unless this machine's clock jumps."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The lake's clock and this machine's; in microseconds since 1970-01-01 UTC.

    Attributes:
        recorded_at: The instant of the newest commit; None in an empty lake.
        version: The first commit with that instant, whose clock it was.
        now: This machine's clock.
        accepted: Whether writers may continue at ``recorded_at`` even if it is ahead.
    """

    recorded_at: int | None
    version: int | None
    now: int
    accepted: bool

    @property
    def ahead(self) -> bool:
        """Whether the newest commit is more than five minutes ahead of this machine."""
        return self.recorded_at is not None and self.recorded_at > self.now + MAX_LEAD_US

    def card(self) -> Card:
        """A summary to display."""
        facts = [("this machine", format_instant(self.now))]
        if self.recorded_at is not None:
            recorded = format_instant(self.recorded_at)
            shown = f"recorded {recorded}, by the clock of commit {self.version}"
            facts.insert(0, ("newest commit", shown))
        if self.ahead and not self.accepted:
            advice = (
                "set this machine's clock; "
                f"or, if that clock ran ahead, accept it: --accept {self.version}"
            )
            facts.append(("next", advice))
        state = "in step"
        if self.ahead:
            state = "ahead, and accepted" if self.accepted else "ahead: appends are refused"
        return Card(f"the lake's clock is {state}", tuple(facts))


def clock_of(chain: Chain, now: int) -> Clock:
    """Compare the head's clock with this machine's.

    Args:
        chain: The lake's log; refreshed.
        now: This machine's clock.
    """
    chain.refresh()
    if chain.head is None:
        return Clock(None, None, now, accepted=False)
    head = chain.head.commit
    return Clock(
        head.recorded_at, first_at_head(chain).commit.version, now, accepted=is_accepted(head)
    )


def check_writer(chain: Chain, stored: str, now: int) -> None:
    """Check that a writer's clock is not ahead of the store's.

    Args:
        chain: The lake's log.
        stored: The path of an object that this writer stored after it read its clock.
        now: The writer's clock; microseconds since 1970-01-01 UTC.

    Raises:
        StorageError: The writer's clock is more than five minutes ahead of the store's, or the
            store failed to report its own.
    """
    # A comparison counts for an hour, as long as this machine's two clocks advance together: a
    # request to the store for every append would be slow.
    passed = time.monotonic_ns() // 1000
    compared = chain.clocks
    if (
        compared is not None
        and passed - compared[0] < _TRUSTED_US
        and now <= compared[1] + passed - compared[0] + MAX_LEAD_US
    ):
        return
    store_clock = _stored_at(chain.storage, stored)
    if store_clock is None:
        return
    # The segment was stored after the clock was read, so a correct clock is never ahead of the
    # store's.
    if now > store_clock + MAX_LEAD_US:
        message = (
            f"this machine's clock says {format_instant(now)}, "
            f"the clock of {chain.storage.uri} said {format_instant(store_clock)}; "
            "nothing was appended"
        )
        hint = (
            "set this machine's clock: "
            "what it records may be at most five minutes ahead of the store's clock."
        )
        raise StorageError(message, hint, clock=now, store_clock=store_clock)
    chain.clocks = (passed, store_clock)


def _stored_at(storage: Storage, path: str) -> int | None:
    """The store's clock when it stored an object.

    None if the store has no clock, or if the object was collected: then there is a fence, and the
    commit will not be published.

    Raises:
        StorageError: The store failed to report it.
    """
    modified = getattr(storage, "modified", None)  # storages written for older versions lack it
    try:
        found: int | None = None if modified is None else modified(path)
    except ObjectMissingError:
        return None
    except StorageError as error:
        message = (
            f"the store does not say when it stored {path}, "
            "so this machine's clock could not be compared; nothing was appended"
        )
        raise StorageError(f"{message}: {error.message}", error.hint, **error.facts) from error
    return found


def instant_of_commit(chain: Chain, now: int) -> int:
    """The ``recorded_at`` of a commit that would follow the head: never before the head's.

    Raises:
        StorageError: The head is more than five minutes ahead of ``now``, and that was not
            accepted.
    """
    head = chain.head.commit if chain.head else None
    if head is None or head.recorded_at <= now + MAX_LEAD_US or is_accepted(head):
        return chain.next_instant(now)
    first = first_at_head(chain)
    short_hash = first.commit_hash[: layout.SHORT_HASH]
    message = (
        f"this machine's clock says {format_instant(now)}, "
        f"but commit {first.commit.version} ({short_hash}) "
        f"was recorded at {format_instant(head.recorded_at)}; nothing was appended"
    )
    hint = (
        "if this machine's clock is behind, set it. "
        "If that commit's clock ran ahead, let the lake go on at its instant: "
        f"'eventlake clock LAKE --accept {first.commit.version}' "
        f"or lake.accept_clock({first.commit.version})."
    )
    facts = {
        "version": first.commit.version,
        "commit_hash": first.commit_hash,
        "recorded_at": head.recorded_at,
        "clock": now,
    }
    raise StorageError(message, hint, **facts)


def is_accepted(head: Commit) -> bool:
    """Whether writers may continue at the head's instant, however far ahead it is."""
    return head.clock is not None and head.recorded_at <= head.clock


def first_at_head(chain: Chain) -> Entry:
    """The first commit with the head's ``recorded_at``, whose clock it was.

    A binary search, because ``recorded_at`` never decreases.

    Raises:
        NotFoundError: There is no commit.
    """
    if chain.head is None:
        message = "the lake has no commit"
        raise NotFoundError(message)
    low, high = 0, chain.head.commit.version
    while low < high:
        middle = (low + high) // 2
        if chain.entry(middle).commit.recorded_at < chain.head.commit.recorded_at:
            low = middle + 1
        else:
            high = middle
    return chain.entry(low)


def accept(chain: Chain, version: int, now: int) -> Entry:
    """Publish a fence that lets every writer continue at the head's instant.

    Args:
        chain: The lake's log; refreshed.
        version: The commit that the error named: the first with that instant.
        now: This machine's clock; microseconds since 1970-01-01 UTC.

    Raises:
        NotFoundError: The lake is empty.
        InvalidInputError: Another commit is the first with that instant, or no commit is ahead.
        CommitUnknownError: The store failed while the fence was published.
        StorageError: The store failed before that.
    """
    version = counts.integer(version, "version")
    while True:
        chain.refresh()
        first = first_at_head(chain)
        head = chain.head or first
        if head.commit.recorded_at <= now + MAX_LEAD_US:
            message = (
                f"the head was recorded at {format_instant(head.commit.recorded_at)}, "
                f"this machine's clock says {format_instant(now)}"
            )
            raise InvalidInputError(
                message, "nothing has to be accepted: append.", recorded_at=head.commit.recorded_at
            )
        if version != first.commit.version:
            instant = format_instant(head.commit.recorded_at)
            message = (
                f"expected commit {first.commit.version}, which set the clock to {instant}, "
                f"found {version!r}"
            )
            hint = f"look at it with 'eventlake log LAKE', then accept {first.commit.version}."
            raise InvalidInputError(message, hint, version=first.commit.version)
        if is_accepted(head.commit):
            return head
        commit = plain_commit(chain, "fence", clock=head.commit.recorded_at)
        data = commit.encode()
        vouch(chain, commit, data)
        if publish(chain, commit, data):
            return chain.published(commit, data)
