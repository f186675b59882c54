"""One table of text is drawn as aligned lines and as HTML."""

from eventlake.core.table import Table

ROWS = (("/loan/7", "2"), ("<b>", "1,000"))


def test_lines_are_aligned_and_end_in_no_space():
    assert Table(("loan", "paid"), ROWS).lines() == (
        "  loan     paid",
        "  /loan/7  2",
        "  <b>      1,000",
    )


def test_html_is_escaped_and_takes_a_style_for_each_tag():
    html = Table(("loan", "a&b"), ROWS).html({"td": "padding:0"})
    assert html == (
        "<table><tr><th>loan</th><th>a&amp;b</th></tr>\n"
        '<tr><td style="padding:0">/loan/7</td><td style="padding:0">2</td></tr>\n'
        '<tr><td style="padding:0">&lt;b&gt;</td><td style="padding:0">1,000</td></tr></table>'
    )


def test_a_table_without_rows_is_not_drawn():
    assert Table(("loan", "paid")).lines() == ()
    assert Table(("loan", "paid")).html() == ""
