"""Verifies stored datasets: manifest, provenance, source, spine and rows, and stray files."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from eventlake.core import layout
from eventlake.core.documents.provenance import PART
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.store.archive import Archive, open_archive
from eventlake.datasets.store.find import folders
from eventlake.datasets.store.tags import holders, tagged
from eventlake.datasets.verifying.reproduce_all import MOST_SECONDS, reproduce_all
from eventlake.errors import EventlakeError, InvalidInputError, NotFoundError
from eventlake.history.resolve import at_checkpoint
from eventlake.history.verifying.report import Finding, Report, Tally
from eventlake.history.verifying.verify import verify, with_findings
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.open_or_create import open_chain
from eventlake.log.maintaining.attempts import is_given_up
from eventlake.storage import Storage, StoredObject
from eventlake.trust import OWN


@dataclass(slots=True)
class Findings(Tally):
    """The findings in ``builds/``.

    Attributes:
        datasets: Number of published datasets.
        sound: The datasets without a problem.
    """

    datasets: int = 0
    sound: list[Archive] = field(default_factory=list)


def verify_datasets(storage: Storage, chain: Chain | None, *, deep: bool) -> Findings:
    """Check every published dataset.

    Args:
        storage: The lake.
        chain: The log in which checkpoints are looked up; None if it is too damaged.
        deep: Also hash the rows.
    """
    findings = Findings()
    files = _listed(storage, layout.BUILDS, findings)
    # If the first listing failed, so would this one.
    published = dict.fromkeys(folders(storage) if files else ())
    unpublished: dict[str, list[str]] = {}
    for item in files:
        parts = layout.build_parts(item.path)
        folder = item.path.removesuffix(f"/{parts[2]}") if parts else None
        if layout.is_temporary(item.path):
            findings.notes.append(Finding(item.path, "left by an interrupted write; harmless"))
        elif folder is None:
            findings.problems.append(Finding(item.path, "extra: not a file of a dataset"))
        elif folder not in published:
            unpublished.setdefault(folder, []).append(item.path)
    # Read once, however many folders have no manifest.
    named = _named(storage) if unpublished else set()
    for folder, paths in unpublished.items():
        _unpublished(
            storage, folder, paths, findings, was_published=folder.rpartition("/")[2] in named
        )
    _tags(storage, published, findings)
    checkpoints = None if chain is None else _Checkpoints(chain)
    for folder in published:
        _dataset(storage, folder, checkpoints, findings, deep=deep)
    return findings


class _Checkpoints:
    """Looks up checkpoints in a log, each once: datasets of one night have the same."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._found: set[Checkpoint] = set()

    def check(self, checkpoint: Checkpoint) -> None:
        """Check that the log has a checkpoint; see ``at_checkpoint``."""
        if checkpoint not in self._found:
            at_checkpoint(self._chain, checkpoint)
            self._found.add(checkpoint)


def _listed(storage: Storage, folder: str, findings: Findings) -> list[StoredObject]:
    """The files of a folder; none if it cannot be listed, which is a finding."""
    try:
        return list(storage.list(folder))
    except EventlakeError as error:
        findings.problems.append(Finding(folder, error.message))
        return []


def _unpublished(
    storage: Storage, folder: str, paths: list[str], findings: Findings, *, was_published: bool
) -> None:
    """Judge a folder without a manifest: it was lost, never written, or the dataset was removed."""
    attempts = {attempt for path in paths if (attempt := layout.attempt(path))}
    if not any(_is_finished(storage, attempt, paths) for attempt in attempts):
        _left_over(paths, findings)
    elif was_published:
        message = (
            "missing; the dataset was published: 'eventlake gc LAKE --delete' writes it again, "
            "and so does building it again"
        )
        findings.problems.append(Finding(f"{folder}/{layout.MANIFEST}", message))
    else:
        message = (
            "its build was interrupted before it was published: "
            "'eventlake gc LAKE --delete' publishes it; harmless"
        )
        findings.notes.append(Finding(f"{folder}/{layout.MANIFEST}", message))


def _named(storage: Storage) -> set[str]:
    """The short hashes of datasets that a note or a tag names, so that they were published once."""
    named = {layout.made_hash(item.path) or "" for item in storage.list(layout.RECIPES)}
    with suppress(EventlakeError):  # ``_tags`` reports damaged tags
        named |= set(holders(storage))
    return {manifest_hash[: layout.SHORT_HASH] for manifest_hash in named}


def _tags(storage: Storage, published: Iterable[str], findings: Findings) -> None:
    known = {folder.rpartition("/")[2] for folder in published}
    for item in _listed(storage, layout.TAGS, findings):
        if name := layout.tag_name(item.path):
            try:
                manifest_hash = tagged(storage, name)
            except EventlakeError as error:
                findings.problems.append(Finding(item.path, error.message))
                continue
            if manifest_hash and manifest_hash[: layout.SHORT_HASH] not in known:
                findings.problems.append(
                    Finding(item.path, f"names dataset {manifest_hash}, which does not exist")
                )


def _left_over(paths: Iterable[str], findings: Findings) -> None:
    """Note the files of unused attempts.

    The marks of attempts that were given up or removed are not noted: they are never deleted.
    """
    paths = list(paths)
    removed = {layout.attempt(path) for path in paths if path.endswith(f"/{layout.REMOVED}")}
    for path in paths:
        if layout.attempt(path) in removed:
            if not path.endswith(f"/{layout.REMOVED}"):
                message = (
                    "part of a dataset that was removed; "
                    "'eventlake gc LAKE --delete' deletes it; harmless"
                )
                findings.notes.append(Finding(path, message))
        elif not path.endswith(f"/{layout.PROVENANCE}"):
            findings.notes.append(Finding(path, "part of a build that was interrupted; harmless"))


