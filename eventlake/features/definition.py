"""What a user declares: features of an entity's events before a cutoff, and sets of them."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from eventlake.errors import InvalidInputError, InvalidProjectionError
from eventlake.features.conditions import Condition, Value, where_of
from eventlake.features.spans import UNITS, Span, microseconds

FORMAT = 1
KNOWN = ("cutoff", "watermark")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_SET_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_UNIT_NAMES = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DIGITS = 38
_INT64 = 1 << 63
_SIGNS = {"+": "plus", "-": "minus", "*": "times", "/": "per"}
NEEDS_FIELD = frozenset({"sum", "mean", "min", "max", "last", "first", "distinct", "std", "lag", "delta"})
NEEDS_UNIT = frozenset({"since_last", "since_first", "rate"})


class Feature:
    """A value of an entity at a cutoff: an ``Aggregate`` of events, or ``Arithmetic`` over features."""

    alias: str | None

    @property
    def column(self) -> str:
        """The name of its column."""
        raise NotImplementedError

    def aggregates(self) -> list["Aggregate"]:
        """What it is made of, each once, without names."""
        return list(dict.fromkeys(_aggregates(self)))

    def name(self, name: str) -> "Feature":
        """The same feature in a column of this name.

        Raises:
            InvalidInputError: It is not made of letters, digits and underscores.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            message = f"expected a name of letters, digits and underscores, found {name!r}"
            raise InvalidInputError(message)
        return replace(self, alias=name)  # type: ignore[type-var]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        raise NotImplementedError

    def __add__(self, other: "Operand") -> "Arithmetic":
        return _arithmetic("+", self, other)

    def __radd__(self, other: "Operand") -> "Arithmetic":
        return _arithmetic("+", other, self)

    def __sub__(self, other: "Operand") -> "Arithmetic":
        return _arithmetic("-", self, other)

    def __rsub__(self, other: "Operand") -> "Arithmetic":
        return _arithmetic("-", other, self)

    def __mul__(self, other: "Operand") -> "Arithmetic":
        return _arithmetic("*", self, other)

    def __rmul__(self, other: "Operand") -> "Arithmetic":
        return _arithmetic("*", other, self)

    def __truediv__(self, other: "Operand") -> "Arithmetic":
        return _arithmetic("/", self, other)

    def __rtruediv__(self, other: "Operand") -> "Arithmetic":
        return _arithmetic("/", other, self)


@dataclass(frozen=True, slots=True)
class Aggregate(Feature):
    """One number, or one value, made of the events of a type inside a window.

    Attributes:
        kind: Such as ``count``; the functions of this module tell what each means.
        event_type: Whose events.
        field: Of the payload; None where none is looked at.
        span: The window.
        texts: Window and offset as they were written, for the name.
        where: What an event must satisfy; None for nothing.
        n: Of ``lag``, how many events before the last; else 0.
        unit: Of times and rates: ``d``, ``h``, ``m`` or ``s``.
        alias: The column's name; None for one that says what it is.
    """

    kind: str
    event_type: str
    field: str | None = None
    span: Span = Span()  # noqa: RUF009 - frozen
    texts: tuple[str | None, str | None] = (None, None)
    where: Condition | None = None
    n: int = 0
    unit: str | None = None
    alias: str | None = None

    @property
    def column(self) -> str:
        """``payment_missed_count_90d``, unless it was given a name."""
        if self.alias is not None:
            return self.alias
        kind = {"lag": f"lag_{self.n}"}.get(self.kind, self.kind)
        if self.unit and self.kind != "rate":
            kind = f"{_UNIT_NAMES[self.unit]}_{self.kind}"
        elif self.unit:
            kind = f"{self.kind}_per_{_UNIT_NAMES[self.unit][:-1]}"
        window, offset = self.texts
        parts = [self.event_type, self.field, kind, window, f"offset_{offset}" if offset else None]
        return _named(re.sub(r"[^A-Za-z0-9]+", "_", "_".join(part for part in parts if part)).strip("_"))

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "kind": self.kind,
            "event_type": self.event_type,
            "field": self.field,
            "window": self.span.length,
            "offset": self.span.offset,
            "where": None if self.where is None else self.where.document(),
            "n": self.n,
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True)
class Arithmetic(Feature):
    """Two features, or one and a constant, joined by a sign.

    Attributes:
        sign: ``+``, ``-``, ``*`` or ``/``.
        left: A feature, or a constant: an integer or a decimal.
        right: Likewise.
        alias: The column's name; None for one that says what it is.
    """

    sign: str
    left: "Feature | int | Decimal"
    right: "Feature | int | Decimal"
    alias: str | None = None

    @property
    def column(self) -> str:
        """``a_per_b``, unless it was given a name."""
        sides = (side.column if isinstance(side, Feature) else re.sub(r"[^0-9]+", "_", str(side)) for side in (self.left, self.right))
        return self.alias or _named(f"_{_SIGNS[self.sign]}_".join(sides))

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        sides = [side.document() if isinstance(side, Feature) else str(side) for side in (self.left, self.right)]
        return {"sign": self.sign, "left": sides[0], "right": sides[1]}


