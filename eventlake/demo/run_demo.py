"""The demo, end to end: events → lake → dataset on both engines → reproduced from its hash."""

from dataclasses import dataclass
from pathlib import Path

import eventlake.lake as lakes
from eventlake.core.card import Card
from eventlake.core.layout import LAKE
from eventlake.datasets.definitions.dataset_toml import Definition, read_definition
from eventlake.demo.lender import simulate
from eventlake.demo.schemas import unregistered
from eventlake.errors import AlreadyExistsError

ORIGIN = "demo.eventlake/lender"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The result of the demo; the three content hashes must be equal."""

    lake: str
    checkpoint: str
    rows: int
    manifest_hash: str
    content_hash: str
    content_hash_polars: str
    content_hash_reproduced: str

    @property
    def identical(self) -> bool:
        """Whether DuckDB, Polars and the rebuild from the manifest hash returned the same rows."""
        return len({self.content_hash, self.content_hash_polars, self.content_hash_reproduced}) == 1

    def card(self) -> Card:
        """The result as a card."""
        training_set = (
            f"{self.rows:,} loans, features at the third instalment, label 30 days overdue within"
            " 90"
        )
        facts = (
            ("lake", self.lake),
            ("checkpoint", self.checkpoint),
            ("training set", training_set),
            ("manifest_hash", self.manifest_hash),
            ("built on DuckDB", self.content_hash),
            ("built on Polars", self.content_hash_polars),
            ("reproduced", self.content_hash_reproduced),
            ("result", "identical" if self.identical else "DIFFERENT"),
        )
        return Card("demo: a small lender's overdue loans", facts)


def definition() -> Definition:
    """The definition of the overdue-loans dataset."""
    # A wheel packages it; a source checkout has it in datasets/.
    packaged = Path(__file__).parent / "overdue_loans"
    return read_definition(
        packaged if packaged.is_dir() else Path(__file__).parents[2] / "datasets" / "overdue_loans"
    )


def demo_lake(folder: Path) -> lakes.Lake:
    """A lake with the simulated history; an existing demo lake in ``folder`` is reused.

    Raises:
        AlreadyExistsError: ``folder`` holds another lake.
    """
    lake = lakes.open(folder) if (folder / LAKE).exists() else lakes.create(folder, ORIGIN)
    if lake.origin != ORIGIN:
        message = f"{folder} holds the lake {lake.origin}"
        raise AlreadyExistsError(message, "give another folder for the demo.")
    for event_type, schema in unregistered(lake.schemas()):
        lake.register(event_type, schema)
    # An interrupted demo has the lake and perhaps its schemas, but no event: the append is atomic.
    if lake.watermark == 0:
        lake.append(simulate())
    return lake


def run_demo(folder: Path) -> DemoResult:
    """Create the lake, build the locked dataset on both engines, and reproduce it.

    Args:
        folder: Where the lake is, or is to be created.
    """
    lake = demo_lake(folder)
    built = lake.build(definition(), locked=True)
    on_polars = lake.build(definition(), engine="polars", locked=True)
    again = lake.reproduce(built.manifest_hash)
    return DemoResult(
        lake=lake.uri,
        checkpoint=str(built.manifest.recipe.checkpoint),
        rows=built.manifest.rows,
        manifest_hash=built.manifest_hash,
        content_hash=built.content_hash,
        content_hash_polars=on_polars.content_hash,
        content_hash_reproduced=again.content_hash,
    )
