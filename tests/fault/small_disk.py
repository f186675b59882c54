"""A local disk with few blocks: what is created takes whole blocks, what is deleted gives them back, and a full disk is told as one."""

from eventlake.storage import LocalStorage, StorageFullError

BLOCK = 4096


class SmallDisk(LocalStorage):
    """A folder on a disk with ``blocks`` blocks; more than enough until ``fill`` leaves so many free."""

    def __init__(self, root):
        super().__init__(root)
        self.free = None

    def fill(self, free=0):
        """Leaves ``free`` blocks."""
        self.free = free

    def create(self, path, data):
        blocks = -(-len(data) // BLOCK)
        if self.free is not None and not self.exists(path):
            if blocks > self.free:
                message = f"could not create {path}: no room"
                raise StorageFullError(message, path=path)
            self.free -= blocks
        super().create(path, data)

    def replace(self, path, data):
        if self.free is not None and not self.exists(path):
            if not self.free:
                message = f"could not replace {path}: no room"
                raise StorageFullError(message, path=path)
            self.free -= 1
        super().replace(path, data)

    def delete(self, path):
        if self.free is not None and self.exists(path):
            self.free += -(-len(self.read(path)) // BLOCK)
        super().delete(path)
