"""The lake's clock: what bounds ``recorded_at``, and the way out if the head is ahead of everybody's clock.

Two rules. A writer whose clock is more than five minutes ahead of the store's commits nothing: the
witness is the time at which the store says that it stored the writer's segment. And nobody commits
at an instant that is more than five minutes ahead of their own clock, unless somebody has
*accepted* the head's: a fence that says so lets every writer go on at that instant until real time
has passed it.
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
"""A commit's ``recorded_at`` may run this far ahead of the writer's clock, and that clock so far ahead of the store's."""
_TRUSTED_US = 60 * 60 * 1_000_000
"""For so long a writer that agreed with the store is not compared with it again, unless its clock jumps."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The lake's clock beside this machine's; microseconds.

    Attributes:
        recorded_at: Of the newest commit; None in an empty lake.
        version: The first commit with that ``recorded_at``: the one whose clock it was.
        now: This machine's clock.
        accepted: Whether writers may go on at ``recorded_at`` even if it is ahead.
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
        """What to show."""
        facts = [("this machine", format_instant(self.now))]
        if self.recorded_at is not None:
            facts.insert(
                0,
                (
                    "newest commit",
                    f"recorded {format_instant(self.recorded_at)}, by the clock of commit {self.version}",
                ),
            )
        if self.ahead and not self.accepted:
            facts.append(
                (
                    "next",
                    f"set this machine's clock; or, if that clock ran ahead, accept it: --accept {self.version}",
                )
            )
        state = (
            "in step"
            if not self.ahead
            else "ahead, and accepted"
            if self.accepted
            else "ahead: appends are refused"
        )
        return Card(f"the lake's clock is {state}", tuple(facts))


def clock_of(chain: Chain, now: int) -> Clock:
    """How the head's clock compares with this machine's.

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
    """Refuses a writer whose clock runs ahead of the store's.

    Args:
        chain: The lake's log.
        stored: The path of an object that this writer has stored after it looked at its clock.
        now: What its clock said.

    Raises:
        StorageError: It was more than five minutes ahead of the store's clock, or the store failed
            to say what that is.
    """
    passed = time.monotonic_ns() // 1000
    compared = chain.clocks
    if (
        compared is not None
        and passed - compared[0] < _TRUSTED_US
        and now <= compared[1] + passed - compared[0] + MAX_LEAD_US
    ):
        return
    witness = _stored_at(chain.storage, stored)
    if witness is None:
        return
    if now > witness + MAX_LEAD_US:
        store_says = f"the clock of {chain.storage.uri} said {format_instant(witness)}"
        message = (
            f"this machine's clock says {format_instant(now)}, {store_says}; nothing was appended"
        )
        hint = "set this machine's clock: what it records may be at most five minutes ahead of the store's clock."
        raise StorageError(message, hint, clock=now, store_clock=witness)
    chain.clocks = (passed, witness)


def _stored_at(storage: Storage, path: str) -> int | None:
    """The store's clock when an object was stored; None if it has none, or the object was collected: a fence is in the way of its commit.

    Raises:
        StorageError: The store failed to say.
    """
    modified = getattr(storage, "modified", None)  # storages written before the port had it
    try:
        found: int | None = None if modified is None else modified(path)
    except ObjectMissingError:
        return None
    except StorageError as error:
        message = f"the store does not say when it stored {path}, so this machine's clock could not be compared; nothing was appended"
        raise StorageError(f"{message}: {error.message}", error.hint, **error.facts) from error
    return found


def instant_of_commit(chain: Chain, now: int) -> int:
    """The ``recorded_at`` of a commit that would follow the head now: a writer whose clock is behind takes the head's.

    Raises:
        StorageError: The head is more than five minutes ahead of ``now``, and nobody has accepted
            that.
    """
    head = chain.head.commit if chain.head else None
    if head is None or head.recorded_at <= now + MAX_LEAD_US or is_accepted(head):
        return chain.next_instant(now)
    first = first_at_head(chain)
    message = (
        f"this machine's clock says {format_instant(now)}, but commit {first.commit.version} ({first.commit_hash[: layout.SHORT_HASH]}) "
        f"was recorded at {format_instant(head.recorded_at)}; nothing was appended"
    )
    hint = (
        "if this machine's clock is behind, set it. If that commit's clock ran ahead, let the lake go on at its instant: "
        f"'eventlake clock LAKE --accept {first.commit.version}' or lake.accept_clock({first.commit.version})."
    )
    facts = {
        "version": first.commit.version,
        "commit_hash": first.commit_hash,
        "recorded_at": head.recorded_at,
        "clock": now,
    }
    raise StorageError(message, hint, **facts)


def is_accepted(head: Commit) -> bool:
    """Whether writers may go on at the head's instant, however far ahead of their clocks it is."""
    return head.clock is not None and head.recorded_at <= head.clock


def first_at_head(chain: Chain) -> Entry:
    """The first commit with the head's ``recorded_at``, which never decreases: the one whose clock it was.

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
    """Lets every writer go on at the instant of commit ``version``, which must be the head's; a fence records it.

    Args:
        chain: The lake's log; refreshed.
        version: The commit that the refusal named.
        now: This machine's clock, microseconds.

    Raises:
        NotFoundError: The lake is empty.
        InvalidInputError: Another commit is the one, or none is ahead.
        CommitUnknownError: The store failed while the fence was published.
        StorageError: The store failed before.
    """
    version = counts.integer(version, "version")
    while True:
        chain.refresh()
        first = first_at_head(chain)
        head = chain.head or first
        if head.commit.recorded_at <= now + MAX_LEAD_US:
            message = f"the head was recorded at {format_instant(head.commit.recorded_at)}, this machine's clock says {format_instant(now)}"
            raise InvalidInputError(
                message, "nothing has to be accepted: append.", recorded_at=head.commit.recorded_at
            )
        if version != first.commit.version:
            instant = format_instant(head.commit.recorded_at)
            message = f"expected commit {first.commit.version}, which set the clock to {instant}, found {version!r}"
            hint = f"look at it with 'eventlake log LAKE', then accept {first.commit.version}."
            raise InvalidInputError(message, hint, version=first.commit.version)
        if is_accepted(head.commit):
            return head
        commit = plain_commit(chain, "fence", clock=head.commit.recorded_at)
        data = commit.encode()
        vouch(chain, commit, data)
        if publish(chain.storage, commit, data):
            return chain.published(commit, data)
