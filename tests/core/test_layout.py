"""Paths are read as they are written, by their own reader alone, and each document has its limit."""

import pytest

from eventlake.core import layout

HASH, OTHER, WORK = "ab" * 32, "cd" * 32, "0123456789abcdef"
TABLE = f"tables/t/{HASH}/{5:020d}-{9:020d}-3-{HASH[:12]}-{OTHER}.parquet"
PART = f"{layout.build_path('loans', HASH)}/{WORK}/part-0.parquet"
READ = {
    layout.commit_path(7): (layout.commit_version, 7),
    layout.segment_path(HASH): (layout.segment_sha256, HASH),
    layout.rows_path(7, HASH): (layout.rows_sha256, HASH[:12]),
    layout.keys_path(HASH): (layout.keys_sha256, HASH),
    layout.schemas_path(HASH): (layout.schemas_sha256, HASH),
    TABLE: (layout.table_range, (f"t/{HASH}", 5, 9)),
    PART: (layout.attempt, f"builds/loans/{HASH[:12]}/{WORK}"),
    layout.made_path(HASH, OTHER): (layout.made_hash, OTHER),
    layout.claim_path(HASH, 7): (layout.claim_number, 7),
    layout.base_path(HASH, 7, OTHER, (-5, 9)): (layout.base_of, (7, OTHER, (-5, 9))),
    layout.base_path(HASH, 7, OTHER, None): (layout.base_of, (7, OTHER, None)),
    layout.indexed_path("loans.v2"): (layout.indexed_name, "loans.v2"),
    layout.tag_path("v1.0-rc_2"): (layout.tag_name, "v1.0-rc_2"),
    layout.bucket_path(HASH, WORK, 3, OTHER): (layout.bucket_of, (WORK, 3, OTHER)),
}


@pytest.mark.parametrize("path", READ)
def test_a_path_is_read_as_it_was_written_and_by_its_own_reader_alone(path):
    read, found = READ[path]
    assert read(path) == found
    others = {reader for reader, _ in READ.values()} - {read}
    assert {reader: reader(path) for reader in others} == dict.fromkeys(others)
    assert read(f"x/{path}") is None


def test_buckets_and_the_spine_that_they_share_are_work_and_nothing_else_is():
    work = {layout.bucket_path(HASH, WORK, 3, OTHER), layout.spine_path(HASH, WORK)}
    assert [path for path in [*READ, *work] if layout.is_work(path) is not (path in work)] == []


def test_an_entry_with_cutoffs_that_no_instant_has_is_none():
    most = (1 << 63) - 1
    for cutoffs in ((-most, most), (0, 0)):
        assert layout.base_of(layout.base_path(HASH, 7, OTHER, cutoffs)) == (7, OTHER, cutoffs)
    for cutoffs in ((-most - 1, 0), (0, most + 1)):
        assert layout.base_of(layout.base_path(HASH, 7, OTHER, cutoffs)) is None


def test_the_name_of_a_file_says_whether_it_is_temporary():
    assert layout.is_temporary(".tmp-1")
    assert layout.is_temporary("segments/.tmp-1")
    assert not layout.is_temporary(".tmp-1/a")
    assert not layout.is_temporary("segments/a.tmp-1")


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("lake.json", 1 << 16),
        ("hint", 1 << 16),
        ("x/lake.json", None),
        (layout.made_path(HASH, OTHER), 1 << 16),
        (layout.claim_path(HASH, 7), 1 << 16),
        (layout.tag_path("prod"), 1 << 16),
        ("builds/loans/abababababab/0123456789abcdef/pruned.json", 1 << 16),
        ("builds/loans/abababababab/0123456789abcdef/removed.json", 1 << 16),
        ("builds/loans/abababababab/0123456789abcdef/provenance.json", 1 << 26),
        ("builds/loans/abababababab/manifest.json", 1 << 26),
        (layout.commit_path(7), 1 << 26),
        (layout.schemas_path(HASH), 1 << 26),
        (layout.segment_path(HASH), None),
        (layout.keys_path(HASH), None),
        (PART, None),
    ],
)
def test_a_document_has_the_limit_of_its_kind_and_rows_have_none(path, most):
    assert layout.most_bytes(path) == most
