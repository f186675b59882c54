"""Verify files that no commit needs: known left-overs are notes, anything else is a problem."""

from eventlake.core import layout
from eventlake.errors import EventlakeError
from eventlake.history.verifying.report import Finding, Tally
from eventlake.storage import Storage, sha256_of


def verify_extra_files(
    storage: Storage, files: dict[str, int], superseded: set[str], tally: Tally
) -> None:
    """Verify files that the head does not need, except those below ``builds/``.

    Args:
        storage: Where the lake is.
        files: The size of each file, by path.
        superseded: SHA-256 of segments that were compacted.
        tally: Collects the findings.
    """
    for path, size_bytes in files.items():
        sha256 = layout.segment_sha256(path) or layout.keys_sha256(path) or layout.rows_sha256(path)
        # Verified with the schemas, the event tables and the datasets.
        elsewhere = path.startswith(
            (f"{layout.BUILDS}/", f"{layout.SCHEMAS}/", f"{layout.TABLES}/")
        )
        beside = (
            layout.made_hash(path)
            or layout.claim_number(path) is not None
            or layout.is_work(path)
            or layout.base_of(path) is not None
            or layout.indexed_name(path) is not None
            or layout.tag_name(path)
        )
        # Commits are verified with the chain, so an unreadable one is not an extra file.
        known = (
            path in {layout.LAKE, layout.HINT, layout.RESERVE}
            or layout.commit_version(path) is not None
            or elsewhere
            or beside
        )
        if known:
            continue
        if layout.is_temporary(path):
            tally.notes.append(Finding(path, "left by an interrupted write; harmless"))
        elif sha256 is not None and (_sha256(storage, path, size_bytes, tally) or "").startswith(
            sha256
        ):
            tally.notes.append(Finding(path, _why_unneeded(path, sha256, superseded)))
        else:
            tally.blame(path, "extra: not a file of this lake")


def _why_unneeded(path: str, sha256: str, superseded: set[str]) -> str:
    if layout.segment_sha256(path) is None:
        return (
            "a part of the manifest that newer parts replace, or that an interrupted write left; "
            "harmless"
        )
    if sha256 in superseded:
        return "compacted: another segment holds its events; harmless"
    return "no commit names this segment: an interrupted append left it; harmless"


def _sha256(storage: Storage, path: str, size_bytes: int, tally: Tally) -> str | None:
    """The hash of a file; None if it is not readable, which is a finding."""
    try:
        found = sha256_of(storage, path, size_bytes)
    except EventlakeError as error:
        tally.blame(path, error)
        return None
    tally.size_bytes += size_bytes
    return found
