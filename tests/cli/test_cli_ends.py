"""How a command ends: its exit code is its own, whatever the machine, the reader of its output or a signal does."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest

import eventlake as el
from eventlake.cli import main
from eventlake.core import layout
from eventlake.datasets.building import build_once
from eventlake.errors import InvalidProjectionError
from eventlake.public_calls import verb
from eventlake.storage import LocalStorage
from tests.scope import some

COMMAND = [sys.executable, "-c", "from eventlake.cli import main; main()"]
SLOW = """SELECT b.sequence AS n, count(*) AS c FROM events a JOIN events b ON (a.sequence * 7919) % 1000 <= b.sequence % 1000
JOIN events c ON c.sequence % 600 <= a.sequence % 7 GROUP BY b.sequence"""


@pytest.fixture
def lake(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.append(
        [{"id": str(n), "source": "s", "type": "t", "subject": f"/x/{n % 9}"} for n in range(3_000)]
    )
    return lake


def defined(folder, toml, **files):
    folder.mkdir()
    (folder / "dataset.toml").write_text(toml)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return str(folder)


def python(folder, source):
    return defined(folder, 'name = "x"\nkey = ["subject"]\npython = "p.py:f"\n', p__py=source)


def claims(root):
    return list(root.glob("recipes/*/*.claim"))


def run(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def started(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


@pytest.mark.parametrize("as_json", [False, pytest.param(True, marks=pytest.mark.thorough)])
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.thorough),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.thorough),
    ],
)
def test_a_signal_in_a_build_gives_up_the_claim_and_is_the_exit_code(
    lake, tmp_path, number, code, as_json
):
    folder = defined(tmp_path / "slow", 'name = "slow"\nsql = "q.sql"\nkey = ["n"]\n', q__sql=SLOW)
    options = ["--json"] if as_json else []
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = started(
        "build",
        folder,
        "--lake",
        lake.uri,
        "--no-lock",
        *options,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    while not claims(tmp_path / "lake"):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b"")
    said = f"stopped by {signal.Signals(number).name}; nothing was half-written"
    if as_json:
        assert json.loads(err) == {"error": "stopped", "message": said, "hint": None, "facts": {}}
    else:
        assert err.decode() == f"error: {said}\n"
    assert claims(tmp_path / "lake") == []
    assert list(temporary.iterdir()) == []
    assert lake.datasets() == []


def test_a_command_that_is_stuck_in_native_code_ends_on_a_signal_and_gives_up_its_claims(tmp_path):
    """A main thread that blocks the signal stands for a library that does not come back."""
    path = layout.claim_path("0" * 64, 1)
    program = f"""
import ctypes, signal, threading
from eventlake.cli.stopping import stoppable
from eventlake.datasets.building import build_once
from eventlake.storage import LocalStorage
from tests.scope import some
from eventlake.storage.scratch import scratch
scratch()
storage = LocalStorage({str(tmp_path)!r})
storage.create({path!r}, build_once._lease_text(0))
build_once._held_leases.add(build_once._Lease(storage, {path!r}, 1))
with stoppable(lambda stopped: f"{{stopped}}\\n"):
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
    threading.Timer(1, print, ("ready",), {{"flush": True}}).start()
    ctypes.CDLL(None).sleep(100)
"""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        assert len(list(temporary.iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.decode()) == (
        143,
        "stopped by SIGTERM; nothing was half-written\n",
    )
    assert claims(tmp_path) == []
    assert list(temporary.iterdir()) == []


def test_ctrl_c_in_a_query_is_a_keyboard_interrupt_in_python(lake):
    """As DuckDB tells it, by whichever way a query is run."""
    program = f"""
import os, signal, threading, eventlake as el
lake = el.open({lake.uri!r})
for work in (lambda: lake.snapshot().sql({SLOW!r}), lambda: lake.build(el.Projection.sql("slow", {SLOW!r}, key=["n"], level="fixed"))):
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        work()
    except KeyboardInterrupt:
        print("KeyboardInterrupt")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, "KeyboardInterrupt\nKeyboardInterrupt\n")


def test_an_interrupted_query_of_duckdb_is_told_as_a_keyboard_interrupt():
    @verb
    def fails(message):
        raise RuntimeError(message)

    with pytest.raises(KeyboardInterrupt):
        fails("Query interrupted")
    with pytest.raises(RuntimeError, match="another"):
        fails("another")


