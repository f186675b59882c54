"""Whether a schema can follow another one.

It must accept every payload that the other one accepts, and read the same values from it.
"""

from collections.abc import Iterator

from eventlake.schemas.limits import Choices, NumberRange
from eventlake.schemas.schema import Field, FieldType

_INT64_DIGITS = 19


def obstacles(old: FieldType, new: FieldType, path: str = "") -> Iterator[tuple[str, str]]:
    """Why ``new`` rejects payloads of ``old``, or reads other values from them, by path.

    Allowed changes: a new optional field, a field that is no longer required, an integer or decimal
    with more digits, wider bounds, more values of an enum, an object that is no longer closed.
    """
    if old == new:
        return
    if "struct" == old.kind == new.kind:
        yield from _of_fields(old, new, path)
    elif old.item is not None and new.item is not None:
        yield from obstacles(old.item, new.item, f"{path}[]")
    elif not _holds(old, new):
        yield path, f"{old} cannot become {new}"


def _of_fields(old: FieldType, new: FieldType, path: str) -> Iterator[tuple[str, str]]:
    if new.closed and not old.closed:
        yield path, "was open to other members"
    fields = {field.name: field for field in new.fields}
    for field in old.fields:
        yield from of_field(
            field, fields.pop(field.name, None), f"{path}.{field.name}" if path else field.name
        )
    for name, field in fields.items():
        if field.required:
            yield (
                (f"{path}.{name}" if path else name),
                "is new and required; older payloads do not have it",
            )


def of_field(old: Field, new: Field | None, path: str) -> Iterator[tuple[str, str]]:
    """As ``obstacles``, for one field; ``new`` is None if the field was removed."""
    if new is None:
        yield path, "was removed"
        return
    if new.required and not old.required:
        yield path, "was not required"
    yield from obstacles(old.type, new.type, path)


def _holds(old: FieldType, new: FieldType) -> bool:
    """Whether every value of a scalar type is a value of another one."""
    if old.kind == "utf8" == new.kind:
        return Choices(new.values).include(Choices(old.values))
    if (
        # A double holds no other type exactly, and days and instants are read from other texts.
        old.kind not in {"int64", "decimal"}
        or new.kind not in {"int64", "decimal"}
        or not NumberRange(new.minimum, new.maximum).includes(NumberRange(old.minimum, old.maximum))
    ):
        return False
    # Not even a decimal without scale: its text may have a point, as in 1.0.
    if new.kind == "int64":
        return old.kind == "int64"
    whole = _INT64_DIGITS if old.kind == "int64" else old.precision - old.scale
    return new.scale >= old.scale and new.precision - new.scale >= whole


def changes(old: FieldType, new: FieldType, path: str = "") -> Iterator[tuple[str, str, str]]:
    """The differences as (path, before, after); a missing field is an empty text."""
    before, after = ({field.name: field for field in kind.fields} for kind in (old, new))
    if old.closed != new.closed:
        yield path or "(payload)", _openness(old), _openness(new)
    for name in {**before, **after}:
        one, other = before.get(name), after.get(name)
        below = f"{path}.{name}" if path else name
        if (
            one is not None
            and other is not None
            and "struct" == one.type.kind == other.type.kind
            and one.required == other.required
        ):
            yield from changes(one.type, other.type, below)
        elif one != other:
            yield below, _spelled(one), _spelled(other)


def _openness(kind: FieldType) -> str:
    return "closed" if kind.closed else "open"


def _spelled(field: Field | None) -> str:
    return "" if field is None else f"{field.type}{', required' if field.required else ''}"
