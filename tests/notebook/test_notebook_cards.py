"""What a notebook shows of each thing: its card as HTML, nothing in it taken for markup."""

import pandera.polars  # noqa: F401 - imported before warnings become errors
import pytest

import eventlake as el
from eventlake.core.card import Card
from eventlake.notebook.bar import Bar, install
from tests.support.dataset_fixtures import events, make_lake, sql

pytestmark = pytest.mark.every_case

MEAN = '<script>alert("x")</script>&\'"<b>'


@pytest.mark.parametrize("place", ["title", "label", "value", "header", "cell"])
def test_html_in_any_text_of_a_card_is_escaped(place):
    texts = {
        name: MEAN if name == place else "plain"
        for name in ("title", "label", "value", "header", "cell")
    }
    html = Card(
        texts["title"],
        ((texts["label"], texts["value"]),),
        (texts["header"],),
        ((texts["cell"],),),
    ).html()
    assert "<script" not in html
    assert "<b>&lt;script" in html if place == "title" else "&lt;script&gt;alert" in html
    assert "&amp;&#x27;&quot;&lt;b&gt;" in html


def test_long_tables_are_cut_and_say_so():
    html = Card("t", (), ("n",), tuple((f"row {number}",) for number in range(1035))).html()
    assert "row 29<" in html
    assert "row 30<" not in html
    assert "1,005 more" in html


def test_a_card_loads_nothing_from_outside():
    html = Card("t", (("a", "b"),), ("n",), (("x",),)).html()
    for word in ("<script", "http", "src=", "<link", "<style"):
        assert word not in html


def test_everything_a_lake_gives_is_shown_with_its_facts(tmp_path):
    lake = make_lake(tmp_path / "lake")
    receipt = lake.append(events(2, 12))
    dataset = lake.build(
        sql(f'SELECT sequence AS k, 1 AS "{MEAN.replace(chr(34), "")}" FROM events')
    )
    shown = {
        lake: lake.uri,
        receipt: receipt.commit_hash,
        lake.snapshot(): lake.snapshot().root,
        dataset: dataset.content_hash,
        lake.reproduce(dataset.manifest_hash): "identical",
        lake.verify(): "nothing is wrong",
    }
    for thing, fact in shown.items():
        html = thing._repr_html_()
        assert fact in html
        assert "<script" not in html


def test_event_types_and_subjects_cannot_inject_markup():
    lake = el.create("memory://", origin="x/y")
    lake.append([{"id": "1", "source": "s", "type": MEAN}])
    assert "<script" not in lake._repr_html_()
    assert "&lt;script&gt;" in lake.snapshot()._repr_html_()


def test_the_bar_is_silent_for_short_work_and_escapes_its_text(monkeypatch):
    drawn = []
    clock = iter([0.0, 0.1, 10.0, 11.0])
    monkeypatch.setattr("eventlake.notebook.bar.time.monotonic", lambda: next(clock))

    class Handle:
        def update(self, line):
            drawn.append(line)

    def display(line, display_id):
        drawn.append(line)
        return Handle()

    with Bar(display, str).task(MEAN, 3) as advance:
        advance(1)
        assert drawn == []
        advance(1)
        advance(1)
    assert "<script" not in "".join(drawn)
    assert 'value="2" max="3"' in drawn[0]
    assert 'value="3" max="3"' in drawn[1]
    assert drawn[-1] == ""


def test_outside_a_notebook_nothing_is_installed(capsys):
    install()
    make_lake("memory://").build(sql("SELECT 1 AS k"))
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
