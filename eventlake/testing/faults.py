"""A storage that fails on demand: before a call takes effect, or after it."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from eventlake.errors import StorageError
from eventlake.storage import (
    ByteRange,
    NotDurableError,
    NotStoredError,
    State,
    Storage,
    StorageFullError,
    StoredObject,
    read_sized,
    state_of,
)

Fault = Literal["before", "after", "not stored", "not durable", "full"]
"""The kind of a failure.

``before``: nothing happens, and the caller cannot know. ``after``: it happens, and the caller
cannot know. ``not stored``: nothing happens, and the store says so. ``not durable``: it happens,
but may not survive. ``full``: there is no space to write; reading, listing and deleting work.
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a storage.

    Attributes:
        number: 0 for the first call since the storage was created, or since
            ``FaultyStorage.forget``.
        verb: The method of the port: ``read``, ``create``, ``replace``, …
        path: The path argument.
    """

    number: int
    verb: str
    path: str


Plan = Callable[[Call], Fault | None]


def never(_: Call) -> None:
    """Plan no faults."""


def at_call(number: int, fault: Fault = "before", *, verbs: tuple[str, ...] = ()) -> Plan:
    """Plan a fault at the ``number``-th call, if it is one of ``verbs`` (default: any verb)."""
    return lambda call: (
        fault if call.number == number and (not verbs or call.verb in verbs) else None
    )


def at_random(
    seed: int, rate: float, faults: tuple[Fault, ...] = ("before", "after", "not stored")
) -> Plan:
    """Plan faults at a share ``rate`` of the calls; repeatable for the same seed and calls."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not a secret
    return lambda _: dice.choice(faults) if dice.random() < rate else None


class FaultyStorage:
    """A storage with the faults of a plan. It keeps the contract: no object is ever half stored."""

    def __init__(self, inner: Storage, plan: Plan = never) -> None:
        self.inner = inner
        self.plan = plan
        self.calls: list[Call] = []

    def forget(self, plan: Plan = never) -> None:
        """Start counting again, with another plan."""
        self.calls, self.plan = [], plan

    def _meet(self, verb: str, path: str) -> Fault | None:
        # Counted before the fault, so that a plan can address every call of a failing run.
        call = Call(len(self.calls), verb, path)
        self.calls.append(call)
        fault = self.plan(call)
        # A full store still reads, lists and deletes.
        return None if fault == "full" and verb not in {"create", "replace"} else fault

    @property
    def uri(self) -> str:
        """As ``inner``."""
        return self.inner.uri

    def check(self) -> None:
        """As ``inner``."""
        self.inner.check()

    def read(self, path: str) -> bytes:
        """As ``inner``, or a failure."""
        if fault := self._meet("read", path):
            raise _failure("read", path, fault)
        return self.inner.read(path)

    def read_sized(self, path: str, size_bytes: int) -> bytes:
        """As ``inner``, or a failure."""
        if fault := self._meet("read", path):
            raise _failure("read", path, fault)
        return read_sized(self.inner, path, size_bytes)

    def read_ranges(self, path: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """As ``inner``, or a failure."""
        if fault := self._meet("read_ranges", path):
            raise _failure("read", path, fault)
        return self.inner.read_ranges(path, ranges)

    def exists(self, path: str) -> bool:
        """As ``inner``, or a failure."""
        if fault := self._meet("exists", path):
            raise _failure("look at", path, fault)
        return self.inner.exists(path)

    def modified(self, path: str) -> int | None:
        """As ``inner``, or a failure."""
        if fault := self._meet("modified", path):
            raise _failure("look at", path, fault)
        return self.inner.modified(path)

    def create(self, path: str, data: bytes) -> None:
        """As ``inner``, or a failure that leaves the object whole or absent."""
        fault = self._meet("create", path)
        if fault in {None, "after", "not durable"}:
            self.inner.create(path, data)
        if fault:
            raise _failure("create", path, fault)

    def replace(self, path: str, data: bytes) -> None:
        """As ``inner``, or a failure."""
        fault = self._meet("replace", path)
        if fault in {None, "after", "not durable"}:
            self.inner.replace(path, data)
        if fault:
            raise _failure("replace", path, fault)

    def delete(self, path: str) -> None:
        """As ``inner``, or a failure."""
        fault = self._meet("delete", path)
        if fault in {None, "after", "not durable"}:
            self.inner.delete(path)
        if fault:
            raise _failure("delete", path, fault)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """As ``inner``, or a failure."""
        if fault := self._meet("list", prefix):
            raise _failure("list", prefix, fault)
        return self.inner.list(prefix)

    def sync(self, folder: str) -> None:
        """As ``inner``, or a failure."""
        if fault := self._meet("sync", folder):
            raise _failure("sync", folder, fault)
        self.inner.sync(folder)

    def turn(self, path: str) -> AbstractContextManager[None]:
        """As ``inner``; a turn never fails."""
        return self.inner.turn(path)

    def locate(self, path: str) -> str | None:
        """As ``inner``: an engine that opens a file itself meets no fault."""
        return self.inner.locate(path)

    def state(self, path: str) -> State | None:
        """As ``inner``, without faults."""
        return state_of(self.inner, path)


def _failure(verb: str, path: str, fault: Fault) -> StorageError:
    kinds = (
        {"not stored": NotStoredError, "not durable": NotDurableError, "full": StorageFullError}
        if verb == "create"
        else {}
    )
    return kinds.get(fault, StorageError)(
        f"could not {verb} {path}: injected fault ({fault})", path=path
    )
