"""Sums over windows as differences of prefix sums, along sorted *edges* of events.

If everything that is recorded counts, an event has one edge, its time. The sum over a window is the
prefix sum at its end minus that at its start.

If only what was known at the cutoff counts, an event *enters* the window of a cutoff when it is
before its end and was recorded, and *leaves* when it is before its start or superseded. The sum is
what has entered minus what has left (transaction time, as in R. T. Snodgrass, "Developing
Time-Oriented Database Applications in SQL", by differences). Edges are instants in microseconds,
and count if they are strictly before the instant of a probe.

If every event was recorded before it enters, or while it is inside, and none expires, windows are
entered or left by time alone, and share the edge of time.

Distinct values have edges of their own: an event enters when all events with its value that
entered before have left, or never. No more than one event per value is ever inside, so that their
number is that of distinct values.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from eventlake.features.declared.bound import Bound
from eventlake.features.declared.window import Window

TIME, ENTER, LEAVE = "time", "enter", "leave"
NEVER = 1 << 62
"""The edge that an event never reaches, in microseconds: after every cutoff."""
AT_CUTOFF = Bound()


@dataclass(frozen=True, slots=True)
class Edge:
    """One instant of each event.

    Attributes:
        kind: ``time``; ``enter``, the later of time and recording; ``leave``.
        window: The window that is entered or left; the one without bounds for ``time``.
        column: Column whose distinct values are counted; empty if each event counts.
    """

    kind: str
    window: Window
    column: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """A read of the prefix sum along an edge, at a bound of each cutoff."""

    edge: Edge
    bound: Bound


def probes(
    window: Window,
    *,
    has_validity: bool,
    can_expire: bool,
    delay: int | None = None,
    values: str = "",
) -> tuple[Probe, Probe | None]:
    """The probes at the end and at the start of a window; None if nothing ever leaves it.

    Args:
        window: The window.
        has_validity: Whether events begin or cease to count for reasons other than their time.
        can_expire: Whether some event ceases to.
        delay: Longest time from an event to its recording, in microseconds; None if unknown.
        values: Column whose distinct values are counted; empty if each event counts.
    """
    leaves = window.length is not None or can_expire
    if values:
        leave = Probe(Edge(LEAVE, window, values), AT_CUTOFF)
        return Probe(Edge(ENTER, window, values), AT_CUTOFF), leave if leaves else None
    if not has_validity:
        edge = Edge(TIME, Window())
        return Probe(edge, window.end), None if window.start is None else Probe(edge, window.start)
    # An event that expires may leave at any time.
    longest = math.inf if delay is None or can_expire else delay
    enter = Probe(Edge(ENTER, window.without_start()), AT_CUTOFF)
    if longest <= window.end.shortest:
        # Every event was recorded by the time it enters.
        enter = Probe(Edge(TIME, Window()), window.end)
    if window.start is not None and longest <= window.start.shortest:
        # Every event was recorded by the time it leaves.
        return enter, Probe(Edge(TIME, Window()), window.start)
    return enter, Probe(Edge(LEAVE, window), AT_CUTOFF) if leaves else None


def number_probes(pairs: Iterable[tuple[Probe, Probe | None]]) -> dict[Probe, int]:
    """Distinct probes, numbered."""
    numbers: dict[Probe, int] = {}
    for pair in pairs:
        for probe in pair:
            if probe is not None:
                numbers.setdefault(probe, len(numbers))
    return numbers
