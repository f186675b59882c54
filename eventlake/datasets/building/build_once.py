"""The same recipe is computed once: what it made is found again, and of several who want it at once one works and the others wait.

``recipes/<recipe_hash>/`` holds a note of every dataset that the recipe made, and the claim of
whoever is at it. All of it may be lost: datasets without a note are looked for, and without a claim
two work where one would do and publish the same.
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

from eventlake.core import layout
from eventlake.core.documents.dataset import Recipe
from eventlake.core.instants import format_instant
from eventlake.datasets.store.archive import Archive, open_archive
from eventlake.datasets.store.find import folders
from eventlake.errors import EventlakeError
from eventlake.progress import task
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage
from eventlake.trust import Trust, statement

_LOG = logging.getLogger(__name__)
_Found = TypeVar("_Found")

BEAT_SECONDS = 5.0
"""How often whoever works says that he still does."""
PATIENCE_SECONDS = 30.0
"""How long a claim that says nothing is waited for."""
_POLL_SECONDS = 0.1
_SILENT_SECONDS = 1.0
"""A wait that takes longer is told."""
_MACHINE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_PROCESSES = 1 << 31


@dataclass(frozen=True, slots=True, eq=False)
class _Claim:
    """A claim of this process. No two are equal: another copy of a lake may have one at the same path."""

    storage: Storage
    path: str
    number: int


_held: set[_Claim] = set()
"""The claims of this process."""
os.register_at_fork(after_in_child=_held.clear)  # they are the parent's


def dataset_statement(manifest_hash: str) -> bytes:
    """The statement that a dataset's rows are those that its recipe makes."""
    return statement("dataset", manifest_hash)


def query_statement(manifest_hash: str) -> bytes:
    """The statement that this user has built a dataset: what is archived with it is what they wrote, or chose to run."""
    return statement("query", manifest_hash)


def made_by(storage: Storage, recipe: Recipe, trust: Trust) -> Archive | None:
    """A dataset that a recipe made before, with all its files; None if there is none, if it is damaged, or if it is not believed."""
    noted = (
        layout.made_hash(item.path)
        for item in storage.list(layout.recipe_folder(recipe.recipe_hash))
    )
    places = [
        layout.build_path(recipe.name, manifest_hash) for manifest_hash in noted if manifest_hash
    ]
    return _whole(storage, recipe, places, trust) or _whole(
        storage, recipe, folders(storage, recipe.name), trust
    )


def _whole(
    storage: Storage, recipe: Recipe, places: Iterator[str] | list[str], trust: Trust
) -> Archive | None:
    for folder in places:
        with suppress(EventlakeError):
            archive = open_archive(storage, folder)
            known = archive.manifest.recipe.recipe_hash == recipe.recipe_hash and trust.knows(
                dataset_statement(archive.manifest.manifest_hash)
            )
            if known and archive.is_whole():
                return archive
    return None


def record_built(archive: Archive) -> None:
    """Remembers what a recipe has made."""
    recipe_hash = archive.manifest.recipe.recipe_hash
    with suppress(ObjectExistsError):
        archive.storage.create(layout.made_path(recipe_hash, archive.manifest.manifest_hash), b"{}")


@contextmanager
def build_lease(
    storage: Storage, recipe: Recipe, look: Callable[[], _Found | None]
) -> Iterator[_Found | None]:
    """Gives what ``look`` finds, or None to the one who is to make it while the block lasts; everybody else waits for him.

    Who is silent for ``PATIENCE_SECONDS`` is taken for dead. If he is not, both make the same.

    Args:
        storage: Of the lake.
        recipe: Whose work it is.
        look: Finds what was made.
    """
    if (found := look()) is not None:
        yield found
        return
    claim = _wait(storage, recipe)
    try:
        # Whoever was before has published before he gave up his claim.
        found = look()
        if found is not None:
            yield found
            return
        with _beating(storage, claim.path):
            yield None
    finally:
        _held.discard(claim)
        for path in [path for path, one in _claims(storage, recipe) if one <= claim.number]:
            with suppress(ObjectMissingError, EventlakeError):
                storage.delete(path)