def _dataset(
    storage: Storage,
    folder: str,
    checkpoints: _Checkpoints | None,
    findings: Findings,
    *,
    deep: bool,
) -> None:
    findings.datasets += 1
    try:
        archive = open_archive(storage, folder)
    except EventlakeError as error:
        where = error.facts.get("path", f"{folder}/{layout.MANIFEST}")
        findings.problems.append(Finding(str(where), error.message))
        return
    before = len(findings.problems)
    finished = _files(archive, findings)
    try:
        if deep and len(findings.problems) == before:
            _contents(archive, findings)
        if checkpoints is not None:
            checkpoints.check(archive.manifest.recipe.checkpoint)
    except EventlakeError as error:
        findings.problems.append(Finding(f"{folder}/{layout.MANIFEST}", error.message))
    # Only these can be reproduced; others have been reported.
    if len(findings.problems) == before and finished:
        findings.sound.append(archive)


def _files(archive: Archive, findings: Findings) -> bool:
    """Check that finished attempts have exactly the files they list, and note other attempts.

    Returns:
        Whether an attempt is finished.
    """
    attempts: dict[str, list[str]] = {}
    for item in archive.storage.list(archive.folder):
        if layout.is_temporary(item.path) or item.path == f"{archive.folder}/{layout.MANIFEST}":
            continue
        attempt = layout.attempt(item.path)
        if attempt is None:
            findings.problems.append(Finding(item.path, "extra: not a file of this dataset"))
        else:
            attempts.setdefault(attempt, []).append(item.path)
    finished = {one for one, paths in attempts.items() if _is_finished(archive.storage, one, paths)}
    for attempt in sorted(finished):
        _finished(archive, attempt, attempts[attempt], findings)
    for attempt in sorted(attempts.keys() - finished if finished else ()):
        _left_over(attempts[attempt], findings)
    if not finished and archive.is_marked():
        message = "it is being removed: end it with 'eventlake datasets rm', or build it again"
        findings.notes.append(Finding(archive.folder, message))
    elif not finished:
        message = (
            "missing: the dataset is published, and no attempt to build it is finished; "
            "build it again"
        )
        where = sorted(attempts) or [archive.folder]
        findings.problems.extend(
            Finding(f"{attempt}/{layout.PROVENANCE}", message) for attempt in where
        )
    return bool(finished)


def _is_finished(storage: Storage, attempt: str, paths: list[str]) -> bool:
    provenance = f"{attempt}/{layout.PROVENANCE}"
    try:
        removed = f"{attempt}/{layout.REMOVED}" in paths
        return provenance in paths and not removed and not is_given_up(storage.read(provenance))
    except EventlakeError:
        return True  # reading it as a provenance reports the problem


def _finished(archive: Archive, attempt: str, paths: list[str], findings: Findings) -> None:
    try:
        files = archive.provenance_of(attempt)["files"]
    except EventlakeError as error:
        findings.problems.append(Finding(f"{attempt}/{layout.PROVENANCE}", error.message))
        return
    there = set(paths)
    pruned = f"{attempt}/{layout.PRUNED}" in there
    for name in files:
        if pruned and name.startswith(PART) and f"{attempt}/{name}" not in there:
            continue
        try:
            findings.size_bytes += len(archive.file(attempt, name, files))
        except EventlakeError as error:
            findings.problems.append(Finding(f"{attempt}/{name}", error.message))
    known = {f"{attempt}/{name}" for name in (*files, layout.PROVENANCE, layout.PRUNED)}
    findings.problems.extend(
        Finding(path, "extra: not a file of this dataset") for path in paths if path not in known
    )


def _contents(archive: Archive, findings: Findings) -> None:
    """Check the rows, spine and sources of every finished attempt against the manifest."""
    for provenance, whole in archive.attempts():
        try:
            # Rows of a pruned attempt are gone on purpose.
            for _ in archive.pieces(provenance) if whole else ():
                pass
            archive.spine(provenance)
            archive.sources(provenance)
        except EventlakeError as error:
            findings.problems.append(Finding(provenance["attempt"], error.message))


def verify_lake(
    storage: Storage,
    *,
    deep: bool = False,
    against: Checkpoint | None = None,
    trust: bool = False,
    seconds: float = MOST_SECONDS,
) -> Report:
    """Check a lake and its datasets, even if it is too damaged to open.

    Args:
        storage: The lake.
        deep: Also hash every event, and derive keys, event tables and datasets again.
        against: A checkpoint that was kept elsewhere, to be found in the history.
        trust: With ``deep``, run the Python that is archived with datasets.
        seconds: The time limit of an archived query; it halves after each timeout.

    Raises:
        InvalidInputError: ``trust`` is given without ``deep``.
        NotFoundError: Nothing there looks like a lake.
    """
    if trust and not deep:
        message = "trust=True runs archived Python, which a verification does only with deep=True"
        raise InvalidInputError(message, "give deep=True too, or leave out trust.")
    if not any(
        item.path == layout.LAKE or layout.commit_version(item.path) is not None
        for item in storage.list("")
    ):
        message = f"there is no lake in {storage.uri} (no {layout.LAKE}, no commits)"
        raise NotFoundError(message, "check the path.", uri=storage.uri)
    report, checked = verify(storage, deep=deep, against=against)
    try:
        chain = open_chain(storage, OWN)
    except EventlakeError:
        chain = None
    found = verify_datasets(storage, chain, deep=deep)
    if deep and report.ok:
        reproduce_all(checked, found.sound, found, trust=trust, seconds=seconds)
    elif deep:
        for archive in found.sound:
            found.doubt(archive.folder, "not reproduced: its history is damaged")
    return with_findings(report, found, found.datasets)
