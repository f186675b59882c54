"""Computes a recipe once: one of several builders works, and notes what the recipe made.

``recipes/<recipe_hash>/`` holds a note of every dataset that the recipe made (see ``build_index``),
and the lease of the builder at work (a ``.claim`` file). Both are an optimization and may be lost:
without a lease two builders compute and publish the same.
"""

import json
import logging
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from eventlake.cleanup import before_exit
from eventlake.core import layout
from eventlake.core.documents.dataset import Recipe
from eventlake.core.instants import format_instant
from eventlake.datasets.lease_timing import LEASE_TIMING, LeaseTiming
from eventlake.errors import EventlakeError
from eventlake.progress import task
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage
from eventlake.trust import statement

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_POLL_SECONDS = 0.1
_REPORT_AFTER_SECONDS = 1.0
"""Seconds of waiting after which a warning names the holder of the lease."""
_MACHINE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_PROCESSES = 1 << 31


@dataclass(frozen=True, slots=True, eq=False)
class _Lease:
    """A lease of this process.

    Leases are compared by identity: two lakes can have one at the same path.
    """

    storage: Storage
    path: str
    number: int


_held_leases: set[_Lease] = set()
# A forked child must not release its parent's leases.
os.register_at_fork(after_in_child=_held_leases.clear)


@before_exit
def release_leases() -> None:
    """Release this process's leases, before it exits without unwinding."""
    for lease in list(_held_leases):
        with suppress(Exception):
            lease.storage.delete(lease.path)


def dataset_statement(manifest_hash: str) -> bytes:
    """The ledger's statement that a dataset's rows are those that its recipe makes."""
    return statement("dataset", manifest_hash)


def query_statement(manifest_hash: str) -> bytes:
    """The ledger's statement that this user built a dataset, so its archived code is theirs."""
    return statement("query", manifest_hash)


@contextmanager
def build_lease(
    storage: Storage,
    recipe: Recipe,
    look: Callable[[], _Result | None],
    timing: LeaseTiming = LEASE_TIMING,
) -> Iterator[_Result | None]:
    """Yield what ``look`` finds, or None if the caller must compute it while holding the lease.

    Other builders of the recipe wait. A lease without a heartbeat for ``patience_seconds`` is
    abandoned. If its holder still lives, both compute the same.

    Args:
        storage: The lake.
        recipe: What to build.
        look: Finds a dataset of the recipe.
        timing: The timing of the lease.
    """
    if (found := look()) is not None:
        yield found
        return
    lease = _acquire(storage, recipe, timing.patience_seconds)
    try:
        # The previous holder published before it released its lease.
        found = look()
        if found is not None:
            yield found
            return
        if lease is None:
            yield None
        else:
            with _heartbeat(storage, lease.path, timing.beat_seconds):
                yield None
    finally:
        if lease is not None:
            _release(storage, recipe, lease)


def _release(storage: Storage, recipe: Recipe, lease: _Lease) -> None:
    _held_leases.discard(lease)
    # Leases of builders that died before are deleted too.
    for path in [path for path, one in _leases(storage, recipe) if one <= lease.number]:
        with suppress(EventlakeError):
            storage.delete(path)


def _acquire(storage: Storage, recipe: Recipe, patience_seconds: float) -> _Lease | None:
    """Take the next lease as soon as there is none, or its holder is dead or silent.

    Returns:
        None if something else, such as a folder, has the name of the next lease.
    """
    seen: tuple[str, bytes] | None = None
    # A heartbeat is noticed as a changed text: clocks of two machines are never compared.
    began = since = time.monotonic()
    reported = False
    with task(f"waiting for {recipe.name}, which another process builds", 1) as advance:
        while True:
            newest = _newest(storage, recipe)
            if newest != seen:
                seen, since = newest, time.monotonic()
            silent = time.monotonic() - since
            if newest is None or _is_dead(newest[1]) or silent > patience_seconds:
                number = 1 + (0 if newest is None else layout.claim_number(newest[0]) or 0)
                if newest is not None and number > layout.MOST_CLAIMS:
                    # No name follows it, so the abandoned lease makes room for the first one.
                    storage.delete(newest[0])
                    continue
                lease = _Lease(storage, layout.claim_path(recipe.recipe_hash, number), number)
                try:
                    storage.create(lease.path, _lease_text(0))
                except ObjectExistsError:
                    # What is no lease is never released, so there is nothing to wait for.
                    if all(one < number for _, one in _leases(storage, recipe)):
                        return None
                else:
                    _held_leases.add(lease)
                    advance(1)
                    return lease
            elif not reported and time.monotonic() - began > _REPORT_AFTER_SECONDS:
                reported = True
                message = "waiting for %s, which %s; a lease without a heartbeat for %.0f s expires"
                _LOG.warning(message, recipe.name, _describe_holder(newest[1]), patience_seconds)
            time.sleep(_POLL_SECONDS)


def _lease_text(beat: int, since: int | None = None) -> bytes:
    """The stored form of a lease; ``since`` is in microseconds, ``beat`` counts heartbeats."""
    begun = time.time_ns() // 1000 if since is None else since
    return json.dumps(
        {"beat": beat, "machine": platform.node(), "process": os.getpid(), "since": begun}
    ).encode()


def _parse_lease(lease: bytes) -> tuple[str, int, str] | None:
    """Machine, process and start of a lease's holder; None if the text is invalid."""
    try:
        found = json.loads(lease)
        machine, process, since = found["machine"], found["process"], format_instant(found["since"])
        # Leases may be written by others, and their text is shown in a warning.
        known = (
            isinstance(machine, str)
            and _MACHINE.fullmatch(machine)
            and type(process) is int
            and 0 < process < _MOST_PROCESSES
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return (machine, process, since) if known else None


def _describe_holder(lease: bytes) -> str:
    holder = _parse_lease(lease)
    if holder is None:
        return "another process builds"
    machine, process, since = holder
    return f"process {process} on {machine} builds since {since}"


def _is_dead(lease: bytes) -> bool:
    """Whether a lease belongs to a process of this machine that has ended."""
    holder = _parse_lease(lease)
    if holder is None or holder[0] != platform.node():
        return False
    try:
        # Signal 0 only asks whether the process exists.
        os.kill(holder[1], 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _leases(storage: Storage, recipe: Recipe) -> list[tuple[str, int]]:
    paths = [item.path for item in storage.list(layout.recipe_folder(recipe.recipe_hash))]
    return [(path, number) for path in paths if (number := layout.claim_number(path)) is not None]


def _newest(storage: Storage, recipe: Recipe) -> tuple[str, bytes] | None:
    """The path and text of the newest lease."""
    leases = _leases(storage, recipe)
    if not leases:
        return None
    path = max(leases, key=lambda lease: lease[1])[0]
    # Its holder may have released it since the listing.
    with suppress(ObjectMissingError):
        return path, storage.read(path)
    return None


@contextmanager
def _heartbeat(storage: Storage, path: str, beat_seconds: float) -> Iterator[None]:
    over = threading.Event()
    since = time.time_ns() // 1000

    def beat() -> None:
        count = 0
        while not over.wait(beat_seconds):
            count += 1
            with suppress(EventlakeError):
                storage.replace(path, _lease_text(count, since))

    thread = threading.Thread(target=beat, name="eventlake-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
