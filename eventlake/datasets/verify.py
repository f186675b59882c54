"""Re-hashing built datasets: manifest, provenance, source, spine and rows, and files that do not belong."""

from dataclasses import dataclass, field

from eventlake.columns.content import content_hash
from eventlake.core import layout
from eventlake.core.checkpoint import Checkpoint
from eventlake.datasets.archive import PROVENANCE, Archive, is_part, open_archive
from eventlake.datasets.catalogue import folders
from eventlake.errors import EventlakeError, NotFoundError
from eventlake.history.report import Finding, Report
from eventlake.history.resolve import at_checkpoint
from eventlake.history.verify import verify, with_findings
from eventlake.log.chain import Chain, open_chain
from eventlake.storage import Storage


@dataclass(slots=True)
class Findings:
    """What was found in ``builds/``."""

    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    datasets: int = 0
    size_bytes: int = 0


def verify_datasets(storage: Storage, chain: Chain | None, *, deep: bool) -> Findings:
    """Checks every published dataset; with ``deep`` the rows are hashed again too, and its checkpoint is looked up in ``chain``."""
    findings = Findings()
    published = list(folders(storage))
    unpublished: dict[str, list[str]] = {}
    for item in storage.list(layout.BUILDS):
        parts = layout.build_parts(item.path)
        folder = item.path.removesuffix(f"/{parts[2]}") if parts else None
        if layout.is_temporary(item.path):
            findings.notes.append(Finding(item.path, "left by an interrupted write; harmless"))
        elif folder is None:
            findings.problems.append(Finding(item.path, "extra: not a file of a dataset"))
        elif folder not in published:
            unpublished.setdefault(folder, []).append(item.path)
    for folder, paths in unpublished.items():
        _unpublished(folder, paths, findings)
    for folder in published:
        _dataset(storage, folder, chain, findings, deep=deep)
    return findings


def _unpublished(folder: str, paths: list[str], findings: Findings) -> None:
    """A build that has no manifest: it lost it, or was interrupted before. The provenance is written last but one."""
    if f"{folder}/{PROVENANCE}" in paths:
        message = "missing; the dataset was published, or its build was interrupted at the last step: build it again"
        findings.problems.append(Finding(f"{folder}/{layout.MANIFEST}", message))
    else:
        findings.notes.extend(Finding(path, "part of a build that was interrupted; harmless") for path in paths)


def _dataset(storage: Storage, folder: str, chain: Chain | None, findings: Findings, *, deep: bool) -> None:
    findings.datasets += 1
    try:
        archive = open_archive(storage, folder)
        files = archive.provenance()["files"]
    except EventlakeError as error:
        where = error.facts.get("path", f"{folder}/{layout.MANIFEST}")
        findings.problems.append(Finding(str(where), error.message))
        return
    _files(archive, files, findings)
    try:
        if deep and not any(finding.path.startswith(f"{folder}/") for finding in findings.problems):
            _contents(archive, findings)
        if chain is not None:
            at_checkpoint(chain, archive.manifest.recipe.checkpoint)
    except EventlakeError as error:
        findings.problems.append(Finding(f"{folder}/{layout.MANIFEST}", error.message))


def _files(archive: Archive, files: dict[str, dict[str, object]], findings: Findings) -> None:
    known = {*files, layout.MANIFEST, PROVENANCE}
    for name in files:
        try:
            findings.size_bytes += len(archive.file(name, files))
        except EventlakeError as error:
            findings.problems.append(Finding(f"{archive.folder}/{name}", error.message))
    for item in archive.storage.list(archive.folder):
        name = item.path.removeprefix(f"{archive.folder}/")
        if name in known or layout.is_temporary(name):
            continue
        if is_part(name, archive.storage.read(item.path)):
            findings.notes.append(Finding(item.path, "rows of an interrupted build; harmless"))
        else:
            findings.problems.append(Finding(item.path, "extra: not a file of this dataset"))


def _contents(archive: Archive, findings: Findings) -> None:
    manifest = archive.manifest
    found = content_hash(archive.rows())
    if found != manifest.content_hash:
        findings.problems.append(Finding(archive.folder, f"its rows hash to {found}, its manifest says {manifest.content_hash}"))
    spine = archive.spine()
    if spine is not None and manifest.recipe.spine is not None and content_hash(spine) != manifest.recipe.spine.content_hash:
        findings.problems.append(Finding(archive.folder, "its spine does not hash to what its manifest says"))
    archive.sources()


def verify_lake(storage: Storage, *, deep: bool = False, against: Checkpoint | None = None) -> Report:
    """Checks a lake with all its datasets; it may be too damaged to open.

    Raises:
        NotFoundError: There is nothing that looks like a lake.
    """
    if not any(item.path == layout.LAKE or layout.commit_version(item.path) is not None for item in storage.list("")):
        message = f"there is no lake in {storage.uri} (no {layout.LAKE}, no commits)"
        raise NotFoundError(message, "check the path.", uri=storage.uri)
    report = verify(storage, deep=deep, against=against)
    try:
        chain = open_chain(storage)
    except EventlakeError:
        chain = None
    found = verify_datasets(storage, chain, deep=deep)
    return with_findings(report, found.problems, found.notes, found.datasets, found.size_bytes)
