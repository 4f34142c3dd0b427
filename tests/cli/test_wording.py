"""Every message of bulkdel held against the same few rules: found by reading the source, so that none is forgotten."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import bulkdel
from bulkdel.cli.main import bulkdel as group

SOURCE = Path(bulkdel.__file__).parent

SAYS = {"say", "tell", "error", "warning", "warn", "wrong", "fail", "screen", "_unreachable", "_begin_pause", "_settle"}
"""Functions whose words a person reads, besides the exceptions that are raised."""
VERDICTS = {
    "Lost",
    "Pause",
    "Reject",
    "StopReason",
    "StopProvider",
    "StopDataset",
    "Gone",
    "Requeue",
    "Failed",
    "Refused",
    "BrokenPromise",
    "Unreadable",
}
HEADLINES = re.compile(r"(Asked|Dry|Planned|Finished|Refused|Type|About|All|Next|Two|To|Left|Run|The plan|This) ")

Message = tuple[str, str]
"""Where it stands, and its words; what is filled in at run time is a pair of braces."""


def words(node: ast.expr) -> str | None:
    """The text of a literal, with ``{}`` for each value in it; None for anything else."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)  # type: ignore[misc]
        case _:
            return None


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def is_match(node: ast.AST) -> bool:
    """``words.startswith("…")``: a comparison, too."""
    return isinstance(node, ast.Call) and called(node) in ("startswith", "endswith", "removesuffix")


def messages() -> Iterator[Message]:
    """The words of every exception, verdict and line on stderr, hints included; and whatever else is a sentence in our style."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] == "simulator":
            continue  # it repeats the words of real services
        tree = ast.parse(path.read_text("utf-8"))
        place = path.relative_to(SOURCE).as_posix()
        spoken = {
            id(part) for node in ast.walk(tree) if isinstance(node, ast.Call) and speaks(node) for part in parts(node)
        }
        silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        silent |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        # What an answer is compared with are a service's words.
        compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare) or is_match(node)]
        silent |= {id(part) for node in compared for part in ast.walk(node)}
        for node in ast.walk(tree):
            text = words(node) if isinstance(node, ast.expr) and id(node) not in silent else None
            if text is not None and " " in text.strip() and (id(node) in spoken or text[0].islower()):
                yield f"{place}:{node.lineno}", text  # type: ignore[attr-defined]


def speaks(node: ast.Call) -> bool:
    name = called(node)
    return name in SAYS | VERDICTS or name.endswith("Error")


def parts(node: ast.Call) -> Iterator[ast.expr]:
    for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
        yield from [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]


MESSAGES = list(messages())


def test_the_messages_are_found() -> None:
    """The rules below are worth what they are held against: some from each room, and a known one with its value."""
    rooms = {where.partition("/")[0].partition(":")[0] for where, _ in MESSAGES}
    assert {
        "cli",
        "client.py",
        "distributed",
        "engine",
        "providers",
        "purging.py",
        "render",
        "store",
        "wire",
    } <= rooms
    assert "there is no such run: {}" in {text for _, text in MESSAGES}
    assert len(MESSAGES) > 200


def wrong(text: str) -> bool:
    """Whether the words break a rule that a machine can hold them against."""
    said = text.removeprefix("hint: ").strip()
    first = said.split()[0]
    begins_large = first[0].isupper() and first[1:].islower()
    return bool(
        (begins_large and not NAMES.match(first) and not HEADLINES.match(said))
        or re.search(r"\.$|!|\?\?|  ", said)
        or re.search(r"\b([a-z]+) \1\b", said)
        or re.search(
            r"\b(please try|oops|sorry|invalid input|unknown error|failed to|unable to)\b", said, re.IGNORECASE
        )
    )


def test_a_message_reads_as_the_others_do() -> None:
    """Lower-case start, no full stop, no doubled word or blank, no mark of haste, and what happened rather than regrets."""
    assert [(where, text) for where, text in MESSAGES if wrong(text)] == []


@pytest.mark.parametrize(
    "text", ["Cannot read", "cannot read it.", "cannot  read", "the the file", "failed to read", "hint: Read it", "no!"]
)
def test_a_message_that_does_not_is_seen(text: str) -> None:
    """Each rule catches what it is for."""
    assert wrong(text)


NAMES = re.compile(r"(Dify|Langdock|Redis|Celery|Ctrl)")

JARGON = re.compile(
    r"\b(lane|channel|feed|wire|ledger|journal|verdict|slot|breaker|handed over|watch(er)?|walk|preflight)s?\b"
)
INSIDE = ("limits/slots.py", "store/account.py", "store/settling.py", "wire/http.py")
"""Rooms whose exceptions are of bugs, which only a developer of bulkdel sees."""


def test_no_message_speaks_of_our_rooms() -> None:
    """What the parts of bulkdel are called among us says nothing to the reader of a message."""
    assert [(where, text) for where, text in MESSAGES if not where.startswith(INSIDE) and JARGON.search(text)] == []


# ------------------------------------------------------------------ --help


OPTIONS = [
    (f"{name} {option.opts[-1]}", option.help or "")
    for name, command in group.commands.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def test_every_option_says_what_it_is_for() -> None:
    """In a sentence that begins large and has a full stop, as those that click brings along."""
    assert [
        (name, said) for name, said in OPTIONS if not (said[:1].isupper() and said.endswith(".")) or JARGON.search(said)
    ] == []


@pytest.mark.parametrize("name", list(group.commands))
def test_every_command_says_its_exit_status_or_serves(name: str) -> None:
    """A script needs to know how a command ends; simulate ends when it is asked to."""
    assert "Exit status: " in (group.commands[name].epilog or "") or name == "simulate"


def test_what_is_to_go_and_what_is_still_there_have_a_word_each() -> None:
    """What is left is time alone: documents are left alone, to go, or still there."""
    texts = [text for _, text in MESSAGES] + [said for _, said in OPTIONS]
    assert not [text for text in texts if re.search(r"(?<!time )(?<!about {} )\bleft\b(?! alone)", text)]
