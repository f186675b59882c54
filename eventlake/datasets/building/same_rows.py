"""Compares the rows of a build with what a lock pins, and with what earlier builds of it made."""

import logging

from eventlake.core.documents.dataset import DatasetManifest
from eventlake.datasets.building.earlier_builds import EarlierBuilds
from eventlake.datasets.building.ready import BuildResult, ReadyBuild
from eventlake.datasets.store.archive import Archive
from eventlake.errors import EventlakeError, NotIdenticalError
from eventlake.trust import LAKE

_LOG = logging.getLogger(__name__)


def check_expected(ready_build: ReadyBuild, expected: str | None, found: str) -> None:
    """Refuse rows whose content hash is not the one that a lock pins; None without a lock."""
    if expected not in {None, found}:
        projection = ready_build.computation.projection
        message = (
            f"dataset {projection.name} is not what its lock pins: "
            f"expected content hash {expected}, found {found}"
        )
        engine = f"{projection.engine} {ready_build.kind.engine_version()}"
        hint = f"nothing was published; built with {engine}; compare engine and code."
        raise NotIdenticalError(message, hint, expected=expected, found=found)


def check_same(before: Archive, now: DatasetManifest) -> None:
    """Refuse other rows than an earlier build of the same recipe made."""
    then = before.manifest.content_hash
    if then == now.content_hash:
        return
    message = (
        f"dataset {now.recipe.name}: the same recipe made other rows before: content hash {then} "
        f"in {before.folder}, now {now.content_hash}"
    )
    hint = (
        "nothing was published; the rows depend on something that no recipe records. "
        "'eventlake diff' shows what differs."
    )
    raise NotIdenticalError(message, hint, expected=then, found=now.content_hash)


def compare_with_untrusted(
    ready_build: ReadyBuild, earlier: EarlierBuilds, built: BuildResult
) -> Archive | None:
    """The dataset that an untrusted writer stored for the recipe, if it equals the new one.

    It is never used, but a difference is worth a warning.
    """
    archive = earlier.of_recipe(LAKE)
    if archive is not None and archive.manifest.content_hash != built.manifest.content_hash:
        _LOG.warning(
            "%s claims that the recipe of %s made other rows than it makes here "
            "(content hash %s, here %s); it was not used",
            archive.folder,
            ready_build.recipe.name,
            archive.manifest.content_hash,
            built.manifest.content_hash,
        )
        return None
    return archive


def is_intact(archive: Archive) -> bool:
    """Whether the stored rows can be read and are those of the manifest."""
    try:
        archive.rows()
    except EventlakeError:
        return False
    return True
