"""Random pauses between retries, so that callers that failed together do not retry together."""

import random
import time

# An object store recovers from throttling within a second, so longer pauses only delay the answer.
_LONGEST_PAUSE_SECONDS = 1.0
# About as long as a commit to a local disk takes, with its fsync.
_LOST_RACE_SECONDS = 0.01
_LOCK_POLL_SECONDS = 0.002


def pause_after_failure(attempt: int, first_seconds: float) -> None:
    """Sleep after a failed store call: exponential backoff with full jitter, up to a second.

    Args:
        attempt: The number of the failed try, from 0.
        first_seconds: Longest sleep after the first try; doubled after each further one.
    """
    # The exponent is bounded: 2**attempt would overflow a float if a caller retried for hours.
    _sleep_between(0, min(first_seconds * 2 ** min(attempt, 16), _LONGEST_PAUSE_SECONDS))


def pause_after_lost_race(attempt: int) -> None:
    """Sleep after another writer was first; shorter every time, so that the longest waiter wins.

    Args:
        attempt: The number of the lost race, from 1.
    """
    _sleep_between(0, _LOST_RACE_SECONDS / attempt)


def pause_before_lock(waited_seconds: float) -> None:
    """Sleep before a lock is tried again; shorter the longer the caller has waited for it."""
    longest = _LOCK_POLL_SECONDS / (1 + 200 * waited_seconds)
    _sleep_between(0.2 * longest, longest)


def _sleep_between(shortest: float, longest: float) -> None:
    time.sleep(random.uniform(shortest, longest))  # noqa: S311 - jitter, not a secret