@dataclass(frozen=True, slots=True)
class Relation:
    """Events that say to what something belongs: a loan to its account, an account to its client.

    Attributes:
        event_type: Of the events.
        child: The column that names what belongs.
        parent: The column that names what it belongs to; null for nothing any more.
    """

    event_type: str
    child: str
    parent: str


def relation(event_type: str, *, child: str, parent: str) -> Relation:
    """A relation that is held in events, for ``FeatureSet(via=…)``.

    At a cutoff the last such event of the child before it says where the child belongs, as it was known then.

    Args:
        event_type: Such as ``loan.granted``.
        child: The column that names what belongs: ``subject``, or a field of the payload.
        parent: The column that names what it belongs to.

    Raises:
        InvalidInputError: One of them is no text.
    """
    if not all(isinstance(text, str) and text for text in (event_type, child, parent)):
        message = f"expected a relation as an event type and two columns, found {event_type!r}, {child!r}, {parent!r}"
        raise InvalidInputError(message)
    return Relation(event_type, child, parent)


Operand = Feature | int | float | Decimal
Many = str | Sequence[str | None] | None


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features of one kind of entity, looked up for every row of a spine.

    Attributes:
        name: The dataset's: lower-case letters, digits and underscores.
        by: The column that names the entity in every event table that is read: ``subject``, or a field of the payload.
        features: The columns, in order, each name once.
        known: ``cutoff``: only what was recorded before the row's cutoff counts, corrections as they were known then; ``watermark``:
            everything that is recorded at the watermark, with its latest corrections, which is hindsight.
        depth: How many parts of a subject name the entity: with 2, ``/loan/7/payment/3`` is an event of ``/loan/7``; None for all.
        cutoff: The spine's column of instants.
        spine_by: The spine's column that names the entity; None where it is called as ``by``, or as the last parent of ``via``.
        via: Relations to climb from what ``by`` names to the entity, such as from the loan to its account to its client.
    """

    name: str
    by: str = "subject"
    features: tuple[Feature, ...] = ()
    known: str = "cutoff"
    depth: int | None = None
    cutoff: str = "cutoff"
    spine_by: str | None = None
    via: tuple[Relation, ...] = ()
    _columns: tuple[str, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        given: Any = self.features
        object.__setattr__(self, "features", tuple(_flat([given] if isinstance(given, Feature) else given, self.name)))
        object.__setattr__(self, "via", tuple(self.via))
        columns = tuple(feature.column for feature in self.features)
        object.__setattr__(self, "_columns", columns)
        if problem := self._problem_of_set() or self._problem_of_columns():
            raise InvalidProjectionError(problem, "give features names of their own with .name()." if "column" in problem else None)

    def _problem_of_set(self) -> str | None:
        """What is wrong with everything but the columns."""
        where = f"feature set {self.name}: "
        if not isinstance(self.name, str) or not _SET_NAME.fullmatch(self.name):
            return f"expected a name of lower-case letters, digits and underscores, found {self.name!r}"
        if self.known not in KNOWN:
            return f"{where}expected known as one of {', '.join(map(repr, KNOWN))}, found {self.known!r}"
        if not self.by or not isinstance(self.by, str):
            return f"{where}expected by as the name of a field or of the event's subject, found {self.by!r}"
        if self.depth is not None and (self.by != "subject" or type(self.depth) is not int or not 1 <= self.depth <= 20):  # noqa: PLR2004
            return f"{where}expected depth as a number of parts of the subject, 1 to 20, found {self.depth!r}"
        if self.known == "cutoff" and any(one.span.offset < 0 for one in self.aggregates()):
            return f"{where}a window beyond the cutoff is not known at the cutoff"
        return None

    def _problem_of_columns(self) -> str | None:
        """What is wrong with the columns, and with the relations that lead to the entity."""
        columns, where = self._columns, f"feature set {self.name}: "
        if not all(isinstance(one, Relation) for one in self.via):
            return f"{where}expected via as relations, from relation('loan.granted', child=…, parent=…), found {self.via!r}"
        if not columns:
            return f"{where}expected at least one feature"
        if doubled := sorted({name for name in columns if columns.count(name) > 1}):
            return f"{where}{', '.join(doubled)} would be the name of more than one column"
        if odd := next((name for name in columns if not _NAME.fullmatch(name)), None):
            return f"{where}{odd} is too long for a column"
        return None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the features."""
        return self._columns

    @property
    def spine_entity(self) -> str:
        """The spine's column that names the entity."""
        return self.spine_by or (self.via[-1].parent if self.via else self.by)

    def aggregates(self) -> list[Aggregate]:
        """The features that are made of events, each once, in order of their first use."""
        return list(dict.fromkeys(one for feature in self.features for one in feature.aggregates()))

    def text(self) -> str:
        """As JSON, a line for each value, keys sorted: what is archived, and hashed."""
        document = {
            "format": FORMAT,
            "by": self.by,
            "cutoff": self.cutoff,
            "depth": self.depth,
            "features": [{"name": feature.column, **feature.document()} for feature in self.features],
            "known": self.known,
            "spine_by": self.spine_entity,
            "via": [{"event_type": one.event_type, "child": one.child, "parent": one.parent} for one in self.via],
        }
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def plan(self, engine: str = "duckdb", snapshot: Any = None) -> str:
        """What an engine does, as text: DuckDB's SQL over ``spine`` and the event tables, or Polars' steps and expressions.

        Args:
            engine: ``duckdb`` or ``polars``.
            snapshot: Whose schemas say the types; None for fields of unknown types, to be read and not to be run.

        Raises:
            InvalidInputError: There is no such engine.
            NotFoundError: An event type has no schema.
        """
        from eventlake.features.plan import compiled  # noqa: PLC0415 - plans know what is declared, not the other way round
        from eventlake.features.shown import text  # noqa: PLC0415

        if engine not in {"duckdb", "polars"}:
            message = f"expected engine as 'duckdb' or 'polars', found {engine!r}"
            raise InvalidInputError(message)
        return text(compiled(self, None if snapshot is None else snapshot.history.catalogue), engine)

    @classmethod
    def from_text(cls, name: str, text: str) -> "FeatureSet":
        """The inverse of ``text``.

        Raises:
            InvalidProjectionError: It is no feature set of this format.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise ValueError(document["format"])  # noqa: TRY301
            features = tuple(_feature_of(one).name(one["name"]) for one in document["features"])
            by, known, depth = document["by"], document["known"], document["depth"]
            via = tuple(Relation(**one) for one in document["via"])
            return cls(name, by, features, known, depth, document["cutoff"], document["spine_by"], via)
        except (KeyError, TypeError, ValueError) as error:
            message = f"feature set {name}: what describes it is not understood: {error!r}"
            raise InvalidProjectionError(message) from error


def _named(text: str) -> str:
    """A column's name may not begin with a digit."""
    return f"f_{text}" if not text or text[0].isdigit() else text


