"""An entry of the log, and the check that one entry follows another."""

from dataclasses import dataclass

from eventlake.columns.parquet import manifest_rows
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.hashing.merkle import CompactRange
from eventlake.core.instants import format_instant
from eventlake.errors import CorruptionError


@dataclass(frozen=True, slots=True)
class Entry:
    """A commit and the hash of its bytes."""

    commit: Commit
    commit_hash: str

    @property
    def summary(self) -> CommitSummary:
        """What the manifest keeps of it."""
        one = self.commit
        return CommitSummary(
            one.version, self.commit_hash, one.kind, one.recorded_at, one.start, one.stop, one.root
        )

    @property
    def row(self) -> manifest_rows.Row:
        """The summary with the segments that the commit named."""
        return self.summary, self.commit.segments


def check_follows(commit: Commit, before: Entry | None, origin: str, path: str) -> None:
    """Check that ``commit`` follows ``before``, or is the first commit if that is None.

    Raises:
        CorruptionError: It does not.
    """
    expected = {
        "version": before.commit.version + 1 if before else 0,
        "origin": origin,
        "prev": before.commit_hash if before else None,
        "start": before.commit.stop if before else 0,
        "schemas": before.commit.schemas if before else None,
        "fence": before.commit.fence if before else None,
    }
    # Only a schema commit may change the schemas, and only a fence the fence.
    if commit.kind == "schema":
        expected["schemas"] = commit.schemas
    if commit.kind == "fence":
        expected["fence"] = commit.version
    for field, value in expected.items():
        found = getattr(commit, field)
        if found != value:
            message = (
                f"{path} does not follow the commit before it: "
                f"expected {field} {value}, found {found}"
            )
            raise CorruptionError(
                message,
                "run 'eventlake verify LAKE'; the log was edited or mixed with another one.",
                path=path,
            )
    # recorded_at never decreases: not from commit to commit, nor within one. Segments of a copied
    # history keep their own instants, so both ends of each are compared.
    last: int | None = before.commit.recorded_at if before else None
    appended = commit.segments if commit.kind == "append" else ()
    for first, stop in (
        *(segment.recorded for segment in appended if segment.recorded),
        (commit.recorded_at,) * 2,
    ):
        if last is not None and first < last:
            message = (
                f"{path} was recorded at {format_instant(first)}, "
                f"before what it follows ({format_instant(last)})"
            )
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
        last = stop
    # The root must follow from the segments, or a commit could name events it does not have.
    frontier = before.commit.range if before else CompactRange.empty()
    for segment in appended:
        frontier = frontier.merge(segment.range)
    if frontier != commit.range:
        message = f"{path}: the leaves of its segments do not fold to its root {commit.root}"
        raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