def test_a_claim_of_a_dead_process_of_this_machine_is_not_waited_for(lake):
    projection = el.Projection.sql(
        "p", "SELECT subject, count(*) AS n FROM events GROUP BY subject", key=["subject"]
    )
    recipe_hash = lake.build(projection).recipe_hash
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(build_once._lease_text(0)) | {"process": int(dead.stdout)}
    storage = LocalStorage(lake.uri)
    storage.create(layout.claim_path(recipe_hash, 1), json.dumps(said).encode())
    began = time.monotonic()
    lake.build(projection, force=True)
    assert time.monotonic() - began < build_once.LEASE_TIMING.patience_seconds


def test_a_wait_says_who_is_waited_for_and_since_when(lake, tmp_path, caplog):
    projection = el.Projection.sql(
        "p", "SELECT subject, count(*) AS n FROM events GROUP BY subject", key=["subject"]
    )
    shadow = el.open(lake.uri)
    recipe_hash = shadow.build(projection).recipe_hash
    for path in (tmp_path / "lake" / "builds").rglob("*"):
        if path.is_file():
            path.unlink()
    for path in (tmp_path / "lake" / "recipes").rglob("*.made"):
        path.unlink()
    storage = LocalStorage(lake.uri)
    path = layout.claim_path(recipe_hash, 1)
    storage.create(path, build_once._lease_text(0, since=1_767_225_600_000_000))
    threading.Timer(2.5, storage.delete, (path,)).start()
    lake.build(projection)
    (record,) = [
        one for one in caplog.records if one.name == "eventlake.datasets.building.build_once"
    ]
    assert record.levelname == "WARNING"
    assert f"waiting for p, which process {os.getpid()} on " in record.getMessage()
    assert "builds since 2026-01-01T00:00:00Z" in record.getMessage()


@pytest.mark.parametrize(
    "claim",
    [
        b"",
        b"7",
        b"null",
        b"[1]",
        b'{"machine": "\x1b[31m", "process": 1, "since": 0}',
        b'{"machine": "m", "process": true, "since": 1e400}',
    ],
)
def test_a_claim_that_says_something_else_is_another_processs(claim):
    assert build_once._describe_holder(claim) == "another process builds"
    assert not build_once._is_dead(claim)


