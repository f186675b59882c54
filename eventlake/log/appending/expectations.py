"""Check a writer's expectations of the history by keys; the cost does not grow with the history."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eventlake.core.expectation import AtWatermark, Expectation, Populated, Pristine, is_about
from eventlake.errors import ConflictError, InvalidInputError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.events_of_commits import events_of


def check_kinds(expect: Any) -> tuple[Expectation, ...]:
    """Return ``expect`` as a tuple.

    Raises:
        InvalidInputError: It contains something other than expectations.
    """
    # One expectation without a list would otherwise be an error about iteration.
    if isinstance(expect, Expectation) or not isinstance(expect, Iterable):
        message = f"expected a list of expectations, found {expect!r}"
        raise InvalidInputError(message, "put it into a list: expect=[…].")
    found = tuple(expect)
    for one in found:
        if not isinstance(one, Expectation):
            message = f"expected an expectation, found {one!r}"
            raise InvalidInputError(
                message,
                "make them with el.pristine, el.populated, el.on_event and el.at_watermark.",
            )
    return found


def check_expectations(chain: Chain, expect: Sequence[Expectation]) -> None:
    """Check all expectations at the head.

    Raises:
        ConflictError: Some do not hold; the message names each with what was found.
    """
    failed = [problem for one in expect if (problem := _problem(chain, one))]
    if failed:
        raise ConflictError(
            "; ".join(failed),
            "read what has happened, decide again, and append with what you found.",
            failed=failed,
        )


def _problem(chain: Chain, expected: Expectation) -> str | None:
    """Describe what was found instead of what is expected; None if it holds."""
    if isinstance(expected, AtWatermark):
        found = chain.watermark
        if found == expected.watermark:
            return None
        return f"expected watermark {expected.watermark:,}, found {found:,}"
    newest = newest_event(chain, expected.subject, subtree=expected.subtree)
    where = f"{expected.subject} and below it" if expected.subtree else expected.subject
    if isinstance(expected, Pristine):
        return None if newest is None else f"expected no event about {where}, found {newest}"
    if isinstance(expected, Populated):
        return None if newest else f"expected an event about {where}, found none"
    if newest is not None and newest.event_id == expected.event_id:
        return None
    return (
        f"expected {expected.event_id!r} to be the newest event about {where}, "
        f"found {newest or 'none'}"
    )


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest event about a subject."""

    event_id: str
    sequence: int

    def __str__(self) -> str:
        """``'p1' at sequence 7``."""
        return f"{self.event_id!r} at sequence {self.sequence:,}"


def newest_event(chain: Chain, subject: str, *, subtree: bool) -> Newest | None:
    """The newest event about ``subject``, or with ``subtree`` also about a subject below it."""
    head = chain.head.commit if chain.head else None
    # Every event has a key for its subject, and one for each subject above it.
    kinds = ("subject", "below") if subtree else ("subject",)
    versions = [
        version for kind in kinds if (version := chain.keys.newest(head, kind, subject)) is not None
    ]
    if not versions:
        return None
    found = _in_commit(chain, max(versions), subject, subtree=subtree)
    if found is not None:
        return found
    # Another subject has the same fingerprint: search back through the history.
    earlier = (
        _in_commit(chain, version, subject, subtree=subtree)
        for version in range(chain.next_version - 1, -1, -1)
    )
    return next((newest for newest in earlier if newest is not None), None)


def _in_commit(chain: Chain, version: int, subject: str, *, subtree: bool) -> Newest | None:
    commit = chain.entry(version).commit
    if commit.kind != "append":
        return None
    newest = None
    for start, events in events_of(chain, [version], ["subject", "id"]):
        # A commit found by a fingerprint may hold no event about the subject.
        subjects = events.column("subject").to_pylist()
        row = next(
            (
                row
                for row in range(len(subjects) - 1, -1, -1)
                if is_about(subjects[row], subject, subtree=subtree)
            ),
            None,
        )
        if row is not None and (newest is None or newest.sequence < start + row):
            newest = Newest(events.column("id")[row].as_py(), start + row)
    return newest
