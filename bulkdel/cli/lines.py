"""One event of the log as one line for people: when, how grave, and a sentence instead of fields; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

from bulkdel.render.words import learned, spoken
from bulkdel.text import many

GRAVE: Final = {"warning": "1;35", "error": "1;91", "critical": "1;91"}
"""Levels that are named, and the colour of their word: bold magenta and bright red have a contrast of 3 at least in the palettes that
terminals come with, light and dark. Yellow on white has 1.7, red on black 2.4, and dim text on a pale background 1.9."""
_PLAIN: Final = ("event", "level", "timestamp", "exception", "stack")


def renderer(*, colour: bool) -> Callable[[Any, str, MutableMapping[str, Any]], str]:
    """A processor for structlog that comes last and makes the line."""

    def render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        level = str(event.get("level", ""))
        when = str(event.get("timestamp", ""))
        grave = f"{level}: " if level in GRAVE else ""
        if colour:
            grave = f"\x1b[{GRAVE[level]}m{level}:\x1b[0m " if grave else ""
        said = f"{when} {grave}{sentence(event)}"
        if trace := event.get("exception"):
            said += f"\n{trace}"
        return said

    return render


def sentence(event: Mapping[str, Any]) -> str:
    """What happened, in words; of an event that is not known here its name and its fields."""
    words = _WORDS.get(str(event.get("event", "")))
    if words is not None:
        try:
            return words(event)
        except (KeyError, TypeError):
            pass  # another program's event of the same name
    fields = ", ".join(
        f"{key} {value}" for key, value in event.items() if key not in _PLAIN and not key.startswith("_")
    )
    name = str(event.get("event", ""))
    return f"{name}: {fields}" if fields else name


def _document(event: Mapping[str, Any]) -> str:
    name = event.get("name", "")
    return f"{name} ({event['document']})" if name else str(event["document"])


def _settled(event: Mapping[str, Any]) -> str:
    why = f": {event['reason']}" if event["reason"] else ""
    return f"{str(event['outcome']).replace('_', ' ')}: {_document(event)}{why}"


def _rejected(event: Mapping[str, Any]) -> str:
    return f"rejected {_document(event)}: {event['reason'] or str(event['outcome']).replace('_', ' ')}"


def _listed(event: Mapping[str, Any]) -> str:
    called = event["name"] or event["dataset"]
    return f"listed {called}: {many(event['documents'], 'document')}, {event['selected']} selected"


def _again(event: Mapping[str, Any]) -> str:
    there, new, skipped = event["remaining"], event["new"], event["skipped"]
    whole = "all" if skipped == there else str(skipped)
    parts = [f"{there} still there" if there else "empty"]
    parts += [f"{new} of them new"] if new else []
    parts += [f"{whole} of them not selected"] if skipped else []
    return f"listed again {event.get('name') or event['dataset']}: {', '.join(parts)}"


def _stopped(event: Mapping[str, Any]) -> str:
    what = f"{event['provider']} / {event['dataset']}" if "dataset" in event else str(event["provider"])
    hint = f"; {event['hint']}" if event.get("hint") else ""
    return f"{what} stopped: {event['reason']}{hint}"


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "run file": lambda event: f"run file: {event['path']}",
    "listed": _listed,
    "settled": _settled,
    "rejected": _rejected,
    "requeued": lambda event: (
        f"asked again in {spoken(event['seconds'])} ({str(event['cause']).replace('_', ' ')}): {event['document']}: {event['reason']}"
    ),
    "paused": lambda event: f"nothing is sent to {event['provider']} for {spoken(event['seconds'])}: {event['reason']}",
    "resumed": lambda event: f"{event['provider']} goes on",
    "provider stopped": _stopped,
    "dataset stopped": _stopped,
    "listed again": _again,
    "rate learned": lambda event: f"{event['provider']}: {learned(event['rate'], event['ago_s'])}",
    "further rejected documents are counted only": lambda event: f"{event['event']}; {event['hint']}",
}
