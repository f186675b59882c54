"""Run conditions, which must not change the rows of an exact projection."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunConditions:
    """The conditions under which an engine runs.

    Attributes:
        name: What differs from a usual build, in words; empty if nothing does.
        threads: Number of DuckDB threads.
        memory_limit: DuckDB's memory limit, with a unit.
        shuffled: Whether events and spine are read in another order, and from other tables.
        buckets: Number of buckets of entities that are computed one by one; 0 for all at once.
    """

    name: str = ""
    threads: int = 1
    memory_limit: str = "4GB"
    shuffled: bool = False
    buckets: int = 0


USUAL = RunConditions()
