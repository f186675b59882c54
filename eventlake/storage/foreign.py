"""Recognize files in formats that eventlake does not read, and suggest how to convert them."""

import glob
import os
import re
import shlex
from collections.abc import Collection
from pathlib import Path

from eventlake.core import layout
from eventlake.visible import redacted

EVENTS, ROWS, CSV, SPINE = "events", "rows", "csv", "spine"
"""The use that a file was given for."""
ENCODINGS = ("utf-16", "utf-32", "utf-16-le", "utf-16-be")
_FIRST_BYTES = 4096
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"\xd0\xcf\x11\xe0", "excel"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "ipc"),
    (b"Obj\x01", "avro"),
    (b"ORC", "orc"),
    (b"SQLite format 3\0", "sqlite"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".psv", ".dat", ".asc"), "csv"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".ods"), "excel"),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), "ipc"),
    ".avro": "avro",
    ".orc": "orc",
}
_EVENT_FILES = (".ndjson", ".jsonl", ".json", ".parquet", ".pq")
_READ = {
    "gzip": "gzip.decompress(pathlib.Path({p}).read_bytes())",
    "zstd": "pyarrow.input_stream({p}, compression='zstd').read()",
    "bz2": "bz2.decompress(pathlib.Path({p}).read_bytes())",
    "xz": "lzma.decompress(pathlib.Path({p}).read_bytes())",
    **{
        encoding: f"pathlib.Path({{p}}).read_text(encoding={encoding!r}).encode()"
        for encoding in (*ENCODINGS, "utf-8-sig")
    },
}
"""Expressions for the bytes of a file after decompression or decoding."""
_FRAMES = {
    "ipc": "pl.read_ipc({p})",
    "avro": "pl.read_avro({p})",
    "orc": "pl.from_arrow(pyarrow.orc.read_table({p}))",
}
_PIPES = {
    "gzip": "gzip -dc",
    "zstd": "zstd -dc",
    "bz2": "bzip2 -dc",
    "xz": "xz -dc",
    **{encoding: f"iconv -f {encoding.upper()} -t UTF-8" for encoding in ENCODINGS},
}
_UNPACK = "unpack it with shutil.unpack_archive({p}, 'unpacked'), and give its files one by one."
_UNZIP = (
    "unpack it with shutil.unpack_archive({p}, 'unpacked', 'zip'), and give its files one by one."
)
_EXCEL = (
    "save the sheet as CSV in UTF-8, and import that: el.import_file(lake, {csv}, 'mapping.toml')."
)
_SQLITE = (
    "write the rows of a table to a CSV file, and import that: "
    "el.import_file(lake, 'rows.csv', 'mapping.toml')."
)
_LINES = (
    "msgspec.json.format(one, indent=-1) for one in "
    "msgspec.json.decode(pathlib.Path({p}).read_bytes(), type=list[msgspec.Raw])"
)
_IMPORT = (
    "a table that does not hold events yet is imported: el.import_file(lake, {p}, 'mapping.toml'), "
    "where the mapping says what its rows mean."
)
_NAMED = {
    "gzip": "compressed by gzip",
    "zstd": "compressed by zstd",
    "bz2": "compressed by bzip2",
    "xz": "compressed by xz",
    "zip": "a ZIP archive",
    "tar": "a tar archive",
    "excel": "a spreadsheet",
    "parquet": "a Parquet file",
    "ipc": "an Arrow IPC file",
    "avro": "an Avro file",
    "orc": "an ORC file",
    "sqlite": "a SQLite database",
    "utf-8-sig": "UTF-8 with a byte order mark",
    **{encoding: f"text in {encoding.upper()}" for encoding in ENCODINGS},
    "array": "a JSON array",
    "object": "one JSON object over several lines",
    "lines": "a JSON object in each line",
    "csv": "a table",
    "empty": "empty",
    "folder": "a folder",
    "lake": "a lake",
    "pattern": "a pattern, not a file",
    "address": "an address, not a file",
}
_HINTS: dict[str, dict[str, str]] = {
    EVENTS: {
        **{
            kind: f"write lake.append({text})."
            for kind, text in {**_READ, **_FRAMES, "parquet": "pl.read_parquet({p})"}.items()
        },
        **{
            kind: (
                f"write lake.append({_READ[kind]}), "
                f"or in a shell {pipe} {{file}} | eventlake append LAKE -."
            )
            for kind, pipe in _PIPES.items()
        },
        "tar": _UNPACK,
        "zip": _UNZIP,
        "excel": _EXCEL,
        "sqlite": _SQLITE,
        "csv": _IMPORT,
        "array": f"write lake.append(b'\\n'.join({_LINES})), which changes no digit.",
        "object": (
            "write lake.append(msgspec.json.format(pathlib.Path({p}).read_bytes(), indent=-1)), "
            "which changes no digit."
        ),
        "lines": (
            "write lake.append(pathlib.Path({p}).read_bytes()), or rename the file to .ndjson."
        ),
        "folder": (
            "append its files one by one: for path in "
            "sorted(pathlib.Path({p}).glob('*{suffix}')): lake.append(path); "
            "in a shell eventlake append LAKE {file}/*{suffix}."
        ),
        "lake": (
            "a copy of a lake is a copy of its folder; "
            "el.open({p}).snapshot().scan() has its events."
        ),
        "pattern": (
            "append the files one by one: for path in "
            "sorted(glob.glob({p}, recursive=True)): lake.append(path); "
            "a shell expands it without quotes."
        ),
        "address": "copy the file to this machine, and give its path.",
        "empty": "leave it out; for no events an empty file is named .ndjson.",
    },
    ROWS: {
        **{
            kind: f"make a file of it: pathlib.Path({{new}}).write_bytes({text})."
            for kind, text in _READ.items()
        },
        "gzip": "rename it to {name}.gz, which says so.",
        **{
            kind: f"make a file of it: {text}.write_parquet({{parquet}})."
            for kind, text in _FRAMES.items()
        },
        "tar": _UNPACK,
        "zip": _UNZIP,
        "excel": _EXCEL,
        "sqlite": _SQLITE,
        **{
            kind: (
                f"rename it to {{stem}}.{name}, "
                f'or give file = "{{base}}" and format = "{name}" in [tables.source].'
            )
            for kind, name in (("parquet", "parquet"), ("array", "json"), ("lines", "ndjson"))
        },
        "object": "put the rows into an array, [{{…}}, {{…}}], even if it is one.",
        "pattern": (
            "import the files one by one: for path in "
            "sorted(glob.glob({p}, recursive=True)): el.import_file(lake, path, mapping)."
        ),
        "address": "copy the file to this machine, and give its path.",
        "empty": "leave it out; a CSV file without rows has a line of names, a JSON file is [].",
    },
    SPINE: {
        **{
            kind: f"make a file of it: pathlib.Path({{new}}).write_bytes({text})."
            for kind, text in _READ.items()
        },
        "csv": (
            "give the rows as a frame: spine=pl.read_csv({p}, separator='\\t', infer_schema=False)."
        ),
        **{
            kind: f"give the rows as a frame: spine={text}."
            for kind, text in {**_FRAMES, "parquet": "pl.read_parquet({p})"}.items()
        },
        "tar": _UNPACK,
        "zip": _UNZIP,
        "excel": "save the sheet as CSV in UTF-8.",
        "folder": "a spine is one file; join several as a frame: spine=pl.concat([…]).",
        "pattern": "a spine is one file; join several as a frame: spine=pl.concat([…]).",
        "address": "copy the file to this machine, and give its path.",
        "empty": "a spine without rows has a line of names.",
    },
}
_HINTS[CSV] = {
    **_HINTS[ROWS],
    **{encoding: f'give its encoding: encoding = "{encoding}" in [csv].' for encoding in ENCODINGS},
}
_HINTS[SPINE] |= dict.fromkeys(
    ("array", "lines", "object"),
    "give the rows as a frame: spine=pl.DataFrame({{'subject': […], 'cutoff': […]}}).",
)


