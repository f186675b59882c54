"""The members of the storage port that mean nothing to a store without folders and files."""

from contextlib import AbstractContextManager, nullcontext


class Folderless:
    """A store that is not a file system, such as an object store."""

    def sync(self, folder: str) -> None:
        """Do nothing: an object that can be seen is as durable as it will ever be."""

    def turn(self, path: str) -> AbstractContextManager[None]:
        """Do nothing: such stores have no locks; writers that lose a race retry."""
        del path
        return nullcontext()

    def locate(self, path: str) -> str | None:
        """Return None: engines are handed the bytes."""
        del path
        return None
