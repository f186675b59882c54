"""A store in which other writers are first."""

import eventlake as el
from eventlake.core import layout
from eventlake.storage import MemoryStorage


class Rivalled(MemoryStorage):
    """Memory in which ``rivals`` commit one by one, each just before our next commit is created."""

    def __init__(self):
        super().__init__()
        self.rivals = []
        self.inside = False

    def create(self, path, data):
        """As ``MemoryStorage``, but a rival is first while there are rivals left."""
        if layout.commit_version(path) is not None and self.rivals and not self.inside:
            self.inside = True
            try:
                el.open(self).append(self.rivals.pop(0))
            finally:
                self.inside = False
        super().create(path, data)


class BetweenSegments(MemoryStorage):
    """Memory in which what is in ``met`` happens one by one, each after a segment was stored."""

    def __init__(self):
        super().__init__()
        self.met = []

    def create(self, path, data):
        """As ``MemoryStorage``; then the next of ``met`` happens."""
        super().create(path, data)
        if path.startswith("segments/") and self.met:
            self.met.pop(0)()
