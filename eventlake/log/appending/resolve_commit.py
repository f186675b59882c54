"""Find out for good whether an unknown commit was published."""

import uuid

from eventlake.errors import InvalidInputError
from eventlake.log.appending.receipt import Receipt, receipt_of
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.publish import publish
from eventlake.log.next_commit import plain_commit


def resolve_commit(chain: Chain, commit_id: str) -> Receipt | None:
    """The receipt of the commit with this id; None if it is not in the log and never will be.

    A write that was sent and not answered may still reach the store and take the next free number.
    A *fence*, a commit without events, takes that number, so that nothing sent before this call can
    be published after it.

    Raises:
        InvalidInputError: ``commit_id`` is not a commit id.
        CommitUnknownError: The store did not answer; ask again.
        StorageError: The store failed.
    """
    try:
        uuid.UUID(commit_id)
    except (ValueError, AttributeError, TypeError):
        message = f"expected the commit_id of a CommitUnknownError, found {commit_id!r}"
        raise InvalidInputError(message) from None
    while True:
        chain.refresh()
        found = chain.newest("commit", commit_id, lambda entry: entry.commit.commit_id == commit_id)
        if found is not None:
            return receipt_of(found)
        # The commit may still be on its way to the store. The fence takes its number, so it cannot
        # land.
        fence = plain_commit(chain, "fence")
        data = fence.encode()
        vouch(chain, fence, data)
        if publish(chain, fence, data):
            chain.published(fence, data)
            return None
