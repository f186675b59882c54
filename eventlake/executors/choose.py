"""Chooses the executor of a build."""

from eventlake.datasets.building.buckets import Executor, InProcessExecutor
from eventlake.errors import InvalidInputError
from eventlake.executors.local import Processes
from eventlake.storage import Storage, can_be_reopened, is_in_memory


def executor_for(storage: Storage, workers: int) -> Executor:
    """The executor of a build with this many workers.

    A lake in memory is built in this process, however many there are: no other can open it.

    Raises:
        InvalidInputError: Workers could not open the storage.
    """
    if workers == 1 or is_in_memory(storage):
        return InProcessExecutor()
    if not can_be_reopened(storage):
        kind = type(storage).__name__
        message = (
            f"workers={workers} opens the lake by its URI in other processes; "
            f"that of a {kind} is only a name: {storage.uri}"
        )
        raise InvalidInputError(message, "build with workers=1.", workers=workers, storage=kind)
    return Processes(workers)