def _flat(features: Iterable[Any], name: str) -> Iterator[Feature]:
    for feature in features:
        if isinstance(feature, Feature):
            yield feature
        elif isinstance(feature, (list, tuple)):
            yield from _flat(feature, name)
        else:
            message = f"feature set {name}: expected features such as count('payment.missed', window='90d'), found {feature!r}"
            raise InvalidProjectionError(message)


def _aggregates(feature: Feature | int | Decimal) -> Iterator[Aggregate]:
    if isinstance(feature, Aggregate):
        yield replace(feature, alias=None, texts=(None, None))
    elif isinstance(feature, Arithmetic):
        yield from _aggregates(feature.left)
        yield from _aggregates(feature.right)


def _feature_of(document: Mapping[str, Any] | str) -> Any:
    if isinstance(document, str):
        return Decimal(document) if not re.fullmatch("-?[0-9]+", document) else int(document)
    if "sign" in document:
        return Arithmetic(document["sign"], _feature_of(document["left"]), _feature_of(document["right"]))
    where = document["where"]
    return Aggregate(
        kind=document["kind"],
        event_type=document["event_type"],
        field=document["field"],
        span=Span(document["window"], document["offset"]),
        where=None if where is None else Condition.from_document(where),
        n=document["n"],
        unit=document["unit"],
    )


