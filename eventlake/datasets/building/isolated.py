"""Work on what others archived, in a process whose memory the kernel limits.

DuckDB does not count every buffer of text, so the limit of a database does not stop a query that
makes text without end. Commands and the workers of a build limit their own process. A Python
process of the caller's cannot be limited, so it starts another one.
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
from eventlake.log.chain.open_chain import open_chain
from eventlake.memory import MORE, bound_memory, can_bound_more, out_of_memory
from eventlake.progress import task
from eventlake.storage import can_be_reopened, from_uri
from eventlake.storage.scratch import lock_to_inherit, temporary_folder
from eventlake.trust import OWN, trust_of

_SHOWN = 2_000
_REQUEST, _ANSWER = "request", "answer"


def isolated(
    work: Callable[..., Any], history: PinnedHistory, archive: Archive, **arguments: Any
) -> Any:
    """What ``work(history, archive, **arguments)`` returns, run in a process of its own if the archived query is not this user's.

    It is run here if the process is limited already, if the dataset was built by this user, if the
    lake's writers are believed, if archived Python is run, which needs trust, and if the lake
    cannot be opened by another process.

    Args:
        work: A function of a module, whose result can be pickled. Nothing else runs what an archive
            describes.
        history: The lake at the dataset's checkpoint.
        archive: The dataset's folder.
        arguments: Values that can be pickled.

    Raises:
        EventlakeError: As ``work`` does.
        StorageError: It needs more memory than a process may take, or its process died.
    """
    if not _needs_process(history, archive):
        return work(history, archive, **arguments)
    name = archive.manifest.recipe.name
    asked = (work, archive.storage.uri, archive.folder, history.trust.name, arguments)
    with (
        temporary_folder() as folder,
        task(f"working on {name} in a process of its own", 1) as advance,
    ):
        (folder / _REQUEST).write_bytes(pickle.dumps(asked))
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
        or manifest.recipe.kind == "python"
        or OWN.ledger.knows(query_statement(manifest.manifest_hash))
    ):
        return False
    reopened = can_be_reopened(storage) and not storage.uri.startswith("memory://")
    return reopened and has_interpreter() and can_bound_more()


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
            process.kill()
            process.communicate()
        if code or not (folder / _ANSWER).exists():
            errors.seek(0)
            said = errors.read()[-_SHOWN:].decode(errors="replace").strip()
            message = f"dataset {name}: the process that worked on it ended with {code}, perhaps for want of memory; it said: {said}"
            raise StorageError(message, MORE)


def main() -> None:
    """Runs what is asked in the folder that the argument names, and writes the answer there. Prints go to standard error."""
    os.dup2(2, 1)
    threading.Thread(target=_end_with_caller, daemon=True).start()
    folder = Path(sys.argv[1])
    try:
        bound_memory()
        _write(folder, succeeded=True, value=_answered(folder))
    except (MemoryError, duckdb.OutOfMemoryException):
        _write(folder, succeeded=False, value=out_of_memory("what is archived with the dataset"))
    except Exception as error:  # noqa: BLE001 - the caller raises it
        _write(folder, succeeded=False, value=error)
    sys.stderr.flush()
    os._exit(0)  # threads of the libraries are not waited for


def _end_with_caller() -> None:
    """Ends this process when its caller, who never writes, is gone."""
    sys.stdin.buffer.read()
    os._exit(1)


def _answered(folder: Path) -> Any:
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
    part.rename(folder / _ANSWER)


def has_interpreter() -> bool:
    """Whether ``sys.executable`` is a Python; it is not in a program that was frozen or that embeds Python."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def start_python(arguments: list[str], folder: Path, **streams: Any) -> subprocess.Popen[Any]:
    """Starts Python with the import path of this process, its temporary files in ``folder``.

    Raises:
        StorageError: The system starts no process.
    """
    environment = {**os.environ, "PYTHONPATH": _import_path(), "TMPDIR": str(folder)}
    # -P: a module in the current folder, which may be a stranger's lake, is not imported.
    command = [sys.executable, "-P", *arguments]
    try:
        return subprocess.Popen(command, env=environment, pass_fds=lock_to_inherit(), **streams)  # noqa: S603 - our own module
    except OSError as error:
        message = f"no process could be started: {error.strerror}"
        raise StorageError(message, errno=error.errno) from error


def _import_path() -> str:
    """Where this process finds modules. An empty or relative entry would mean the current folder of the worker."""
    return os.pathsep.join(
        path for path in sys.path if Path(path).is_absolute() and os.pathsep not in path
    )
