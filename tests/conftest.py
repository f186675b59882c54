"""Hypothesis as this suite runs it: the same examples every time, no deadline, because a busy machine is no bug."""

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from eventlake.cli.main import main
from eventlake.testing.s3 import s3_server

settings.register_profile(
    "eventlake",
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("eventlake")

# What this suite finds to be true is remembered in a folder of its own; a test about a stranger's
# lake takes another one.
os.environ["EVENTLAKE_CACHE"] = tempfile.mkdtemp(prefix="eventlake-tests-")
atexit.register(shutil.rmtree, os.environ["EVENTLAKE_CACHE"], ignore_errors=True)


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
