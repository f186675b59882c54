"""A process that is forked after Polars has started its threads: refused by name, where it would wait for ever."""

import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

import eventlake as el
from eventlake.errors import ForkedProcessError

EVENT = {"source": "s", "type": "t", "subject": "/x", "data": {"a": 1}}
VERBS = {
    "open": lambda lake, folder: el.open(folder),
    "append": lambda lake, folder: lake.append(
        [EVENT | {"id": f"child {n}"} for n in range(1_000)]
    ),
    "snapshot": lambda lake, folder: lake.snapshot(),
    "build": lambda lake, folder: lake.build(
        el.Projection.sql(
            "n", "SELECT subject, count(*) AS n FROM events GROUP BY subject", key=["subject"]
        )
    ),
    "verify": lambda lake, folder: lake.verify(),
}
REFUSED, DONE, FAILED = 3, 4, 5


def code_of_child(work):
    """The exit code of a forked process that does ``work``; it is killed if it takes longer than a minute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of threads that are left behind
        child = os.fork()
    if not child:
        code = FAILED
        try:
            work()
            code = DONE
        except ForkedProcessError:
            code = REFUSED
        finally:
            os._exit(code)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return pytest.fail("the child hangs")


@pytest.mark.parametrize("verb", VERBS)
def test_a_process_forked_after_a_lake_was_used_is_refused_by_name(tmp_path, verb):
    lake = el.create(tmp_path / "lake", "o")
    lake.append([EVENT | {"id": "1"}])
    assert lake.snapshot().scan().collect().height == 1
    assert code_of_child(lambda: VERBS[verb](lake, tmp_path / "lake")) == REFUSED
    # Who forked is not refused.
    lake.append([EVENT | {"id": "2"}])


def test_a_child_of_a_forked_child_is_refused_too(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.append([EVENT | {"id": "1"}])

    def grandchild():
        code = code_of_child(lambda: el.open(tmp_path / "lake"))
        os._exit(code)

    assert code_of_child(grandchild) == REFUSED


def test_a_process_forked_before_a_lake_is_used_reads_and_writes(tmp_path):
    script = """
import os, sys, eventlake as el
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
lake = el.create(sys.argv[1], "o")
lake.append([{"id": str(n), "source": "s", "type": "t"} for n in range(1000)])
os._exit(0 if lake.snapshot().scan().collect().height == 1000 else 1)
"""
    assert (
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "lake")], check=False, timeout=60
        ).returncode
        == 0
    )
