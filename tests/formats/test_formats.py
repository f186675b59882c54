"""Lakes that earlier versions wrote are read for ever: what they say, their proofs, datasets and tables; and they can be gone on with."""

import json
import shutil
from pathlib import Path

import pytest

import eventlake as el
from eventlake.errors import InvalidEventsError
from tests.formats.write_format import plain, said

pytestmark = pytest.mark.every_case

FORMATS = sorted(Path(__file__).parent.glob("format-*"))


@pytest.fixture(params=FORMATS, ids=lambda folder: folder.name)
def kept(request, tmp_path):
    """A copy of a kept lake, and what it must say."""
    shutil.copytree(request.param / "lake", tmp_path / "lake")
    for path in (tmp_path / "lake").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return el.open(tmp_path / "lake"), json.loads(
        (request.param / "expected.json").read_text(encoding="utf-8")
    )


def test_there_is_a_lake_of_format_1():
    assert "format-1" in {folder.name for folder in FORMATS}


def test_a_kept_lake_says_what_it_said(kept):
    lake, expected = kept
    assert json.loads(json.dumps(said(lake))) == expected


def test_a_kept_lake_verifies(kept):
    lake, _ = kept
    report = lake.verify(deep=True)
    assert (report.problems, report.notes) == ((), ())


def test_a_kept_dataset_is_reproduced(kept):
    lake, expected = kept
    for manifest_hash, rows in expected["datasets"].items():
        again = lake.reproduce(manifest_hash)
        assert again.identical, again.differences
        assert plain(again.dataset.polars()) == rows


def test_a_kept_lake_is_gone_on_with(kept):
    lake, expected = kept
    before = lake.checkpoint
    with pytest.raises(InvalidEventsError, match="p1"):
        lake.append(
            [{"id": "p1", "source": "/bank", "type": "payment.received", "data": {"amount": 1}}]
        )
    again = [
        {
            "id": f"p{number}",
            "source": "/bank",
            "type": "payment.received",
            "subject": f"/loan/{number}",
            "data": data,
        }
        for number, data in ((1, {"cents": 12050, "note": "cash"}), (2, {"cents": 9950}))
    ]
    times = {"p1": "2026-01-03T12:00:00.000001+01:00", "p2": "2026-01-04T12:00:00.000001+01:00"}
    receipt = lake.append(
        [event | {"time": times[event["id"]]} for event in again], producer="bank", position=0
    )
    assert (receipt.start, receipt.stop) == (3, 5)
    lake.append(
        [
            {
                "id": "p7",
                "source": "/bank",
                "type": "payment.received",
                "data": {"amount": 7, "note": "card"},
            }
        ]
    )
    lake.compact()
    assert lake.prove_consistency(before)
    assert lake.verify(deep=True, against=before).problems == ()
    assert len(plain(lake.snapshot().table("payment.received").collect())) == 7
    assert len(expected["events"]) == before.watermark
