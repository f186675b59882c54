"""All schemas of a lake: the versions of each event type, in one document.

Commits name the document by its hash.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Annotated, Self

from msgspec import UNSET, Meta, UnsetType

from eventlake.core import counts
from eventlake.core.documents.stored import (
    Column,
    Document,
    FormatNumber,
    Line,
    Sha256,
    Text,
    damaged,
    unsealed,
)
from eventlake.core.documents.stored import Sequence as SequenceNumber
from eventlake.core.hashing.canonical import seal
from eventlake.errors import InvalidInputError, NotFoundError
from eventlake.schemas.schema import Schema, SchemaDocument
from eventlake.schemas.version import Version

FORMAT = 1
_NOUN = "catalogue of schemas"


class VersionDocument(Document):
    """A schema as it was registered."""

    schema: SchemaDocument
    since: SequenceNumber
    upcast: dict[Column, Line] | UnsetType = UNSET


class CatalogueDocument(Document):
    """``schemas/<sha256>.json``."""

    checksum: Sha256
    format: FormatNumber
    types: dict[Text, Annotated[tuple[VersionDocument, ...], Meta(min_length=1)]]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The registered schemas by event type, oldest version first."""

    types: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)

    def newest(self, event_type: str) -> Version | None:
        """The version that new events are checked against; None if the type has no schema."""
        versions = self.types.get(event_type)
        return versions[-1] if versions else None

    def version(self, event_type: str, number: int | None = None) -> Version:
        """One version; the newest for None.

        Raises:
            NotFoundError: The type has no schema, or not this version.
        """
        versions = self.types.get(event_type, ())
        if not versions:
            message = f"no schema is registered for {event_type!r}"
            known = ", ".join(sorted(self.types)) or "none"
            near = (
                get_close_matches(event_type, self.types, 1) if isinstance(event_type, str) else []
            )
            hint = (
                (f"did you mean {near[0]!r}? If not, " if near else "")
                + f"register one with lake.register({event_type!r}, schema); "
                f"lake.infer_schema({event_type!r}) proposes it from stored events. "
                f"Registered: {known}."
            )
            raise NotFoundError(message, hint, event_type=event_type)
        number = None if number is None else counts.integer(number, "version")
        if number is not None and not 1 <= number <= len(versions):
            message = (
                f"expected a version of {event_type} from 1 to {len(versions)}, found {number}"
            )
            raise NotFoundError(message, event_type=event_type)
        return versions[-1 if number is None else number - 1]

    def by_hash(self, event_type: str, schema_hash: str) -> Version:
        """The version with this hash.

        Raises:
            NotFoundError: No version has it.
        """
        for version in self.types.get(event_type, ()):
            if version.schema_hash == schema_hash:
                return version
        message = f"no schema of {event_type!r} has the hash {schema_hash}"
        raise NotFoundError(message, "'eventlake schema list' lists them.", event_type=event_type)

    def pinned(self, schemas: Mapping[str, str]) -> Self:
        """The catalogue in which the given schemas are the newest of their types.

        Args:
            schemas: Hashes by event type; other types keep all their versions.

        Raises:
            NotFoundError: The catalogue does not contain one of them.
        """
        types = dict(self.types)
        for event_type, schema_hash in schemas.items():
            # Later versions are cut off, so that the pinned one is the newest.
            types[event_type] = types.get(event_type, ())[
                : self.by_hash(event_type, schema_hash).number
            ]
        return replace(self, types=types)

    def with_schema(
        self, schema: Schema, since: int, upcast: Mapping[str, str] | None = None
    ) -> Self:
        """The catalogue with one more version.

        Args:
            schema: The schema to add.
            since: The watermark at which it is registered.
            upcast: Expressions that convert payloads of the version before; None if those can be
                read as they are.

        Raises:
            InvalidInputError: Another event type differs from this one only in case.
        """
        name = schema.event_type
        double = next(
            (
                other
                for other in self.types
                if other != name and other.casefold() == name.casefold()
            ),
            None,
        )
        if double is not None:
            message = (
                f"event types {double!r} and {name!r} would be one table in SQL, which ignores case"
            )
            raise InvalidInputError(message, "give the type another name.", event_type=name)
        versions = self.types.get(name, ())
        return replace(
            self,
            types={**self.types, name: _placed([*versions, Version(schema, 0, since, upcast)])},
        )

    def adds_to(self, before: "Catalogue", watermark: int) -> bool:
        """Whether this is ``before`` plus one version that was registered at ``watermark``."""
        added = [
            versions[-1]
            for name, versions in self.types.items()
            if versions != before.types.get(name)
        ]
        # The bytes are compared below, so that nothing else can have changed.
        if len(added) != 1 or (newest := added[0]).since != watermark:
            return False
        return before.with_schema(newest.schema, watermark, newest.upcast).encode() == self.encode()

    def encode(self) -> bytes:
        """The bytes of the document."""
        types = {
            name: [version.document() for version in versions]
            for name, versions in self.types.items()
        }
        return seal({"format": FORMAT, "types": types})

    @classmethod
    def decode(cls, data: bytes, where: str) -> Self:
        """The inverse of ``encode``.

        Raises:
            UnsupportedFormatError: A newer eventlake wrote the document.
            CorruptionError: The document is damaged.
        """
        document = unsealed(data, where, CatalogueDocument, _NOUN)
        try:
            types = {
                name: _placed([_version(one) for one in found])
                for name, found in document.types.items()
            }
        except InvalidInputError as error:
            raise damaged(where, _NOUN, error.message) from None
        problem = next(
            (found for name, versions in types.items() if (found := _problem(name, versions))), None
        )
        catalogue = cls(types)
        # Decoding accepts the members of every kind in every type; encoding writes only those that
        # apply.
        if problem or catalogue.encode() != data:
            raise damaged(where, _NOUN, problem or "a type has members that its kind does not take")
        return catalogue


def _version(document: VersionDocument) -> Version:
    return Version(
        Schema.of(document.schema),
        0,
        document.since,
        None if document.upcast is UNSET else document.upcast,
    )


def _problem(name: str, versions: Sequence[Version]) -> str | None:
    """Why no registration could have written the versions of a type; None if one could."""
    for before, version in zip([None, *versions], versions, strict=False):
        if version.schema.event_type != name:
            return f"expected the schemas of {name!r}, found one of {version.schema.event_type!r}"
        # Two versions may be registered at one watermark, if no event comes in between.
        if version.since < (before.since if before else 0):
            return (
                f"expected versions of {name!r} in the order of their registration, found since"
                f" {version.since}"
            )
        if version.upcast is not None and (
            before is None
            or not version.upcast.keys() <= {field.name for field in version.schema.fields}
        ):
            found = ", ".join(map(repr, version.upcast))
            return f"expected an upcast to fields of {name!r} from a version before, found {found}"
    return None


def _placed(versions: Sequence[Version]) -> tuple[Version, ...]:
    """The versions of a type, oldest first, each with its number, predecessor and end."""
    placed: list[Version] = []
    for index, version in enumerate(versions):
        later = versions[index + 1 :]
        # Payloads after a later upcast were accepted under fields that this version does not have.
        ends = next((one.since for one in later if one.upcast is not None), None)
        before = placed[-1] if placed else None
        placed.append(
            replace(
                version,
                number=index + 1,
                before=before,
                until=later[0].since if later else None,
                ends=ends,
            )
        )
    return tuple(placed)