@pytest.mark.parametrize(
    "source",
    [
        "import sys\ndef f(snapshot):\n  sys.exit(0)\n",
        "raise SystemExit\ndef f(snapshot):\n  pass\n",
        "def end(s):\n  raise SystemExit(0)\ndef f(snapshot):\n  return snapshot.scan(columns=['subject']).map_batches(end)\n",
    ],
    ids=["called", "loaded", "collected"],
)
def test_a_projection_that_exits_is_an_error_with_its_name(lake, tmp_path, capsys, source):
    level = 'level = "unproven"\n'
    folder = defined(
        tmp_path / "exits",
        f'name = "x"\nkey = ["subject"]\npython = "p.py:f"\n{level}',
        p__py=source,
    )
    code, out, err = run(capsys, "build", folder, "--lake", lake.uri, "--no-lock", "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["error"] == "invalid-projection"
    assert "SystemExit" in err or "Exit" in err
    assert lake.datasets() == []


def test_a_schema_check_that_exits_is_an_error(lake, tmp_path):
    import pandera.polars as pa  # noqa: PLC0415

    def ends(_):
        raise SystemExit

    schema = pa.DataFrameSchema(
        {"subject": pa.Column(str), "n": pa.Column(int)}, checks=pa.Check(ends)
    )
    projection = el.Projection.sql(
        "p",
        "SELECT subject, count(*) AS n FROM events GROUP BY subject",
        key=["subject"],
        schema=schema,
    )
    with pytest.raises(
        InvalidProjectionError, match="projection p: a check of its schema ended the program"
    ):
        lake.build(projection)
    assert lake.datasets() == []


def test_what_a_projection_prints_is_no_part_of_json(lake, tmp_path, capsys):
    source = """
import polars as pl
print("loaded")
def f(snapshot):
  print("called")
  return snapshot.scan().group_by("subject").agg(pl.len().cast(pl.Int64).alias("n"))
"""
    code, out, err = run(
        capsys,
        "build",
        python(tmp_path / "prints", source),
        "--lake",
        lake.uri,
        "--no-lock",
        "--json",
    )
    assert code == 0
    assert json.loads(out)["rows"] == 9
    assert "loaded" in err
    assert "called" in err


def test_known_ids_sent_again_are_counted_and_not_all_printed(lake, tmp_path, capsys):
    again = tmp_path / "again.ndjson"
    again.write_text(
        "".join(
            json.dumps({"id": str(n), "source": "s", "type": "t", "subject": f"/x/{n % 9}"}) + "\n"
            for n in range(3_000)
        )
    )
    code, out, err = run(capsys, "append", lake.uri, again, "--json")
    said = json.loads(err)
    assert (code, out, said["problem_count"], len(said["problems"])) == (1, "", 3_000, 100)
    assert said["problems"][99]["row"] == 99
    assert len(err) < 30_000


USAGE = [
    "gc LAKE --older-than-days abc",
    "show",
    "nope",
    "show LAKE --nope",
    "append LAKE",
    "tag LAKE name",
    "schema",
    "schema nope",
    "build a b",
]


@pytest.mark.parametrize("command", USAGE)
def test_a_usage_error_is_json_where_json_is_asked_for(lake, capsys, command):
    words = command.replace("LAKE", lake.uri).split()
    code, out, err = run(capsys, *words, "--json")
    said = json.loads(err)
    assert (code, out, said["error"], bool(said["message"])) == (2, "", "usage", True)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: eventlake")


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "LAKE", "--events"],
        ["log", "LAKE", "--json"],
        ["show", "LAKE", "--events", "--json"],
        ["--help"],
    ],
)
def test_a_reader_that_has_seen_enough_is_no_failure(lake, arguments):
    words = [lake.uri if word == "LAKE" else word for word in arguments]
    with started(*words) as process:
        process.stdout.read(1)
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(60), err) == (0, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", some(["show LAKE", "log LAKE --json", "verify LAKE"], 1))
def test_a_command_that_is_started_without_standard_streams_does_its_work(lake, words, closed):
    command = " ".join(map(shlex.quote, [*COMMAND, *words.replace("LAKE", lake.uri).split()]))
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {command} {closed}"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", ""))


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"PYTHONIOENCODING": "ascii"}, marks=pytest.mark.thorough),
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_output_is_utf8_in_whatever_locale(lake, environment):
    lake.append([{"id": "é", "source": "s", "type": "t"}])
    for words in (["show", lake.uri, "--events"], ["log", lake.uri], ["show", lake.uri]):
        done = subprocess.run(
            [*COMMAND, *words],
            capture_output=True,
            env={**os.environ, **environment},
            timeout=100,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode()
        assert words[-1] != "--events" or '"id":"é"' in done.stdout.decode().splitlines()[
            -1
        ].replace(" ", "")


def test_events_from_a_closed_standard_input_are_refused(lake):
    command = " ".join(map(shlex.quote, [*COMMAND, "append", lake.uri, "-"]))
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {command} <&-"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: expected data on standard input, which is closed\n")


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version  # noqa: PLC0415

    assert run(capsys, "--version") == (0, f"eventlake {version('eventlake')}\n", "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["show", "LAKE"], 0),
        (["show", "LAKE", "--at", "9999999"], 1),
        (["show"], 2),
        (["show", "LAKE", "--json"], 0),
    ],
)
def test_a_process_ends_with_its_code_and_all_its_output(lake, words, code):
    process = started(*[lake.uri if word == "LAKE" else word for word in words])
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert (out if code == 0 else err).endswith(b"\n")


def test_what_was_registered_for_the_exit_is_done_and_threads_are_waited_for(lake, tmp_path):
    program = f"""
import atexit, sys, threading, time
from eventlake.cli import main
atexit.register(lambda: open({str(tmp_path / "atexit")!r}, "w").close())
threading.Thread(target=lambda: (time.sleep(0.5), open({str(tmp_path / "thread")!r}, "w").close())).start()
sys.argv = ["eventlake", "show", {lake.uri!r}, "--json"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, json.loads(done.stdout)["watermark"]) == (0, 3_000)
    assert (tmp_path / "atexit").exists()
    assert (tmp_path / "thread").exists()
