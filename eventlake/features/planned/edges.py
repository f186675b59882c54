"""How a window's number is told from sums over all that came before: of sorted *edges*, as two looks at a running sum.

Where what is recorded at the watermark counts, an event has one edge, its time; a window ``[cutoff
- far, cutoff - offset)`` is the running sum at its end less the one at its start. Where only what
was known at the cutoff counts, an event *enters* the window of a cutoff once it lies behind its end
and was recorded, and *leaves* it once it lies behind its start or no longer stands; the number is
what has entered less what has left (Snodgrass's transaction time, by differences). Edges are
instants in microseconds, and count where they lie strictly before the instant that is asked about.

Where every event was recorded before it entered, or while it was still inside, and none ceases to
count for another reason, windows are entered, or left, by time alone, and share its edge.

Different values are told by edges of their own, as the number of values that have entered less that
of those that have left: of the events with one value an event enters once the ones that entered
before it have left, or never, so that no more than one is ever inside.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from eventlake.features.declared.window import Window

TIME, ENTER, LEAVE = "time", "enter", "leave"
NEVER = 1 << 62
"""The edge of an event that never comes to it, in microseconds: after every cutoff."""


@dataclass(frozen=True, slots=True)
class Edge:
    """An instant of every event.

    Attributes:
        kind: ``time``; ``enter``, the later of time and recording; ``leave``.
        window: Of which window; that of everything for ``time``.
        column: Of whose values each is inside once; empty where all events are looked at by
            themselves.
    """

    kind: str
    window: Window
    column: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """A look at the running sum of an edge, ``shift`` microseconds before each cutoff."""

    edge: Edge
    shift: int


def probes(
    window: Window,
    *,
    has_validity: bool,
    can_expire: bool,
    delay: int | None = None,
    values: str = "",
) -> tuple[Probe, Probe | None]:
    """The looks at the end and at the start of a window; no start where nothing ever leaves it.

    Args:
        window: The window.
        has_validity: Whether an event may begin and cease to count for reasons of its own.
        can_expire: Whether some event ceases to.
        delay: The longest time, in microseconds, from an event to its recording; None where it is
            not known.
        values: The column of which different values are counted; empty for events.
    """
    leaves = window.length is not None or can_expire
    if values:
        return Probe(Edge(ENTER, window, values), 0), Probe(
            Edge(LEAVE, window, values), 0
        ) if leaves else None
    if not has_validity:
        edge = Edge(TIME, Window())
        return Probe(edge, window.offset), None if window.start_offset is None else Probe(
            edge, window.start_offset
        )
    longest = math.inf if delay is None or can_expire else delay
    enter = Probe(Edge(ENTER, Window(None, window.offset)), 0)
    if longest <= window.offset:
        enter = Probe(Edge(TIME, Window()), window.offset)
    if window.start_offset is not None and longest <= window.start_offset:
        return enter, Probe(Edge(TIME, Window()), window.start_offset)
    return enter, Probe(Edge(LEAVE, window), 0) if leaves else None


def number_probes(pairs: Iterable[tuple[Probe, Probe | None]]) -> dict[Probe, int]:
    """Every look once, with a number."""
    return {
        probe: number
        for number, probe in enumerate(
            dict.fromkeys(one for pair in pairs for one in pair if one is not None)
        )
    }
