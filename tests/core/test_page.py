"""A page of sections, as text for a terminal and as HTML."""

from eventlake.core.page import Section, as_html, as_text

SECTIONS = (
    Section("Rows", ("2 rows <differ>",), ("id", "a&b"), (("1", "x\ty"),)),
    Section("Code", patch="@@ 1\n-old\n+new\n same\n"),
    Section("Nothing"),
)


def test_a_page_is_text_with_indented_lines_tables_and_patches():
    assert as_text("Two datasets", SECTIONS) == (
        "Two datasets\n"
        "\n"
        "Rows\n"
        "  2 rows <differ>\n"
        "  id  a&b\n"
        "  1   x\\ty\n"
        "\n"
        "Code\n"
        "  @@ 1\n"
        "  -old\n"
        "  +new\n"
        "   same\n"
        "\n"
        "Nothing\n"
    )


def test_a_page_is_html_with_tables_and_a_class_for_each_kind_of_line_of_a_patch():
    html = as_html("Two <datasets>", SECTIONS)
    assert "<h1>Two &lt;datasets&gt;</h1>" in html
    assert html.partition("</h1>")[2].strip().partition("</body>")[0].strip() == (
        "<h2>Rows</h2>\n"
        "<p>2 rows &lt;differ&gt;</p>\n"
        '<div class="wide"><table><tr><th>id</th><th>a&amp;b</th></tr>\n'
        "<tr><td>1</td><td>x\ty</td></tr></table></div>\n"
        "<h2>Code</h2>\n"
        '<pre><span class="place">@@ 1</span>\n'
        '<span class="less">-old</span>\n'
        '<span class="more">+new</span>\n'
        " same</pre>\n"
        "<h2>Nothing</h2>"
    )


def test_addresses_with_passwords_are_redacted_except_in_the_data():
    address = "s3://user:secret@host/x"
    section = Section("t", (address,), (address,), ((address,),))
    data = Section("t", (), ("a",), ((address,),), data=True)
    assert "secret" not in as_text(address, [section]) + as_html(address, [section])
    assert address in as_text("t", [data])
    assert address in as_html("t", [data])