def foreign(
    given: str | os.PathLike[str], use: str, native: Collection[str] = ()
) -> tuple[str, str] | None:
    """Describe a file that cannot be read as given, and suggest what to write instead.

    Args:
        given: The path as the caller wrote it.
        use: ``EVENTS``, ``ROWS``, ``CSV`` or ``SPINE``.
        native: Kinds that can be read from a file of this name.

    Returns:
        What the file is, and the hint; None if the file is native or unknown.
    """
    text = os.fspath(given)
    try:
        kind = file_kind(os.path.expanduser(text))  # noqa: PTH111 - an address is not a path
    except (OSError, ValueError):
        return None
    # Only advice: what is not recognized is read as it was given, and refused by its reader.
    if kind is None or kind in native or kind not in _HINTS[use]:
        return None
    path = Path(text)
    stem = path.with_suffix("") if path.suffix else path
    compressed = kind in {"gzip", "zstd", "bz2", "xz"}
    # ``events.ndjson.gz`` becomes ``events.ndjson``; others keep their suffix under a new name.
    new = stem if compressed and stem.suffix else path.parent / f"new-{path.name}"
    inner = Path(path.stem).suffix.lower() if compressed else ""
    suffix = _suffix_in(path) if kind == "folder" else ".ndjson"
    hint = _HINTS[use][kind]
    if use == EVENTS and _SUFFIXES.get(inner) == "csv":
        hint = _IMPORT if kind == "gzip" else _HINTS[ROWS][kind]
    elif use == EVENTS and inner == ".parquet":
        hint = f"write lake.append(pl.read_parquet(io.BytesIO({_READ[kind]})))."
    elif use == EVENTS and suffix == ".csv":
        hint = (
            "its tables are imported: el.import_file(lake, {p}, 'mapping.toml'), "
            "where the mapping names each file."
        )
    path_text = repr(redacted(text) if kind == "address" else text)
    names = {"csv": repr(f"{stem}.csv"), "parquet": repr(f"{stem}.parquet"), "new": repr(str(new))}
    return _NAMED[kind], hint.format(
        p=path_text,
        file=shlex.quote(text),
        name=text,
        base=path.name,
        stem=str(stem),
        suffix=suffix,
        **names,
    )


