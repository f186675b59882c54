"""Hypothesis as this suite runs it: the same examples every time, no deadline, because a busy machine is no bug."""

import pytest
from hypothesis import HealthCheck, settings

from eventlake.cli.main import main
from eventlake.testing.s3 import s3_server

settings.register_profile("eventlake", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("eventlake")


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
