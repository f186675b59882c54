"""A schema as it was registered, and how payloads that were accepted before it are read with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from eventlake.core.card import Card
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.schemas.schema import Schema


@dataclass(frozen=True, slots=True, repr=False)
class Version:
    """A schema as it was registered.

    Attributes:
        schema: The fields.
        number: From 1, per event type.
        since: The watermark at which it was registered; events from there on were checked against
            it when they were appended.
        upcast: How a payload of the version before becomes one of this: a SQL expression by field,
            over the fields of the version before. None where whatever the version before accepts
            can be read as it is.
        before: The version before; None for the first.
        until: Where the next version begins; None for the newest.
        ends: Where the next version with an upcast begins: events from there on cannot be read with
            this one. None where there is none.
    """

    schema: Schema
    number: int
    since: int
    upcast: Mapping[str, str] | None = None
    before: "Version | None" = None
    until: int | None = field(default=None, compare=False)
    ends: int | None = field(default=None, compare=False)

    @property
    def schema_hash(self) -> str:
        """SHA-256 of what reading with this version depends on, hex: the schema, and the upcasts that lead to it where there are any."""
        steps = [step.step() for step in self.upcasts()]
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
        """The upcast as plain values: from which schema, to which, from which sequence on no longer, and the expressions."""
        schemas = (self.before.schema.document() if self.before else None, self.schema.document())
        return {
            "from": schemas[0],
            "since": self.since,
            "to": schemas[1],
            "upcast": dict(self.upcast or {}),
        }

    def epochs(self) -> Iterator[tuple[int | None, "Version"]]:
        """Stretches of sequences, in order, and the version to read their payloads with: the end of each, exclusive, None for the last."""
        for step in self.upcasts():
            if step.before is not None:
                yield step.since, step.before
        yield None, self

    def document(self) -> dict[str, Any]:
        """As plain JSON values, but for what follows from its place among the versions."""
        document: dict[str, Any] = {"schema": self.schema.document(), "since": self.since}
        return document if self.upcast is None else {**document, "upcast": dict(self.upcast)}

    def card(self) -> Card:
        """What to show."""
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
