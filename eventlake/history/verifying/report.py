"""The report of a verification."""

from dataclasses import dataclass, field

from eventlake.core.card import Card, Shown, counted
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.errors import EventlakeError
from eventlake.public_calls import helpful
from eventlake.visible import safe


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, an open question or a note about a file.

    Attributes:
        path: The path of the file in the lake.
        message: What was expected and what was found.
    """

    path: str
    message: str

    def __str__(self) -> str:
        """``path: message``."""
        return safe(f"{self.path}: {self.message}")


@dataclass(slots=True)
class Tally:
    """Collects findings."""

    problems: list[Finding] = field(default_factory=list)
    unproven: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    size_bytes: int = 0

    def blame(self, path: str, problem: object) -> None:
        """Add a problem."""
        self.problems.append(
            Finding(path, problem.message if isinstance(problem, EventlakeError) else str(problem))
        )

    def doubt(self, path: str, reason: str) -> None:
        """Add something that could be neither proved nor refuted."""
        self.unproven.append(Finding(path, reason))


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Report(Shown):
    """The outcome of a verification.

    Attributes:
        checkpoint: The identity of the readable log; None if not even that was readable.
        deep: Whether every event was hashed again.
        problems: Files that are damaged, missing, truncated or foreign.
        unproven: Facts that could be neither proved nor refuted, with the reason. They do not make
            ``ok`` false.
        notes: Harmless left-overs of interrupted appends.
        commits: Number of commits read.
        segments: Number of segments hashed again.
        datasets: Number of built datasets checked.
        size_bytes: Bytes hashed again.
    """

    checkpoint: Checkpoint | None
    deep: bool
    problems: tuple[Finding, ...]
    unproven: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    commits: int
    segments: int
    datasets: int
    size_bytes: int

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __repr__(self) -> str:
        """The title of the card."""
        return f"<Report: {self.card().title}>"

    def card(self) -> Card:
        """A summary to display."""
        title = "verified: nothing is wrong" if self.ok else counted(len(self.problems), "problem")
        title += (
            f"; {counted(len(self.unproven), 'thing')} could not be checked"
            if self.unproven
            else ""
        )
        figures = (
            (self.commits, "commit"),
            (self.segments, "segment"),
            (self.datasets, "dataset"),
            (self.size_bytes, "byte"),
        )
        facts = (
            ("checkpoint", str(self.checkpoint) if self.checkpoint else "unreadable"),
            ("checked", ", ".join(counted(number, noun) for number, noun in figures)),
            ("depth", "every event hashed again" if self.deep else "every file hashed again"),
        )
        rows = [("problem", finding.path, finding.message) for finding in self.problems]
        rows += [("unproven", finding.path, finding.message) for finding in self.unproven]
        rows += [("note", finding.path, finding.message) for finding in self.notes]
        return Card(title, facts, ("", "file", "finding"), tuple(rows))
