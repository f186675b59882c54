"""The outcome of reproducing a dataset."""

from dataclasses import dataclass

from eventlake.core.card import Card, Shown
from eventlake.datasets.dataset import Dataset
from eventlake.public_calls import helpful


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Reproduction(Shown):
    """The outcome of reproducing a dataset.

    Attributes:
        dataset: The dataset. If the rows are identical it holds the new ones, and works even if
            the stored ones are lost.
        identical: Whether the new rows have the same content hash.
        content_hash: The content hash of the new rows.
        differences: What differs between then and now, in words. Versions are named even if the
            rows are identical.
        causes: Why the rows differ: ``lake`` (the history), ``code`` (what was run over it),
            ``environment`` (the versions that ran it), or ``data`` if these three are the same
            and the rows depend on something that no recipe records.
        command: A shell command that installs the versions of then.
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
        """The reproduction as a card."""
        facts = (
            ("manifest_hash", self.dataset.manifest_hash),
            ("content_hash then", self.dataset.content_hash),
            ("content_hash now", self.content_hash),
            *(("differs", difference) for difference in self.differences),
            *((("because of", ", ".join(self.causes)),) if self.causes else ()),
            *((("environment then", self.command),) if self.differences else ()),
        )
        return Card("identical" if self.identical else "not identical", facts)
