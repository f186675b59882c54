"""The outcome of making a dataset again, as users see it."""

from dataclasses import dataclass

from eventlake.core.card import Card
from eventlake.datasets.dataset import Dataset
from eventlake.verbs import helpful


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Reproduction:
    """The outcome of making a dataset again.

    Attributes:
        dataset: The dataset; where the rows are identical it holds those made now, so that the
            stored ones may be lost.
        identical: Whether the rows made now have the same content hash.
        content_hash: Of the rows made now.
        differences: What differs between then and now, in words; versions are named even where the
            rows are identical.
        causes: Where the rows differ, which of ``lake``, ``code``, ``environment`` and ``data`` do:
            the history, what was run over it, the versions that ran it; and ``data`` alone where
            all of them are the same, and something decides the rows that no recipe knows of.
        command: Makes an environment with the versions of then.
    """

    dataset: Dataset
    identical: bool
    content_hash: str
    differences: tuple[str, ...]
    causes: tuple[str, ...] = ()
    command: str = ""

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Reproduction: {self.card().title}>"

    def card(self) -> Card:
        """What to show."""
        facts = (
            ("manifest_hash", self.dataset.manifest_hash),
            ("content_hash then", self.dataset.content_hash),
            ("content_hash now", self.content_hash),
            *(("differs", difference) for difference in self.differences),
            *((("because of", ", ".join(self.causes)),) if self.causes else ()),
            *((("environment then", self.command),) if self.differences else ()),
        )
        return Card("identical" if self.identical else "not identical", facts)
