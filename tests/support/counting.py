"""A storage that counts what is asked of it."""

from collections import Counter


class Counted:
    """Counts the reads, listings and states of each path, and hands them on."""

    def __init__(self, storage):
        self._storage = storage
        self.reads = Counter()
        self.listed = Counter()
        self.states = Counter()

    def __getattr__(self, name):
        return getattr(self._storage, name)

    def read(self, path):
        self.reads[path] += 1
        return self._storage.read(path)

    def read_sized(self, path, size_bytes):
        self.reads[path] += 1
        return self._storage.read_sized(path, size_bytes)

    def list(self, prefix):
        self.listed[prefix] += 1
        return self._storage.list(prefix)

    def state(self, path):
        self.states[path] += 1
        return self._storage.state(path)

    def clear(self):
        self.states.clear()
        self.reads.clear()
        self.listed.clear()
