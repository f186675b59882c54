"""A registered schema, and how it reads payloads that were accepted before it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from eventlake.core.card import Card, Shown
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.schemas.schema import Schema


@dataclass(frozen=True, slots=True, repr=False)
class Version(Shown):
    """A registered schema.

    Attributes:
        schema: The fields.
        number: The version's number, from 1 per event type.
        since: The watermark at which it was registered; events from there on were checked against
            it when they were appended.
        upcast: SQL expressions by field, over the fields of the version before, that convert its
            payloads. None if its payloads can be read as they are.
        before: The version before; None for the first.
        until: The sequence at which the next version begins; None for the newest.
        ends: The sequence at which the next version with an upcast begins; later events cannot be
            read with this version. None if there is no such version.
    """

    schema: Schema
    number: int
    since: int
    upcast: Mapping[str, str] | None = None
    before: "Version | None" = None
    # These follow from later versions: a registration must not make earlier versions unequal.
    until: int | None = field(default=None, compare=False)
    ends: int | None = field(default=None, compare=False)

    @property
    def schema_hash(self) -> str:
        """SHA-256, hex, of the schema and of the upcasts that lead to it, if there are any."""
        steps = [step.step() for step in self.upcasts()]
        # Without upcasts a version has the hash of its schema, whatever was registered before.
        if not steps:
            return self.schema.schema_hash
        return sha256_hex(canonical_json({"schema": self.schema.document(), "upcasts": steps}))

    def upcasts(self) -> list["Version"]:
        """The versions up to this one that have an upcast, oldest first."""
        return [version for version in self.lineage() if version.upcast is not None]

    def lineage(self) -> list["Version"]:
        """The versions up to this one, oldest first."""
        return [*(self.before.lineage() if self.before else ()), self]

    def step(self) -> dict[str, Any]:
        """The upcast as plain values: both schemas, the sequence of the change, the expressions."""
        schemas = (self.before.schema.document() if self.before else None, self.schema.document())
        return {
            "from": schemas[0],
            "since": self.since,
            "to": schemas[1],
            "upcast": dict(self.upcast or {}),
        }

    def epochs(self) -> Iterator[tuple[int | None, "Version"]]:
        """The versions that read the payloads of consecutive sequences.

        Yields:
            The end of each range, exclusive, None for the last; and the version to read it with.
        """
        for step in self.upcasts():
            if step.before is not None:
                yield step.since, step.before
        yield None, self

    def document(self) -> dict[str, Any]:
        """As plain JSON values, without what follows from its position among the versions."""
        document: dict[str, Any] = {"schema": self.schema.document(), "since": self.since}
        return document if self.upcast is None else {**document, "upcast": dict(self.upcast)}

    def card(self) -> Card:
        """The version as a card."""
        name = self.schema.event_type
        facts = (("schema_hash", self.schema_hash), ("registered at", f"watermark {self.since:,}"))
        rows = [
            (path, kind, "required" if required else "")
            for path, kind, required in self.schema.lines()
        ]
        if self.upcast is None:
            return Card(
                f"schema of {name}, version {self.number}",
                facts,
                ("field", "type", ""),
                tuple(rows),
            )
        columns = ("field", "type", "", f"upcast from version {self.number - 1}")
        upcast = tuple((*row, self.upcast.get(row[0], "")) for row in rows)
        return Card(f"schema of {name}, version {self.number}", facts, columns, upcast)

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Version: {self.card().title}>"
