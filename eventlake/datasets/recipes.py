"""The same recipe is computed once: what it made is found again, and of several who want it at once one works and the others wait.

``recipes/<recipe_hash>/`` holds a note of every dataset that the recipe made, and the claim of whoever is at it. All of it may be lost:
datasets without a note are looked for, and without a claim two work where one would do and publish the same.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from eventlake.core import layout
from eventlake.core.dataset import Recipe
from eventlake.datasets.archive import Archive, open_archive
from eventlake.datasets.catalogue import folders
from eventlake.errors import EventlakeError
from eventlake.progress import task
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage
from eventlake.trust import Trust, statement

_Found = TypeVar("_Found")

BEAT_SECONDS = 5.0
"""How often whoever works says that he still does."""
PATIENCE_SECONDS = 30.0
"""How long a claim that says nothing is waited for."""
_POLL_SECONDS = 0.1


def dataset_statement(manifest_hash: str) -> bytes:
    """The statement that a dataset's rows are those that its recipe makes."""
    return statement("dataset", manifest_hash)


def made_by(storage: Storage, recipe: Recipe, trust: Trust) -> Archive | None:
    """A dataset that a recipe made before, with all its files; None if there is none, if it is damaged, or if it is not believed."""
    noted = (layout.made_hash(item.path) for item in storage.list(layout.recipe_folder(recipe.recipe_hash)))
    places = [layout.build_path(recipe.name, manifest_hash) for manifest_hash in noted if manifest_hash]
    return _whole(storage, recipe, places, trust) or _whole(storage, recipe, folders(storage, recipe.name), trust)


def _whole(storage: Storage, recipe: Recipe, places: Iterator[str] | list[str], trust: Trust) -> Archive | None:
    for folder in places:
        with suppress(EventlakeError):
            archive = open_archive(storage, folder)
            known = archive.manifest.recipe.recipe_hash == recipe.recipe_hash and trust.knows(
                dataset_statement(archive.manifest.manifest_hash)
            )
            if known and archive.is_whole():
                return archive
    return None


def note(archive: Archive) -> None:
    """Remembers what a recipe has made."""
    recipe_hash = archive.manifest.recipe.recipe_hash
    with suppress(ObjectExistsError):
        archive.storage.create(layout.made_path(recipe_hash, archive.manifest.manifest_hash), b"{}")


@contextmanager
def claimed(storage: Storage, recipe: Recipe, look: Callable[[], _Found | None]) -> Iterator[_Found | None]:
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
    number = _wait(storage, recipe)
    try:
        # Whoever was before has published before he gave up his claim.
        found = look()
        if found is not None:
            yield found
            return
        with _beating(storage, layout.claim_path(recipe.recipe_hash, number)):
            yield None
    finally:
        for path in [path for path, one in _claims(storage, recipe) if one <= number]:
            with suppress(ObjectMissingError, EventlakeError):
                storage.delete(path)


def _wait(storage: Storage, recipe: Recipe) -> int:
    """Takes the next claim, as soon as nobody has one, or whoever has it is silent."""
    seen: tuple[str, bytes] | None = None
    since = time.monotonic()
    with task(f"waiting for {recipe.name}, which another one builds", 1) as advance:
        while True:
            newest = _newest(storage, recipe)
            if newest != seen:
                seen, since = newest, time.monotonic()
            if newest is None or time.monotonic() - since > PATIENCE_SECONDS:
                number = 1 + (0 if newest is None else layout.claim_number(newest[0]) or 0)
                with suppress(ObjectExistsError):
                    storage.create(layout.claim_path(recipe.recipe_hash, number), b"0")
                    advance(1)
                    return number
            time.sleep(_POLL_SECONDS)


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

    def beat() -> None:
        count = 0
        while not over.wait(BEAT_SECONDS):
            count += 1
            with suppress(EventlakeError):
                storage.replace(path, str(count).encode())

    thread = threading.Thread(target=beat, name="eventlake-claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
