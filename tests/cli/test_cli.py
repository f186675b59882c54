"""The command line: every command, with and without --json, its exit code, and what goes to stdout and stderr."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import eventlake as el
import eventlake.lake as lake_module
from eventlake.cli.application import app, main
from eventlake.projections.on_duckdb import run as duckdb_runner
from tests.support.dataset_fixtures import POLARS_TOTALS, definition, events, make_lake

COMMANDS = [
    "init",
    "append",
    "import",
    "log",
    "show",
    "verify",
    "clock",
    "compact",
    "gc",
    "build",
    "reproduce",
    "diff",
    "explain",
    "datasets",
    "datasets rm",
    "tag",
    "prune",
    "demo",
]
HEX = re.compile(r"[0-9a-f]{64}")


class Done:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        return json.loads(self.err)


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command line in this process."""
    monkeypatch.delenv("EVENTLAKE_LAKE", raising=False)

    def command(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return command


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake")


@pytest.fixture
def counts(tmp_path):
    text = "SELECT subject AS loan, count(*) AS n FROM events GROUP BY subject"
    return definition(
        tmp_path / "counts",
        'name = "counts"\nkey = ["loan"]\nsql = "counts.sql"\nlake = "../lake"\n',
        counts__sql=text,
    )


def ndjson(count=12, first=0):
    return "".join(
        json.dumps(event | {"time": event["time"].isoformat(), "data": json.loads(event["data"])})
        + "\n"
        for event in events(count, first)
    )


def process(*arguments, environment=None, stdin=b""):
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(
        [sys.executable, "-c", "from eventlake.cli import main; main()", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        env=variables,
    )


# Help and usage


def test_the_commands_are_these():
    assert [
        command.name or command.callback.__name__ for command in app.registered_commands
    ] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_its_arguments_and_its_options_have_help(run, command):
    parameters = [
        each for each in typer.main.get_command(app).commands[command].params if each.name != "help"
    ]
    assert [each.name for each in parameters if not each.help] == []
    done = run(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f" {command} [OPTIONS]" in done.out
    assert "as_json" in [each.name for each in parameters]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command):
    (found,) = [
        each for each in app.registered_commands if (each.name or each.callback.__name__) == command
    ]
    assert found.callback.__doc__.strip().endswith(".")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["init"],
        ["init", "x"],
        ["append", "x"],
        ["import", "x"],
        ["import", "x", "y"],
        ["log"],
        ["log", "x", "--limit", "many"],
        ["show"],
        ["show", "x", "--nope"],
        ["verify"],
        ["build"],
        ["reproduce", "x"],
        ["diff", "x", "y"],
        ["datasets"],
        ["demo", "a", "b"],
        ["--nope"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_says_so_on_stderr(run, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage" in done.err
    assert list(tmp_path.iterdir()) == []


def test_no_arguments_print_help(run):
    done = run()
    assert done.code in {0, 2}
    for command in COMMANDS:
        assert command in done.out + done.err


# init and append


def test_init_makes_an_empty_lake(run, tmp_path):
    done = run("init", tmp_path / "new", "--origin", "bank.example/loans", "--json")
    assert done.code == 0
    assert done.json["origin"] == "bank.example/loans"
    assert done.json["watermark"] == 0
    assert done.json["checkpoint"] == str(el.open(tmp_path / "new").checkpoint)
    assert done.err == ""


def test_init_for_people_names_origin_and_place(run, tmp_path):
    done = run("init", tmp_path / "new", "--origin", "bank.example/loans")
    assert done.code == 0
    assert "bank.example/loans" in done.out
    assert str(tmp_path / "new") in done.out


def test_init_twice_is_refused(run, lake):
    done = run("init", lake.uri, "--origin", "x/y", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.error["error"] == "already-exists"


@pytest.mark.parametrize("origin", ["", "a b", "a+b"])
def test_init_refuses_an_origin_that_names_nothing(run, tmp_path, origin):
    done = run("init", tmp_path / "new", "--origin", origin, "--json")
    assert (done.code, done.error["error"]) == (1, "invalid-input")
    assert not (tmp_path / "new").exists()


def test_append_reads_files_in_order(run, lake, tmp_path):
    (tmp_path / "a.ndjson").write_text(ndjson(3, 12))
    (tmp_path / "b.ndjson").write_text(ndjson(2, 15))
    done = run("append", lake.uri, tmp_path / "a.ndjson", tmp_path / "b.ndjson", "--json")
    assert done.code == 0
    receipts = [json.loads(line) for line in done.out.splitlines()]
    assert [(receipt["start"], receipt["stop"]) for receipt in receipts] == [(12, 15), (15, 17)]
    assert receipts[-1]["checkpoint"] == str(lake.checkpoint)
    assert all(HEX.fullmatch(receipt["commit_hash"]) for receipt in receipts)


def test_append_reads_stdin(run, lake):
    done = run("append", lake.uri, "-", stdin=ndjson(3, 12).encode())
    assert done.code == 0
    assert "appended 3 events" in done.out
    assert lake.watermark == 15


def test_append_of_nothing_is_done(run, lake):
    done = run("append", lake.uri, "-", "--json", stdin=b"\n\n")
    assert (done.code, done.json["start"], done.json["stop"], done.json["commit_hash"]) == (
        0,
        12,
        12,
        None,
    )


def test_append_of_a_bad_batch_is_refused_whole_and_lists_the_rows(run, lake):
    lines = ndjson(2, 12) + '{"id": "x"}\n'
    done = run("append", lake.uri, "-", "--json", stdin=lines.encode())
    assert (done.code, done.out) == (1, "")
    assert done.error["error"] == "invalid-events"
    assert "nothing was appended" in done.error["message"]
    assert lake.watermark == 12


def test_append_of_known_events_is_refused(run, lake):
    done = run("append", lake.uri, "-", stdin=ndjson(2, 3).encode())
    assert (done.code, done.out) == (1, "")
    assert "error: " in done.err
    assert "hint: " in done.err
    assert lake.watermark == 12


def test_append_of_a_missing_file_is_refused(run, lake, tmp_path):
    done = run("append", lake.uri, tmp_path / "nope.ndjson", "--json")
    assert (done.code, done.out) == (1, "")
    assert "nope.ndjson" in done.error["message"]


# log, show, verify


@pytest.mark.parametrize(
    "arguments",
    [
        ["log"],
        ["show"],
        ["show", "--events"],
        ["verify"],
        ["datasets"],
        ["append", "-"],
        ["reproduce", "abcdef"],
    ],
    ids=" ".join,
)
def test_a_missing_lake_is_refused_in_words_and_in_json(run, tmp_path, arguments):
    command, *rest = arguments
    done = run(command, tmp_path / "nope", *rest)
    assert (done.code, done.out) == (1, "")
    assert "there is no lake" in done.err
    done = run(command, tmp_path / "nope", *rest, "--json")
    assert (done.code, done.out, done.error["error"]) == (1, "", "not-found")
    assert set(done.error) == {"error", "message", "hint", "facts"}
    assert not (tmp_path / "nope").exists()


def test_log_lists_commits_newest_first(run, lake):
    done = run("log", lake.uri, "--json")
    assert done.code == 0
    assert [(commit["version"], commit["start"], commit["stop"]) for commit in done.json] == [
        (1, 5, 12),
        (0, 0, 5),
    ]
    assert done.json[0]["commit_hash"] == lake.log()[-1].commit_hash
    assert len(run("log", lake.uri, "--limit", 1, "--json").json) == 1
    assert len(run("log", lake.uri, "--limit", 0, "--json").json) == 2
    text = run("log", lake.uri).out
    assert text.startswith("2 commits")
    assert lake.log()[0].commit_hash[:12] in text


def test_show_tells_the_history(run, lake):
    done = run("show", lake.uri, "--json")
    assert done.json == {
        "checkpoint": str(lake.checkpoint),
        "watermark": 12,
        "root": lake.snapshot().root,
        "commit_hash": lake.log()[-1].commit_hash,
        "types": {"payment.received": 6, "loan.granted": 3, "payment.missed": 3},
    }
    assert lake.snapshot().root in run("show", lake.uri).out


@pytest.mark.parametrize("form", ["watermark", "checkpoint", "commit", "prefix"])
def test_show_takes_every_form_of_at(run, lake, form):
    snapshot = lake.snapshot(5)
    at = {
        "watermark": "5",
        "checkpoint": str(snapshot.checkpoint),
        "commit": snapshot.commit_hash,
        "prefix": snapshot.commit_hash[:12],
    }[form]
    assert run("show", lake.uri, "--at", at, "--json").json["checkpoint"] == str(
        snapshot.checkpoint
    )


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        ("13", "not-found"),
        ("yesterday", "invalid-input"),
        ("2020-01-01", "invalid-input"),
        ("0" * 12, "not-found"),
    ],
)
def test_show_refuses_what_is_no_history(run, lake, at, kind):
    done = run("show", lake.uri, "--at", at, "--json")
    assert (done.code, done.out, done.error["error"]) == (1, "", kind)


def test_events_shown_are_accepted_by_another_lake_with_the_same_root(run, lake, tmp_path):
    shown = run("show", lake.uri, "--events")
    assert (shown.code, shown.err) == (0, "")
    assert len(shown.out.splitlines()) == 12
    copy = el.create(tmp_path / "copy", origin=lake.origin)
    assert run("append", copy.uri, "-", stdin=shown.out.encode()).code == 0
    assert copy.checkpoint == lake.checkpoint
    assert copy.snapshot().scan().collect().equals(lake.snapshot().scan().collect())


def test_every_attribute_survives_being_shown_and_appended(run, tmp_path):
    lake = el.create(tmp_path / "full", origin="x/y")
    full = {
        "id": 'ü"\\\u2028',
        "source": "/s",
        "type": "t.t",
        "subject": "日本",
        "time": "0001-01-01T00:00:00.000001Z",
        "datacontenttype": "application/json; charset=utf-8",
        "dataschema": "https://example.com/s",
        "correlationid": "c",
        "causationid": "d",
        "corrects": 'x"y',
        "correction": "retract",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "custom": 5,
        "other": {"deep": [1, None, True, "ä"]},
        "data": '{"z":1.00,  "a":1e5,"s":"\\u0041\\n","big":123456789012345678901234567890}',
    }
    first = {
        "id": 'x"y',
        "source": "/s",
        "type": "t.t",
        "subject": "日本",
        "time": "9999-12-31T23:59:59.999999Z",
    }
    lake.append([first, full])
    copy = el.create(tmp_path / "copy", origin="x/y")
    assert (
        run("append", copy.uri, "-", stdin=run("show", lake.uri, "--events").out.encode()).code == 0
    )
    assert copy.checkpoint == lake.checkpoint


def test_events_are_chosen_by_type_subject_and_limit(run, lake):
    def ids(*options):
        return [
            json.loads(line)["id"]
            for line in run("show", lake.uri, "--events", *options).out.splitlines()
        ]

    assert ids("--limit", 3) == ["e0", "e1", "e2"]
    assert ids("--type", "payment.missed") == ["e2", "e6", "e10"]
    assert ids("--subject", "/loan/0") == ["e0", "e5", "e10"]
    assert ids("--subject", "/loan/0", "--type", "payment.missed") == ["e10"]
    assert ids("--at", 2) == ["e0", "e1"]
    refused = run("show", lake.uri, "--events", "--type", "payment.mised")
    assert (refused.code, refused.out) == (1, "")
    assert "no event and no schema has the type 'payment.mised'" in refused.err
    assert "did you mean 'payment.missed'?" in refused.err


def test_a_choice_of_events_is_accepted_by_another_lake(run, lake, tmp_path):
    shown = run("show", lake.uri, "--events", "--type", "payment.missed")
    copy = el.create(tmp_path / "copy", origin=lake.origin)
    assert run("append", copy.uri, "-", stdin=shown.out.encode()).code == 0


def test_verify_says_what_was_checked(run, lake):
    done = run("verify", lake.uri, "--deep", "--json")
    assert done.code == 0
    assert done.json["ok"] is True
    assert (done.json["commits"], done.json["segments"], done.json["deep"]) == (2, 2, True)
    assert "nothing is wrong" in run("verify", lake.uri).out


def test_verify_of_a_damaged_lake_exits_1_and_names_the_file(run, lake):
    segment = next(Path(lake.uri, "segments").iterdir())
    segment.chmod(0o640)
    segment.write_bytes(segment.read_bytes()[:-1])
    done = run("verify", lake.uri, "--json")
    assert (done.code, done.json["ok"]) == (1, False)
    assert [problem["path"] for problem in done.json["problems"]] == [f"segments/{segment.name}"]
    done = run("verify", lake.uri)
    assert done.code == 1
    assert segment.name in done.out


def test_verify_against_a_checkpoint_in_text_or_in_a_file(run, lake, tmp_path):
    kept = str(lake.snapshot(5).checkpoint)
    (tmp_path / "kept.txt").write_text(kept + "\n")
    assert run("verify", lake.uri, "--against", kept).code == 0
    assert run("verify", lake.uri, "--against", tmp_path / "kept.txt").code == 0
    other = kept[:-64] + "0" * 64
    (tmp_path / "other.txt").write_text(other)
    for against in (other, tmp_path / "other.txt"):
        done = run("verify", lake.uri, "--against", against, "--json")
        assert (done.code, done.json["ok"]) == (1, False)
        assert "another history" in done.json["problems"][0]["message"]


def test_verify_against_notices_a_lost_newest_commit(run, lake):
    kept = str(lake.checkpoint)
    Path(lake.uri, "log", "00000000000000000001.json").unlink()
    assert run("verify", lake.uri).code == 1
    Path(lake.uri, "hint").unlink()
    assert run("verify", lake.uri).code == 0
    done = run("verify", lake.uri, "--against", kept, "--json")
    assert done.code == 1
    assert any("only 5" in problem["message"] for problem in done.json["problems"])


@pytest.mark.parametrize("against", ["", "nope", "x/y 5", "x/y 5@zz"])
def test_verify_against_nonsense_is_refused(run, lake, against):
    done = run("verify", lake.uri, "--against", against, "--json")
    assert (done.code, done.out, done.error["error"]) == (1, "", "invalid-input")


@pytest.fixture
def strange(tmp_path):
    """Files that are no small documents, by what is said of them."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-a-device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(5 << 30)
    return {
        "found a pipe": "pipe",
        "found a device": "to-a-device",
        "Is a directory": "folder",
        "expected at most": "large",
        "No such": "none",
    }


@pytest.mark.parametrize(
    "problem", ["found a pipe", "found a device", "Is a directory", "expected at most", "No such"]
)
def test_a_file_that_is_no_small_document_is_refused_by_name_and_not_read(
    run, lake, tmp_path, strange, problem
):
    file = tmp_path / strange[problem]
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"a": {"type": "string"}}}')
    for arguments in (
        ("verify", lake.uri, "--against", file),
        ("schema", "register", lake.uri, "t", file),
        ("schema", "register", lake.uri, "t", schema, "--upcast", file),
    ):
        done = run(*arguments, "--json")
        assert (done.code, done.out, done.error["error"]) == (1, "", "invalid-input")
        assert problem in done.error["message"]
        assert str(file) in done.error["message"]


def test_a_schema_on_standard_input_is_read_up_to_a_bound(lake, tmp_path):
    with (tmp_path / "large").open("wb+") as file:
        file.truncate(5 << 30)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from eventlake.cli import main; main()",
                "schema",
                "register",
                lake.uri,
                "t",
                "-",
            ],
            stdin=file,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected at most 16,777,216 bytes on standard input, found more" in done.stderr


def test_verify_against_a_checkpoint_in_a_file_that_is_a_link(run, lake, tmp_path):
    (tmp_path / "kept.txt").write_text(str(lake.checkpoint))
    (tmp_path / "link").symlink_to(tmp_path / "kept.txt")
    assert run("verify", lake.uri, "--against", tmp_path / "link").code == 0


def test_verify_against_a_checkpoint_with_a_long_origin(run, tmp_path):
    lake = el.create(tmp_path / "long", origin="o" * 200)
    assert run("verify", lake.uri, "--against", str(lake.checkpoint)).code == 0


# build, datasets, reproduce


def test_build_publishes_and_tells_the_hashes(run, lake, counts):
    done = run("build", counts, "--json")
    assert done.code == 0
    (dataset,) = lake.datasets()
    assert done.json == {
        "name": "counts",
        "manifest_hash": dataset.manifest_hash,
        "content_hash": dataset.content_hash,
        "recipe_hash": dataset.recipe_hash,
        "checkpoint": str(lake.checkpoint),
        "rows": 5,
        "engine": "duckdb",
        "level": "exact",
        "path": dataset.path,
    }
    text = run("build", counts).out
    assert dataset.manifest_hash in text
    assert dataset.content_hash in text


def test_the_lake_is_named_by_option_then_environment_then_definition(
    run, lake, counts, tmp_path, monkeypatch
):
    named = {
        name: make_lake(tmp_path / name, [(0, size)])
        for name, size in (("option", 3), ("environment", 4))
    }
    monkeypatch.setenv("EVENTLAKE_LAKE", named["environment"].uri)
    by_option = run("build", counts, "--no-lock", "--lake", named["option"].uri, "--json")
    by_environment = run("build", counts, "--no-lock", "--json")
    monkeypatch.delenv("EVENTLAKE_LAKE")
    by_definition = run("build", counts, "--no-lock", "--json")
    marks = [
        int(done.json["checkpoint"].split()[1].split("@")[0])
        for done in (by_option, by_environment, by_definition)
    ]
    assert marks == [3, 4, 12]


def test_build_without_any_lake_is_refused(run, tmp_path):
    folder = definition(
        tmp_path / "d", 'name = "d"\nkey = ["k"]\nsql = "q.sql"\n', q__sql="SELECT 1 AS k"
    )
    done = run("build", folder, "--json")
    assert (done.code, done.out, done.error["error"]) == (1, "", "invalid-input")
    assert "EVENTLAKE_LAKE" in done.error["hint"]


def test_build_refuses_a_broken_definition_and_publishes_nothing(run, lake, counts):
    (counts / "counts.sql").write_text("SELECT nope AS loan FROM events")
    done = run("build", counts, "--json")
    assert (done.code, done.out, done.error["error"]) == (1, "", "invalid-projection")
    assert "nope" in done.error["message"]
    assert not (counts / "dataset.lock").exists()
    assert lake.datasets() == []


def test_build_at_an_earlier_watermark(run, lake, counts):
    assert run("build", counts, "--at", 5, "--json").json["checkpoint"] == str(
        lake.snapshot(5).checkpoint
    )


def test_build_locked_with_at_is_refused(run, counts, lake):
    assert run("build", counts).code == 0
    assert run("build", counts, "--locked", "--at", 5).code == 2


def test_build_is_idempotent(run, lake, counts):
    first, second = run("build", counts, "--json"), run("build", counts, "--json")
    assert first.json == second.json
    assert len(lake.datasets()) == 1


def test_datasets_lists_by_name_then_watermark(run, lake, counts):
    assert run("datasets", lake.uri, "--json").json == []
    assert run("datasets", lake.uri).out.startswith("0 datasets")
    for at in (12, 5):
        assert run("build", counts, "--no-lock", "--at", at).code == 0
    found = run("datasets", lake.uri, "--json").json
    assert [dataset["checkpoint"].split("@")[0].split()[1] for dataset in found] == ["5", "12"]
    assert found[0]["manifest_hash"][:12] in run("datasets", lake.uri).out


def test_reproduce_prints_both_hashes(run, lake, counts):
    built = run("build", counts, "--json").json
    done = run("reproduce", lake.uri, built["manifest_hash"][:8], "--json")
    assert done.code == 0
    assert done.json == {
        "identical": True,
        "manifest_hash": built["manifest_hash"],
        "content_hash_then": built["content_hash"],
        "content_hash_now": built["content_hash"],
        "differences": [],
        "causes": [],
        "command": done.json["command"],
    }
    assert "pip install duckdb==" in done.json["command"]
    assert run("reproduce", lake.uri, built["manifest_hash"]).out.count(built["content_hash"]) == 2


def test_reproduce_of_a_tampered_lake_exits_1_and_names_the_segment(run, lake, counts):
    built = run("build", counts, "--json").json
    segment = next(Path(lake.uri, "segments").iterdir())
    data = bytearray(segment.read_bytes())
    data[60] ^= 8
    segment.chmod(0o640)
    segment.write_bytes(data)
    done = run("reproduce", lake.uri, built["manifest_hash"], "--json")
    assert (done.code, done.out, done.error["error"]) == (1, "", "corruption")
    assert done.error["facts"]["path"] == f"segments/{segment.name}"


def test_reproduce_that_differs_exits_1(run, lake, counts, monkeypatch):
    built = run("build", counts, "--json").json
    real = duckdb_runner.run

    def shorter(*arguments, **named):
        return real(*arguments, **named).slice(1)

    monkeypatch.setattr(duckdb_runner, "run", shorter)
    done = run("reproduce", lake.uri, built["manifest_hash"], "--json")
    assert done.code == 1
    assert done.json["identical"] is False
    assert "rows: 5 then, 4 now" in done.json["differences"]
    assert "not identical" in run("reproduce", lake.uri, built["manifest_hash"]).out


def test_reproduce_of_python_needs_trust(run, lake, tmp_path):
    folder = definition(
        tmp_path / "totals",
        'name = "totals"\nkey = ["k"]\npython = "totals.py:totals"\n',
        totals__py=POLARS_TOTALS,
    )
    built = run("build", folder, "--lake", lake.uri, "--json").json
    done = run("reproduce", lake.uri, built["manifest_hash"], "--json")
    assert (done.code, done.error["error"]) == (1, "invalid-input")
    assert (
        run("reproduce", lake.uri, built["manifest_hash"], "--trust", "--json").json["identical"]
        is True
    )


# The environment


def test_a_failing_environment_exits_3(run, tmp_path):
    (tmp_path / "file").write_text("x")
    done = run("init", tmp_path / "file" / "lake", "--origin", "x/y", "--json")
    assert (done.code, done.out, done.error["error"]) == (3, "", "not-stored")


def test_the_installed_command_runs(lake):
    program = Path(sys.executable).with_name("eventlake")
    done = subprocess.run(
        [program, "show", lake.uri, "--json"], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["watermark"] == 12


def test_pipes_carry_no_colour_and_no_bars(lake, tmp_path):
    done = process("verify", lake.uri, environment={"NO_COLOR": "1"})
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout + done.stderr
    assert done.stderr == b""


@pytest.mark.thorough
def test_no_color_is_honoured_even_where_colour_is_forced(lake):
    done = process(
        "show", lake.uri, "--at", "99", environment={"NO_COLOR": "1", "FORCE_COLOR": "1"}
    )
    assert done.returncode == 1
    assert re.search(rb"\x1b\[[0-9;]*3[0-7]", done.stdout + done.stderr) is None


def test_a_process_appends_from_stdin_and_its_errors_are_json_on_stderr(lake):
    done = process("append", lake.uri, "-", "--json", stdin=b"not json\n")
    assert (done.returncode, done.stdout) == (1, b"")
    assert json.loads(done.stderr)["error"] == "invalid-events"


@pytest.mark.thorough
def test_a_reader_that_stops_early_is_no_error(lake):
    script = 'set -o pipefail; "$0" -c "from eventlake.cli import main; main()" show "$1" --events | head -n 1'
    done = subprocess.run(
        ["/bin/bash", "-c", script, sys.executable, lake.uri],
        capture_output=True,
        check=False,
        text=True,
    )
    assert json.loads(done.stdout)["id"] == "e0"
    assert "Traceback" not in done.stderr


READING = [
    ["log"],
    ["show"],
    ["show", "--events"],
    ["append", "-"],
    ["compact"],
    ["gc"],
    ["clock"],
    ["datasets"],
    ["tag", "x", "--delete"],
    ["prune", "--older-than-days", "1"],
    ["schema", "list"],
    ["schema", "show", "a"],
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_trust_in_anything_but_own_or_lake_is_a_usage_error(command, tmp_path, run, monkeypatch):
    words = 2 if command[0] == "schema" else 1
    arguments = [*command[:words], tmp_path / "lake", *command[words:]]
    done = run(*arguments, "--trust-in", "everybody")
    assert (done.code, "own" in done.err) == (2, True)
    monkeypatch.setenv("EVENTLAKE_TRUST", "everybody")
    done = run(*arguments)
    assert (done.code, "EVENTLAKE_TRUST" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("option", "variable"), [("own", "lake"), ("lake", "own"), (None, "lake"), (None, None)]
)
def test_the_option_decides_what_is_believed_before_the_environment(
    option, variable, tmp_path, run, monkeypatch
):
    el.create(tmp_path / "lake", origin="bank.example/books")
    opened = []
    real = lake_module.open_chain
    monkeypatch.setattr(
        lake_module,
        "open_chain",
        lambda storage, trust: opened.append(trust.name) or real(storage, trust),
    )
    if variable:
        monkeypatch.setenv("EVENTLAKE_TRUST", variable)
    assert run("show", tmp_path / "lake", *(["--trust-in", option] if option else [])).code == 0
    assert opened == [option or variable or "own"]
