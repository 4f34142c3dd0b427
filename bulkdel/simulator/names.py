"""Plausible names for simulated documents and datasets, some of them nasty if that is asked for."""

from __future__ import annotations

from collections.abc import Iterator

KINDS = (
    "FAQ-{:04}.md",
    "FAQ-{:04}.md",
    "release-notes-{:04}.md",
    "manual-chapter-{:04}.pdf",
    "ticket-{:04}.txt",
    "meeting-notes-{:04}.docx",
    "price-list-{:04}.csv",
    "tmp-import-{:04}.txt",
)
"""What a knowledge base of a support team holds; ``tmp-`` is there to be selected by name."""

NASTY = (
    "\x1b[31mred alert\x1b[0m\x1b]0;title\x07.md",  # colours, and a terminal's title
    "<img src=x onerror=alert(1)>.html",
    '=HYPERLINK("http://127.0.0.1/","click").csv',
    "+1+cmd.csv",
    "@SUM(A1:A9).csv",
    "-2+3.csv",
    "line\nbreak\r\nand\ttab.txt",
    "Ende\u202egpj.exe",  # right-to-left override: shows as Endeexe.jpg
    "null\u2028separator.txt",
    'quo"te, comma; and \\ backslash.txt',
    "[link=https://example.invalid]markup[/link].md",  # rich's own markup
    "überlänge-" + "ä" * 230 + ".pdf",
    "   ",
    "../../etc/passwd",
    "🗑️ déjà vu.md",
)
"""Names that harm a terminal, a page, a spreadsheet or a layout when they are shown as they are."""

DATASETS = (
    "Support articles",
    "Product manuals",
    "Sales playbook",
    "Release notes",
    "Onboarding",
    "Legal",
    "Old imports",
)


def document_names(count: int, *, nasty: bool = False) -> Iterator[str]:
    """Give ``count`` names; with ``nasty``, every third of the first ones is a nasty one."""
    for number in range(1, count + 1):
        third, rest = divmod(number - 1, 3)
        if nasty and rest == 0 and third < len(NASTY):
            yield NASTY[third]
        else:
            yield KINDS[number % len(KINDS)].format(number)


def dataset_name(number: int) -> str:
    """Name dataset ``number``, counted from 0."""
    times, which = divmod(number, len(DATASETS))
    return DATASETS[which] if times == 0 else f"{DATASETS[which]} {times + 1}"
