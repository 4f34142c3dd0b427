"""Words from outside are shown on one line, with nothing in them that a terminal, a log or a spreadsheet would obey."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkdel.text import MAX_WORDS, has_invisible, read_cell, sanitize, show_invisible, write_cell

NASTY = st.text(
    st.one_of(
        st.sampled_from(
            "\x1b\x9b\x07\\[]m;?=+-@\t\r\n\x00\x7f\u202e\u2066\u200b\u2028\ufeff\ud800\u00ad\U000e0041 aé漢🙂"
        ),
        st.characters(codec=None),
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("", ""),
        ("report.txt", "report.txt"),
        ("Übersicht 漢字 🙂.pdf", "Übersicht 漢字 🙂.pdf"),
        ("a\nb\r\nc\td", "a b c d"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x1bb", "ab"),
        ("a\x08\x08b", "a b"),
        ("invoice\u202efdp.exe", "invoice fdp.exe"),
        ("zero\u200bwidth", "zero width"),
        ("\ufeffbom", "bom"),
        ("tag\U000e0041\U000e007f", "tag"),
        ("half\ud800", "half"),
        ("a\u2028b", "a b"),
        ("<b>&amp;", "<b>&amp;"),
    ],
)
def test_words_are_made_sanitize(words: str, shown: str) -> None:
    """Escapes go whole, controls and invisible characters become a blank, everything else stays."""
    assert sanitize(words) == shown


@given(NASTY)
@example("\x1b\x1b[31m[31m")
@example("\x1b[3\x1b[31m1m")
@example("\x9b\x9b" * 20)
def test_nothing_that_acts_is_left(words: str) -> None:
    """No control, no half character, no separator but the blank, no direction trick; one line, and safe again is the same."""
    shown = sanitize(words)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(character) for character in shown} & {
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
    }  # fmt: skip
    assert len(shown.splitlines()) <= 1
    assert sanitize(shown) == shown
    shown.encode()


@given(
    words=NASTY.map(lambda words: words * 20) | st.integers(0, 3_000).map(lambda n: "x" * n), limit=st.integers(1, 600)
)
def test_words_are_never_longer_than_the_limit(words: str, limit: int) -> None:
    """What was left out is shown by an ellipsis."""
    shown = sanitize(words, limit)
    assert len(shown) <= limit
    if len(words) > 4 * limit:
        assert shown.endswith("…")


def test_a_flood_is_cheap_and_cut() -> None:
    """A message of megabytes is looked at only as far as it is shown."""
    assert sanitize("x" * 10_000_000) == "x" * (MAX_WORDS - 1) + "…"
    assert len(sanitize("\x1b" * 10_000_000)) <= MAX_WORDS


def test_words_that_fit_are_not_cut() -> None:
    """Exactly the limit is not over it."""
    assert sanitize("x" * MAX_WORDS) == "x" * MAX_WORDS
    assert sanitize("é" * MAX_WORDS) == "é" * MAX_WORDS


TEXTS = st.one_of(
    NASTY,
    st.from_regex(r"'*[-+=]?[0-9]{1,20}([.,:/ -][0-9]{1,4})*(e[0-9]+|%| ?am| mai| Sept)?", fullmatch=True),
    st.sampled_from(
        ["1e5", "00042", "12345678901234567890", "TRUE", "3-4", "MAR1", "1 Dez 2024", "#N/A", "'1e5", "''=1", "½", "٣"]
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "＋1", "－1", "＠x", "1e5", "007", "12345678901234567890", "1,5", "1/2",
        "12:30", "3-4", "2024-01-05", "5 Mai", "MAR1", "dec-12", "1.2.", "50 %", "TRUE", "wahr", "#REF!", "9 am", "1E+05",
    ],
)  # fmt: skip
def test_what_a_spreadsheet_would_change_is_kept(text: str) -> None:
    """A formula, a number, a date, a time or a logical value has an apostrophe in front, and so is text."""
    assert write_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text",
    [
        "0b7c6f1e-0000-4000-8000-000000000001",
        "11111111-1111-4111-8111-111111111111",
        "att_1",
        "doc-17",
        "report 2024.pdf",
        "deleted",
        "",
        "2026-01-31T18:00:05+00:00",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    """Real ids and names are written without anything added."""
    assert write_cell(text) == text


@given(TEXTS)
def test_a_cell_is_read_back_as_it_was_written(text: str) -> None:
    """Whatever the text, also one that begins with an apostrophe of its own."""
    assert read_cell(write_cell(text)) == text


@given(TEXTS)
def test_no_cell_is_a_formula_or_a_number(text: str) -> None:
    """S20: nothing that a spreadsheet computes or counts with."""
    cell = write_cell(text)
    assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"))
    assert re.fullmatch(r"\s*[-+]?(\d[\d.,]*|\.\d+)(e[-+]?\d+)?\s*%?\s*", cell, re.IGNORECASE) is None


HIDDEN = [
    "\u200b", "\u200d", "\u2060", "\ufeff",  # zero width
    "\u202e", "\u2066", "\u200e", "\u061c",  # direction
    "\x00", "\t", "\n", "\x1b", "\x7f", "\x85", "\u2028",  # controls and line ends
    "\xa0", "\u2007", "\u202f", "\u3000", "\u1680",  # blanks that are no space
    "\xad", "\u034f", "\u115f", "\u3164", "\uffa0", "\u2800", "\ufe0f", "\U000e0041", "\U000e0100",  # nothing to see
    "\ud800", "\ue000", "\u0378",  # no character, or a private one
]  # fmt: skip


@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_character_that_cannot_be_seen_is_found_and_shown(hidden: str) -> None:
    """Two texts that look the same are distinguished by its escape."""
    text = f"att_x{hidden}y"
    assert has_invisible(text)
    assert show_invisible(text) == f"att_x{ascii(hidden)[1:-1]}y"


@pytest.mark.parametrize("text", ["", "att_xyz", "a b", "é", "e\u0301", "漢字", "a-b_c.d~e", "\U0001f600"])
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    """A plain space, accents and signs of any script are seen."""
    assert not has_invisible(text)
    assert show_invisible(text) == text


@given(st.text(max_size=60))
def test_what_is_shown_holds_nothing_hidden(text: str) -> None:
    """Whatever came, each character of what is shown can be seen."""
    assert not has_invisible(show_invisible(text))
