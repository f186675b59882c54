"""Runs archived queries of other users in a process whose memory the kernel limits.

DuckDB does not count every text buffer, so its memory limit does not stop a query that makes text
without end. Commands and build workers limit their own process. A caller's Python process must not
be limited, so it starts another one.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import duckdb

from eventlake.datasets.building.build_once import query_statement
from eventlake.datasets.store.archive import Archive, open_archive
from eventlake.errors import StorageError
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import resolve
from eventlake.history.snapshot import Snapshot
from eventlake.log.chain.open_or_create import open_chain
from eventlake.memory import MORE, bound_memory, can_bound_more, out_of_memory
from eventlake.progress import task
from eventlake.projections.kinds import kind_named
from eventlake.storage import can_be_reopened, from_uri
from eventlake.storage.scratch import lock_to_inherit, temporary_folder
from eventlake.trust import OWN, trust_of

_SHOWN = 2_000
_REQUEST, _ANSWER = "request", "answer"


def isolated(
    work: Callable[..., Any], history: PinnedHistory, archive: Archive, **arguments: Any
) -> Any:
    """Return ``work(history, archive, **arguments)``, run in a process of its own if necessary.

    It runs in this process if that is limited already, this user built the dataset, the lake's
    writers are trusted, the projection needs trust anyway, or no other process can open the lake.

    Args:
        work: A module-level function with a picklable result. Every run of an archived query goes
            through here.
        history: The lake at the dataset's checkpoint.
        archive: The dataset's folder.
        arguments: Picklable values.

    Raises:
        EventlakeError: ``work`` raised it.
        StorageError: It needs more memory than a process may use, or its process died.
    """
    if not _needs_process(history, archive):
        return work(history, archive, **arguments)
    name = archive.manifest.recipe.name
    request = (work, archive.storage.uri, archive.folder, history.trust.name, arguments)
    with (
        temporary_folder() as folder,
        task(f"working on {name} in a process of its own", 1) as advance,
    ):
        (folder / _REQUEST).write_bytes(pickle.dumps(request))
        _run(folder, name)
        with (folder / _ANSWER).open("rb") as file:
            succeeded, value = pickle.load(file)  # noqa: S301 - written by our own process, in a private folder
        advance(1)
    if succeeded:
        return value
    raise value


def _needs_process(history: PinnedHistory, archive: Archive) -> bool:
    manifest, storage = archive.manifest, archive.storage
    if (
        history.trust.believes
        or kind_named(manifest.recipe.kind).needs_trust
        or OWN.ledger.knows(query_statement(manifest.manifest_hash))
    ):
        return False
    return can_be_reopened(storage) and has_interpreter() and can_bound_more()


def _run(folder: Path, name: str) -> None:
    with TemporaryFile(dir=folder) as errors:
        command = [
            "-c",
            "from eventlake.datasets.building.isolated import main; main()",
            str(folder),
        ]
        process = start_python(command, folder, stdin=subprocess.PIPE, stderr=errors)
        try:
            code = process.wait()
        finally:
            # Also if this process is interrupted: nothing may run on.
            process.kill()
            process.communicate()
        if code or not (folder / _ANSWER).exists():
            errors.seek(0)
            output = errors.read()[-_SHOWN:].decode(errors="replace").strip()
            message = (
                f"dataset {name}: the process that worked on it ended with {code}, "
                f"perhaps for lack of memory; its last output: {output}"
            )
            raise StorageError(message, MORE)


def main() -> None:
    """Run the request in the folder given as argument, and write the answer there."""
    # Prints go to standard error, whose end is shown if the process dies.
    os.dup2(2, 1)
    threading.Thread(target=_exit_with_caller, daemon=True).start()
    folder = Path(sys.argv[1])
    try:
        bound_memory()
        _write(folder, succeeded=True, value=_answer(folder))
    except (MemoryError, duckdb.OutOfMemoryException):
        _write(folder, succeeded=False, value=out_of_memory("what is archived with the dataset"))
    except Exception as error:  # noqa: BLE001 - the caller raises it
        _write(folder, succeeded=False, value=error)
    sys.stderr.flush()
    # A normal exit would wait for threads of the libraries.
    os._exit(0)


def _exit_with_caller() -> None:
    # The caller never writes: the read ends when the caller is gone.
    sys.stdin.buffer.read()
    os._exit(1)


def _answer(folder: Path) -> Any:
    work, uri, place, trust, arguments = pickle.loads((folder / _REQUEST).read_bytes())  # noqa: S301 - written by our own process
    storage = from_uri(uri)
    archive, chain = open_archive(storage, place), open_chain(storage, trust_of(trust))
    recipe = archive.manifest.recipe
    snapshot = Snapshot(resolve(chain, recipe.checkpoint).with_schemas(recipe.schemas))
    return snapshot.read(lambda history: work(history, archive, **arguments))


def _write(folder: Path, *, succeeded: bool, value: Any) -> None:
    part = folder / f"{_ANSWER}.part"
    with part.open("wb") as file:
        pickle.dump((succeeded, value), file)
    # Renamed when complete: a killed process must not leave half an answer.
    part.rename(folder / _ANSWER)


def has_interpreter() -> bool:
    """Whether ``sys.executable`` is a Python; not so in a frozen or embedding program."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def start_python(arguments: list[str], folder: Path, **streams: Any) -> subprocess.Popen[Any]:
    """Start Python with the import path of this process and its temporary files in ``folder``.

    Raises:
        StorageError: The system cannot start a process.
    """
    environment = {**os.environ, "PYTHONPATH": _import_path(), "TMPDIR": str(folder)}
    # -P: do not import modules from the current folder, which may be an untrusted lake.
    command = [sys.executable, "-P", *arguments]
    try:
        return subprocess.Popen(command, env=environment, pass_fds=lock_to_inherit(), **streams)  # noqa: S603 - our own module
    except OSError as error:
        message = f"no process could be started: {error.strerror}"
        raise StorageError(message, errno=error.errno) from error


def _import_path() -> str:
    """The absolute entries of ``sys.path``; others would mean the worker's current folder."""
    return os.pathsep.join(
        path for path in sys.path if Path(path).is_absolute() and os.pathsep not in path
    )
