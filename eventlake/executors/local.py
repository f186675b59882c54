"""Runs the tasks of a build in local worker processes, and replaces those that die.

A worker is ``python -m eventlake.executors.worker``. It reads one task a line and answers with one
line. This does not depend on how the calling program was started (unlike ``multiprocessing``), and
a worker whose caller is gone ends after its task.
"""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from eventlake.datasets.building.buckets import Task
from eventlake.datasets.building.isolated import start_python
from eventlake.errors import (
    CorruptionError,
    EventlakeError,
    InvalidProjectionError,
    MissingDependencyError,
    NotFoundError,
    StorageError,
)
from eventlake.storage import Storage
from eventlake.storage.scratch import temporary_folder

TRIES = 3
"""How often a task is tried if its worker dies."""
SLOW_SECONDS = 10.0
_SLOW_FACTOR = 3
_IDLE_SECONDS = 0.1
_SHOWN = 2_000


class Processes:
    """Runs tasks in processes of this machine.

    Args:
        count: Number of processes.
        slow_seconds: A task that runs longer, and three times the median, is also given to an idle
            worker.
    """

    def __init__(self, count: int, slow_seconds: float = SLOW_SECONDS) -> None:
        self._count = count
        self._slow_seconds = slow_seconds

    def run(self, storage: Storage, tasks: Sequence[Task]) -> Iterator[int]:
        """See ``Executor.run``."""
        del storage  # each worker opens the lake by the URI in its task
        if tasks:
            with temporary_folder() as folder:
                yield from self._run_in(folder, tasks)

    def _run_in(self, folder: Path, tasks: Sequence[Task]) -> Iterator[int]:
        pool = _Pool(tasks, folder, self._slow_seconds)
        threads = [
            # A thread for each process: it only waits for answers.
            threading.Thread(target=pool.serve, name="eventlake-worker", daemon=True)
            for _ in range(min(self._count, len(tasks)))
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(len(tasks)):
                outcome = pool.outcomes.get()
                if isinstance(outcome, EventlakeError):
                    raise outcome
                yield outcome
        finally:
            pool.end()
            for thread in threads:
                thread.join()


class _Pool:
    """The pending and running tasks, and the workers; temporary files go to one folder."""

    def __init__(self, tasks: Sequence[Task], folder: Path, slow_seconds: float) -> None:
        self._folder = folder
        self._slow_seconds = slow_seconds
        self.outcomes: queue.SimpleQueue[int | EventlakeError] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # Tasks are taken from the end.
        self._left = list(reversed(tasks))
        self._begun: dict[int, tuple[Task, float]] = {}
        self._doubled: set[int] = set()
        self._done: set[int] = set()
        self._took: list[float] = []
        self._tries: dict[int, int] = {}
        self._workers: set[_Worker] = set()
        self._over = False

    def serve(self) -> None:
        """Keep one worker busy until no task is left."""
        worker: _Worker | None = None
        try:
            while (task := self._next()) is not None:
                worker = worker or self._start_worker()
                answer = worker.ask(task)
                if answer is None:
                    self._died(task, worker)
                    worker = None
                else:
                    self._answered(task, answer)
        except Exception as error:  # noqa: BLE001 - a thread that ends silently would be waited for
            message = f"a worker could not be run: {error}"
            self.outcomes.put(StorageError(message))
        finally:
            if worker is not None:
                worker.end()

    def _start_worker(self) -> "_Worker":
        # Starting takes a while, so the lock is not held: other workers must be able to answer.
        worker = _Worker(self._folder)
        with self._lock:
            self._workers.add(worker)
            if self._over:
                worker.kill()
        return worker

    def _next(self) -> Task | None:
        """The next task; None when all are done. A running one may come back if its worker dies."""
        while True:
            with self._lock:
                if self._over:
                    return None
                task = self._left.pop() if self._left else self._slow()
                if task is not None:
                    # The start of the first run counts, if a slow task runs twice.
                    self._begun.setdefault(task.bucket, (task, time.monotonic()))
                    return task
                if not self._begun:
                    return None
            time.sleep(_IDLE_SECONDS)

    def _slow(self) -> Task | None:
        """A running task that is much slower than the others and does not run twice already."""
        if not self._took:
            return None
        # Both runs store the same file, so it does not matter which one ends first.
        usual = sorted(self._took)[len(self._took) // 2]
        for bucket, (task, since) in self._begun.items():
            if bucket not in self._doubled and time.monotonic() - since > max(
                self._slow_seconds, _SLOW_FACTOR * usual
            ):
                self._doubled.add(bucket)
                return task
        return None

    def _answered(self, task: Task, answer: dict[str, Any]) -> None:
        with self._lock:
            first = task.bucket not in self._done and not self._over
            self._done.add(task.bucket)
            _, since = self._begun.pop(task.bucket, (task, time.monotonic()))
            self._took.append(time.monotonic() - since)
        if first:
            self.outcomes.put(_error_of(answer) if "error" in answer else task.bucket)

    def _died(self, task: Task, worker: "_Worker") -> None:
        last = worker.end()
        with self._lock:
            self._workers.discard(worker)
            if self._over or task.bucket in self._done:
                return
            self._begun.pop(task.bucket, None)
            self._tries[task.bucket] = self._tries.get(task.bucket, 0) + 1
            if self._tries[task.bucket] < TRIES:
                self._left.append(task)
                return
        message = (
            f"bucket {task.bucket} of {task.name}: {TRIES} workers died; "
            f"last output: {last or 'none'}"
        )
        hint = (
            "they may have had too little memory: build with more buckets, or fewer workers. "
            "Finished buckets are kept."
        )
        self.outcomes.put(StorageError(message, hint, bucket=task.bucket))

    def end(self) -> None:
        """Kill all workers, including busy ones."""
        with self._lock:
            self._over = True
            workers = list(self._workers)
        for worker in workers:
            worker.kill()


class _Worker:
    """One process."""

    def __init__(self, folder: Path) -> None:
        self._errors: IO[bytes] = TemporaryFile(dir=folder)  # noqa: SIM115 - closed by ``end``
        self._process = start_python(
            ["-m", "eventlake.executors.worker"],
            folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, task: Task) -> dict[str, Any] | None:
        """The worker's answer; None if it died."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - both are pipes
        try:
            self._process.stdin.write(task.line() + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            return dict(json.loads(line)) if line else None
        # A broken pipe, or half a line: the worker died.
        except (OSError, ValueError):
            return None

    def end(self) -> str:
        """Wait for the process to end, and return the end of its standard error."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()
        with self._errors as errors:
            errors.seek(0)
            return errors.read()[-_SHOWN:].decode(errors="replace").strip()

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()


def _error_of(answer: dict[str, Any]) -> EventlakeError:
    """The error in a worker's answer; ``StorageError`` for kinds that need more than a message."""
    kinds = {
        InvalidProjectionError.kind: InvalidProjectionError,
        StorageError.kind: StorageError,
        CorruptionError.kind: CorruptionError,
    }
    kinds |= {
        NotFoundError.kind: NotFoundError,
        MissingDependencyError.kind: MissingDependencyError,
    }
    return kinds.get(answer["error"], StorageError)(answer["message"], answer["hint"])
