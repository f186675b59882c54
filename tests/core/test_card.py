"""The text of a card is safe to print, wherever it is."""

from eventlake.core.card import Card, counted


def test_every_text_of_a_card_is_escaped_and_redacted():
    address = "s3://user:secret@host/x\x1b[2J\n"
    card = Card(address, ((address, address),), (address,), ((address,),))
    texts = [card.title, *card.facts[0], *card.header, *card.rows[0]]
    assert [text for text in texts if "secret" in text or "\x1b" in text] == []
    assert [text for text in texts if "\n" in text] == [card.facts[0][1]]
    assert (card.table.header, card.table.rows) == (card.header, card.rows)


def test_one_is_counted_without_an_s():
    assert [counted(number, "commit") for number in (0, 1, 1_000)] == [
        "0 commits",
        "1 commit",
        "1,000 commits",
    ]