def _arithmetic(sign: str, left: Operand, right: Operand) -> Arithmetic:
    return Arithmetic(sign, _operand(left), _operand(right))


def _operand(given: Operand) -> Feature | int | Decimal:
    if isinstance(given, Feature) or (isinstance(given, int) and not isinstance(given, bool) and -_INT64 <= given < _INT64):
        return given
    if isinstance(given, (float, Decimal)):
        number = Decimal(repr(float(given))) if isinstance(given, float) else given
        if number.is_finite() and abs(number.adjusted()) < _DIGITS and len(f"{abs(number):f}".replace(".", "").lstrip("0")) <= _DIGITS:
            number = Decimal(f"{number:f}")
            if -int(number.as_tuple().exponent) <= _DIGITS:
                return number
    message = f"expected a feature or a number of at most {_DIGITS} digits, an integer of 64 bits, found {given!r}"
    raise InvalidInputError(message)


def aggregate(
    kind: str,
    event_type: str,
    of: str | None = None,
    *,
    window: str | None = None,
    offset: str | None = None,
    where: Condition | Mapping[str, Value] | None = None,
    n: int = 0,
    unit: str | None = None,
) -> Aggregate:
    """One aggregate, its arguments looked at.

    Raises:
        InvalidInputError: One of them cannot be.
    """
    if not isinstance(event_type, str) or not event_type:
        message = f"expected the type of the events as text, found {event_type!r}"
        raise InvalidInputError(message)
    if kind in NEEDS_FIELD and (not isinstance(of, str) or not of):
        message = f"{kind}({event_type!r}): expected the name of a field of the payload, found {of!r}"
        raise InvalidInputError(message)
    if unit is not None and unit not in UNITS:
        message = f"{kind}({event_type!r}): expected unit as one of {', '.join(UNITS)}, found {unit!r}"
        raise InvalidInputError(message)
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= 1_000:  # noqa: PLR2004
        message = f"{kind}({event_type!r}): expected n from 0 to 1,000, found {n!r}"
        raise InvalidInputError(message)
    length = None if window is None else microseconds(window, "window")
    span = Span(length, 0 if offset is None else microseconds(offset, "offset"))
    return Aggregate(kind, event_type, of, span, (window, offset), where_of(where), n, unit)