def file_kind(given: str) -> str | None:
    """The kind of the file at a path, by its first bytes, then by its name."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", given):
        return "address"
    path = Path(given)
    if given and path.is_dir():
        return "lake" if (path / layout.LAKE).is_file() else "folder"
    if not path.is_file():
        return "pattern" if glob.has_magic(given) and not path.exists() else None
    with path.open("rb") as file:
        first = file.read(_FIRST_BYTES)
    return _kind_of_bytes(path, first) if first else "empty"


def _kind_of_bytes(path: Path, first: bytes) -> str | None:
    suffixes = [one.lower() for one in path.suffixes]
    if suffixes[-1:] == [".tgz"] or ".tar" in suffixes[-2:]:
        return "tar"
    named = _SUFFIXES.get(path.suffix.lower())
    # The first bytes come before the name: a name is often wrong, and ``.xlsx`` is a ZIP archive.
    kind = next((kind for magic, kind in _MAGIC if first.startswith(magic)), None)
    return (
        ("excel" if kind == "zip" and named == "excel" else kind) or _kind_of_text(first) or named
    )


def _kind_of_text(first: bytes) -> str | None:
    # Without a mark, every second byte of Latin text in UTF-16 is zero.
    if first[:1] == b"\0":
        return "utf-16-be"
    if first[1:2] == b"\0":
        return "utf-16-le"
    text = first.lstrip()
    if text[:1] == b"[" and text[1:].lstrip()[:1] in {b"{", b"]"}:
        return "array"
    if text[:1] == b"{":
        line, more, _ = text.partition(b"\n")
        return "object" if more and line.rstrip() == b"{" else "lines"
    return None


def _suffix_in(folder: Path) -> str:
    """The suffix to suggest for a folder's files; events come before tables."""
    found = {one.suffix.lower() for one in folder.iterdir() if one.is_file()}
    return next((one for one in (*_EVENT_FILES, ".csv") if one in found), ".ndjson")
