"""Sets of declared features, of one kind of entity, and the relations that lead to it."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from eventlake.core.names import DATASET_NAME, FEATURE_NAME, repeated
from eventlake.core.sql import alike_in_sql
from eventlake.errors import InvalidInputError, InvalidProjectionError
from eventlake.features.declared import features_json
from eventlake.features.declared.feature import Aggregate, Feature, plain_name
from eventlake.features.declared.relation import Relation
from eventlake.public_calls import verbs

FORMAT = 1
KNOWN = ("cutoff", "watermark")


@verbs
@dataclass(frozen=True, slots=True)
class DeclaredSet:
    """A feature set as it is declared, without the methods that need an engine.

    ``FeatureSet`` documents the attributes.
    """

    name: str
    by: str = "subject"
    features: tuple[Feature, ...] = ()
    known: str = "cutoff"
    depth: int | None = None
    cutoff: str = "cutoff"
    spine_by: str | None = None
    via: tuple[Relation, ...] = ()
    _archived: bool = field(default=False, repr=False, compare=False)
    _columns: tuple[str, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        given: Any = self.features
        object.__setattr__(
            self,
            "features",
            tuple(_flat([given] if isinstance(given, Feature) else given, self.name)),
        )
        object.__setattr__(self, "via", tuple(self.via))
        columns = tuple(feature.column for feature in self.features)
        object.__setattr__(self, "_columns", columns)
        if (
            problem := self._problem_of_set()
            or self._problem_of_columns()
            or self._problem_of_names()
        ):
            raise InvalidProjectionError(problem, self._hint(problem))

    def _hint(self, problem: str) -> str | None:
        """What to write instead."""
        if not isinstance(self.name, str) or not re.fullmatch(DATASET_NAME, self.name):
            return plain_name(self.name, "FeatureSet({!r}, …).")
        if not self.features:
            return "write features=[el.count('payment.missed', window='90d'), …]."
        return "give features names of their own with .name()." if "column" in problem else None

    def _problem_of_set(self) -> str | None:
        """What is wrong with the arguments other than the columns."""
        where = f"feature set {self.name}: "
        if not isinstance(self.name, str) or not re.fullmatch(DATASET_NAME, self.name):
            return (
                "expected a name of lower-case letters, digits and underscores, found "
                f"{self.name!r}"
            )
        if self.known not in KNOWN:
            return (
                f"{where}expected known as one of {', '.join(map(repr, KNOWN))}, found "
                f"{self.known!r}"
            )
        if not self.by or not isinstance(self.by, str):
            return (
                f"{where}expected by as the name of a field or of the event's subject, found "
                f"{self.by!r}"
            )
        if self.depth is not None and (
            self.by != "subject" or type(self.depth) is not int or not 1 <= self.depth <= 20  # noqa: PLR2004
        ):
            return (
                f"{where}expected depth as a number of parts of the subject, 1 to 20, found "
                f"{self.depth!r}"
            )
        if self.known == "cutoff" and any(one.window.offset < 0 for one in self.aggregates()):
            return f"{where}a window beyond the cutoff is not known at the cutoff"
        return None

    def _problem_of_columns(self) -> str | None:
        """What is wrong with the columns, and with the relations that lead to the entity."""
        columns, where = self._columns, f"feature set {self.name}: "
        if not all(isinstance(one, Relation) for one in self.via):
            return (
                f"{where}expected via as relations, from relation('loan.granted', child=…, "
                f"parent=…), found {self.via!r}"
            )
        if not columns:
            return f"{where}expected at least one feature"
        if doubled := repeated(columns):
            return f"{where}{', '.join(doubled)} would be the name of more than one column"
        if self.spine_entity.casefold() == self.cutoff.casefold():
            return (
                f"{where}the spine's columns {self.spine_entity} and {self.cutoff} would be one: "
                "SQL does not tell them apart"
            )
        if odd := next((name for name in columns if not re.fullmatch(FEATURE_NAME, name)), None):
            return f"{where}{odd} is too long for a column"
        return None

    def _problem_of_names(self) -> str | None:
        """Columns that SQL does not tell apart; archived sets are read as they are."""
        # Sets that were archived before names were compared without case must remain readable.
        if self._archived or not (alike := alike_in_sql(self._columns)):
            return None
        return (
            f"feature set {self.name}: the columns {' and '.join(alike)} would be one: "
            "SQL does not tell them apart"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the features."""
        return self._columns

    @property
    def spine_entity(self) -> str:
        """The spine's column that names the entity."""
        return self.spine_by or (self.via[-1].parent if self.via else self.by)

    @property
    def pattern(self) -> str | None:
        """A regular expression whose first group is the entity of a subject.

        None if the whole subject names the entity.
        """
        return None if self.depth is None else f"^(/?[^/]+(/[^/]+){{{self.depth - 1}}})(/|$)"

    def aggregates(self) -> list[Aggregate]:
        """The distinct aggregates of all features, in the order of their first use."""
        return list(dict.fromkeys(one for feature in self.features for one in feature.aggregates()))

    def text(self) -> str:
        """The set as JSON with sorted keys, one value a line, as it is archived and hashed."""
        document = {
            "format": FORMAT,
            "by": self.by,
            "cutoff": self.cutoff,
            "depth": self.depth,
            "features": [
                {"name": feature.column, **feature.document()} for feature in self.features
            ],
            "known": self.known,
            "spine_by": self.spine_entity,
            "via": [
                {"event_type": one.event_type, "child": one.child, "parent": one.parent}
                for one in self.via
            ],
        }
        return features_json.check_text(
            self.name, json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        )

    @classmethod
    def from_text(cls, name: str, text: str) -> Self:
        """The inverse of ``text``.

        Raises:
            InvalidProjectionError: The text is not a feature set of this format.
        """
        document = features_json.read(name, text)
        try:
            features = tuple(map(features_json.feature, document.features))
            via = tuple(Relation(one.event_type, one.child, one.parent) for one in document.via)
            return cls(
                name,
                document.by,
                features,
                document.known,
                document.depth,
                document.cutoff,
                document.spine_by,
                via,
                _archived=True,
            )
        except ValueError as error:
            message = (
                f"feature set {name}: features.json: "
                f"{error.message if isinstance(error, InvalidInputError) else error}"
            )
            raise InvalidProjectionError(message) from error


def _flat(features: Iterable[Any], name: str) -> Iterator[Feature]:
    for feature in features:
        if isinstance(feature, Feature):
            yield feature
        elif isinstance(feature, (list, tuple)):
            yield from _flat(feature, name)
        else:
            message = (
                f"feature set {name}: expected features such as count('payment.missed', "
                f"window='90d'), found {feature!r}"
            )
            raise InvalidProjectionError(message)
