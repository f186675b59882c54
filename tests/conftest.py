"""Hypothesis as this suite runs it, the cases that a quick run takes, and fixtures for everyone.

Hypothesis draws the same examples every time and has no deadline: a busy machine is no bug.
"""

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from eventlake.cli.application import main
from eventlake.testing.s3 import s3_server
from tests.scope import EVERY_CASE, QUICK, THOROUGH, examples, sample

settings.register_profile(
    "eventlake",
    max_examples=examples(50),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("eventlake")

# What this suite finds to be true is remembered in a folder of its own; a test about a stranger's
# lake takes another one.
os.environ["EVENTLAKE_CACHE"] = tempfile.mkdtemp(prefix="eventlake-tests-")
atexit.register(shutil.rmtree, os.environ["EVENTLAKE_CACHE"], ignore_errors=True)


_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - pytest makes a private folder in it
_ENOUGH_BYTES = 4 << 30


def pytest_configure():
    """Keep temporary files in memory in a quick run, which would otherwise wait for the disk."""
    if (
        QUICK
        and "PYTEST_DEBUG_TEMPROOT" not in os.environ
        and os.access(_SHARED_MEMORY, os.W_OK)
        and shutil.disk_usage(_SHARED_MEMORY).free > _ENOUGH_BYTES
    ):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = _SHARED_MEMORY


def pytest_collection_modifyitems(config, items):
    """Puts documents first; leaves out of a quick run what is thorough and most cases of grids."""
    # The blocks of a document build on each other. A worker that has nothing left steals from the
    # end of what another has to run, and would tear a document that stands there.
    items.sort(key=lambda item: item.path.suffix != ".md")
    if not QUICK:
        return
    left_out = {item for item in items if item.get_closest_marker(THOROUGH)}
    grids = {}
    for item in items:
        if (
            item not in left_out
            and hasattr(item, "callspec")
            and not item.get_closest_marker(EVERY_CASE)
        ):
            grids.setdefault((item.path, item.nodeid.partition("[")[0]), []).append(item)
    for grid in grids.values():
        kept = sample([item.callspec.indices for item in grid])
        left_out |= set(grid) - {grid[position] for position in kept}
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def stranger(tmp_path_factory, monkeypatch):
    """Makes this process somebody who has never seen any lake: what others wrote is a stranger's from now on."""

    def become():
        monkeypatch.setenv("EVENTLAKE_CACHE", str(tmp_path_factory.mktemp("cache")))

    return become


@pytest.fixture
def run(capsys):
    """Runs a command in this process: its exit code, and what it wrote to standard output and to standard error."""

    def command(*arguments):
        capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as ended:
            code = ended.code
        return (code, *capsys.readouterr())

    return command


@pytest.fixture
def s3(monkeypatch):
    """A small S3 server on loopback, named in the environment."""
    with s3_server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
