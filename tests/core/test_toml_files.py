"""TOML files that are too much: refused by name, before tomllib spends minutes or the stack on them."""

import tomllib

import pytest

import eventlake as el
from eventlake.datasets.definitions.lock import Lock
from eventlake.errors import InvalidInputError
from eventlake.importing.mapping import read_mapping
from eventlake.storage import toml

pytestmark = pytest.mark.every_case

BOMBS = {
    "dotted key": ".".join(["a"] * 100_000) + " = 1",
    "dotted table": "[" + ".".join(["a"] * 100_000) + "]",
    "quoted dotted key": ".".join(['"a"'] * 100_000) + " = 1",
    "nested arrays": "a = " + "[" * 100_000,
    "nested tables": "a = " + "{b = " * 100_000,
    "huge integer": "a = " + "9" * 500_000,
    "huge integer with underscores": "a = " + "1_" * 250_000 + "1",
    "huge hexadecimal integer": "a = 0x" + "f" * 500_000,
    "huge float": "a = 1." + "9" * 500_000,
    "too many lines": "\n" * 200_000,
    "too many dots": "\n".join(f"a{number}.b.c.d.e.f.g.h.i.j.k = 1" for number in range(20_000)),
    "too long": "# " + "x" * (1 << 20),
    "no TOML": "= 1",
    "unclosed text": 'a = """' + r"\"" "" * 100_000,
}


@pytest.fixture(params=BOMBS.values(), ids=BOMBS)
def bomb(request):
    return request.param


def test_a_document_that_is_too_much_is_refused(bomb):
    with pytest.raises(toml.NotTomlError):
        toml.parse(bomb)


def test_a_dataset_definition_that_is_too_much_is_refused_by_its_file(tmp_path, bomb):
    (tmp_path / "dataset.toml").write_text(bomb, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"dataset\.toml is not TOML"):
        el.read_definition(tmp_path)


def test_a_mapping_that_is_too_much_is_refused_by_its_file(tmp_path, bomb):
    (tmp_path / "mapping.toml").write_text(bomb, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"mapping\.toml is not TOML"):
        read_mapping(tmp_path / "mapping.toml")


@pytest.mark.parametrize(
    "text",
    [
        'a = "' + "." * 1000 + "[" * 1000 + '"',
        "a = '" + "." * 1000 + "{" * 1000 + "'",
        'query = """\nSELECT ' + "a.b.c[1], " * 500 + '"""',
        "query = '''\n" + "[{.#" * 500 + "'''",
        "# " + "a." * 500 + "[" * 500,
        "a.b.c.d = 1\n[x.y.z]\nb = [1.5, 2.5, [1, [2]]]\nc = {d = {e = 1}}\nf = 2026-01-01T00:00:00.123456Z",
        'a = "\\"" # "\nb = "x"',
    ],
    ids=range(7),
)
def test_text_and_comments_of_any_shape_are_read_as_tomllib_reads_them(text):
    assert toml.parse(text) == tomllib.loads(text)


def test_a_mark_of_the_byte_order_is_passed_over_and_other_bytes_are_refused(tmp_path):
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1")
    assert toml.read(file) == {"a": 1}
    file.write_bytes(b"a = '\xff'")
    with pytest.raises(toml.NotTomlError, match="utf-8"):
        toml.read(file)
    with pytest.raises(toml.NotTomlError, match="regular file"):
        toml.read(tmp_path)


LOCK = """
format = 1
name = "paid"
checkpoint = "adv.example/x 3@{zeros}"
engine = "duckdb 2.0.0"
rows = 3
content_hash = "{zeros}"
recipe_hash = "{zeros}"
manifest_hash = "{zeros}"
""".format(zeros="0" * 64)


def test_a_lock_is_read_as_it_was_written(tmp_path):
    (tmp_path / "dataset.lock").write_text(LOCK, encoding="utf-8")
    assert Lock.read(tmp_path).text().splitlines()[1:] == LOCK.strip().splitlines()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(
            ("rows", value)
            for value in (
                '"3"',
                "true",
                "3.0",
                "-1",
                "9" * 300,
                "9223372036854775808",
                "1979-05-27",
            )
        ),
        *(("name", value) for value in ('"../x"', "3", '"A"', '""', "[]")),
        *(
            ("checkpoint", value)
            for value in (
                '"x"',
                '""',
                "3",
                f'"a b 3@{"0" * 64}"',
                f'"a {"9" * 30}@{"0" * 64}"',
                f'"a -1@{"0" * 64}"',
            )
        ),
        *(("engine", value) for value in ('"duckdb"', '"duckdb 2.0; rm -rf"', '"sqlite 3"', "2.0")),
        *(
            (name, value)
            for name in ("content_hash", "manifest_hash")
            for value in ('"../../x"', '""', f'"{"A" * 64}"', "0", "[]")
        ),
        *(("schemas", value) for value in ("1", '{a = "b"}', "{a = 1}", "[]")),
        ("surprise", "1"),
    ],
)
def test_a_lock_with_a_member_that_no_version_writes_is_refused_by_file_and_member(
    tmp_path, member, value
):
    lines = [line for line in LOCK.splitlines() if not line.startswith(f"{member} =")]
    (tmp_path / "dataset.lock").write_text(
        "\n".join([*lines, f"{member} = {value}"]), encoding="utf-8"
    )
    with pytest.raises(
        InvalidInputError, match=r"dataset\.lock is not a lock: .*(expected|checkpoint)"
    ):
        Lock.read(tmp_path)
