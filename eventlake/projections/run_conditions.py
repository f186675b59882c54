"""What the rows of a projection must not depend on, where it is exact."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunConditions:
    """How an engine is run.

    Attributes:
        name: What is another one, in words; empty for a usual build.
        threads: Of DuckDB.
        memory_limit: Of DuckDB.
        shuffled: Whether events and spine come in another order than their own, and from other tables.
        buckets: Into how many buckets the entities of a projection by entity are put, each run for itself; 0 for none.
    """

    name: str = ""
    threads: int = 1
    memory_limit: str = "4GB"
    shuffled: bool = False
    buckets: int = 0


USUAL = RunConditions()
