"""What a verification found."""

from dataclasses import dataclass, field

from eventlake.core.card import Card, counted
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.errors import EventlakeError
from eventlake.verbs import helpful
from eventlake.visible import safe


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        path: The file, relative to the lake.
        message: What was expected and what was found.
    """

    path: str
    message: str

    def __str__(self) -> str:
        """``path: message``."""
        return safe(f"{self.path}: {self.message}")


@dataclass(slots=True)
class Tally:
    """Findings as they are gathered."""

    problems: list[Finding] = field(default_factory=list)
    unproven: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    size_bytes: int = 0

    def blame(self, path: str, problem: object) -> None:
        """Adds a problem."""
        self.problems.append(
            Finding(path, problem.message if isinstance(problem, EventlakeError) else str(problem))
        )

    def doubt(self, path: str, reason: str) -> None:
        """Adds what could be neither proved nor refuted."""
        self.unproven.append(Finding(path, reason))


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The outcome of a verification.

    Attributes:
        checkpoint: What the readable log adds up to; None where not even that could be read.
        deep: Whether every event was hashed again.
        problems: What is damaged, missing, truncated or foreign.
        unproven: What was to be checked and could be neither proved nor refuted, with the reason.
            It does not make ``ok`` false.
        notes: Harmless left-overs of interrupted appends.
        commits: Commits read.
        segments: Segments re-hashed.
        datasets: Built datasets checked.
        size_bytes: Bytes re-hashed.
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
        """Whether nothing is wrong."""
        return not self.problems

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Report: {self.card().title}>"

    def card(self) -> Card:
        """What to show."""
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