def give_up_claims() -> None:
    """Gives up what this process has claimed: it is about to end without running to an end."""
    for claim in list(_held):
        with suppress(Exception):
            claim.storage.delete(claim.path)


def _wait(storage: Storage, recipe: Recipe) -> _Claim:
    """Takes the next claim, as soon as nobody has one, or whoever has it is silent."""
    seen: tuple[str, bytes] | None = None
    began = since = time.monotonic()
    told = False
    with task(f"waiting for {recipe.name}, which another one builds", 1) as advance:
        while True:
            newest = _newest(storage, recipe)
            if newest != seen:
                seen, since = newest, time.monotonic()
            if newest is None or _is_dead(newest[1]) or time.monotonic() - since > PATIENCE_SECONDS:
                number = 1 + (0 if newest is None else layout.claim_number(newest[0]) or 0)
                claim = _Claim(storage, layout.claim_path(recipe.recipe_hash, number), number)
                with suppress(ObjectExistsError):
                    storage.create(claim.path, _says(0))
                    _held.add(claim)
                    advance(1)
                    return claim
            elif not told and time.monotonic() - began > _SILENT_SECONDS:
                told = True
                message = "waiting for %s, which %s; a builder that says nothing for %.0f s is taken for dead"
                _LOG.warning(message, recipe.name, _holder(newest[1]), PATIENCE_SECONDS)
            time.sleep(_POLL_SECONDS)


def _says(beat: int, since: int | None = None) -> bytes:
    """What a claim says: who works, since when (in microseconds), and, by another number each time, that it still does."""
    begun = time.time_ns() // 1000 if since is None else since
    return json.dumps(
        {"beat": beat, "machine": platform.node(), "process": os.getpid(), "since": begun}
    ).encode()


def _said(claim: bytes) -> tuple[str, int, str] | None:
    """Machine, process and beginning of whoever has a claim; None if it does not say, or not as we do."""
    try:
        found = json.loads(claim)
        machine, process, since = found["machine"], found["process"], format_instant(found["since"])
        known = (
            isinstance(machine, str)
            and _MACHINE.fullmatch(machine)
            and type(process) is int
            and 0 < process < _MOST_PROCESSES
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return (machine, process, since) if known else None


def _holder(claim: bytes) -> str:
    said = _said(claim)
    return (
        f"process {said[1]} on {said[0]} builds since {said[2]}"
        if said
        else "another process builds"
    )


def _is_dead(claim: bytes) -> bool:
    """Whether a claim is of a process of this machine that has ended."""
    said = _said(claim)
    if said is None or said[0] != platform.node():
        return False
    try:
        os.kill(said[1], 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _claims(storage: Storage, recipe: Recipe) -> list[tuple[str, int]]:
    paths = [item.path for item in storage.list(layout.recipe_folder(recipe.recipe_hash))]
    return [(path, number) for path in paths if (number := layout.claim_number(path)) is not None]


def _newest(storage: Storage, recipe: Recipe) -> tuple[str, bytes] | None:
    """The newest claim and the last that it said."""
    claims = _claims(storage, recipe)
    if not claims:
        return None
    path = max(claims, key=lambda one: one[1])[0]
    with suppress(ObjectMissingError):
        return path, storage.read(path)
    return None


@contextmanager
def _beating(storage: Storage, path: str) -> Iterator[None]:
    over = threading.Event()
    since = time.time_ns() // 1000

    def beat() -> None:
        count = 0
        while not over.wait(BEAT_SECONDS):
            count += 1
            with suppress(EventlakeError):
                storage.replace(path, _says(count, since))

    thread = threading.Thread(target=beat, name="eventlake-claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
