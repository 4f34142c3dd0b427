"""What happens, logged on stderr as it happens: sentences for people on a terminal, JSON lines otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

from bulkdel import events
from bulkdel.cli.screen import Screen
from bulkdel.render.wording import format_rate, learned
from bulkdel.text import format_duration, pluralize, sanitize, show_invisible

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

LEVEL_COLORS = {"warning": "1;35", "error": "1;91", "critical": "1;91"}
"""Levels that are named, and the color of their word: bold magenta and bright red have a contrast of 3 at least in the palettes
that terminals come with, light and dark. Yellow on white has 1.7, red on black 2.4, and dim text on a pale background 1.9."""


class _Handler(logging.Handler):
    """Hands every formatted record to the screen."""

    def __init__(self, screen: Screen, *, as_json: bool) -> None:
        super().__init__()
        self._say = screen.say if as_json else screen.say_wrapped

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).splitlines():
            self._say(line)


@contextmanager
def configure_logging(
    screen: Screen, *, quiet: bool, verbose: bool, as_json: bool, also: Sequence[str] = ()
) -> Iterator[BoundLogger]:
    """Log on ``screen`` while the context lasts; the library's own logger, asyncio's and those named in ``also`` go there, too.

    Tracebacks are plain: structlog's default ones show the values of local variables, and those may be keys.
    """
    import structlog

    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    when = structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json)
    shared: list[Any] = [structlog.stdlib.add_log_level, when]
    last: list[Any] = (
        [_without_sentence, structlog.processors.JSONRenderer()] if as_json else [line(color=screen.color)]
    )
    handler = _Handler(screen, as_json=as_json)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *last,
            ],
        )
    )
    levels = {"bulkdel": level, "asyncio": max(level, logging.WARNING)} | dict.fromkeys(also, level)
    before = [(logger, logger.level, logger.propagate) for logger in map(logging.getLogger, levels)]
    configured = structlog.is_configured()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    for logger, _, _ in before:
        logger.addHandler(handler)
        logger.setLevel(levels[logger.name])
        logger.propagate = False
    try:
        log: BoundLogger = structlog.stdlib.get_logger("bulkdel")
        yield log
    finally:
        for logger, was, propagated in before:
            logger.removeHandler(handler)
            logger.setLevel(was)
            logger.propagate = propagated
        if not configured:
            structlog.reset_defaults()


Processor = Callable[[Any, str, MutableMapping[str, Any]], str]


def line(*, color: bool) -> Processor:
    """A processor for structlog that comes last and makes the line: when, how grave, and a sentence."""

    def render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        level, when, trace = (str(event.pop(key, "")) for key in ("level", "timestamp", "exception"))
        grave = f"{level}: " if level in LEVEL_COLORS else ""
        if grave and color:
            grave = f"\x1b[{LEVEL_COLORS[level]}m{level}:\x1b[0m "
        return f"{when} {grave}{_sentence(event)}" + (f"\n{trace}" if trace else "")

    return render


def _sentence(event: MutableMapping[str, Any]) -> str:
    """What happened in words; of an event that brings none its name and its fields."""
    if "_sentence" in event:
        return str(event["_sentence"])
    name = str(event.pop("event", ""))
    fields = ", ".join(f"{key} {value}" for key, value in event.items() if not key.startswith("_"))
    return f"{name}: {fields}" if fields else name


def _without_sentence(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A program reads the fields; the sentence would say them twice."""
    event.pop("_sentence", None)
    return event


class Entry(NamedTuple):
    """An event as it is logged: at which level, under which name, in which words for people, with which fields for programs."""

    level: int
    name: str
    sentence: str
    fields: dict[str, Any]


def listener(log: BoundLogger, *, named: int = 20) -> events.OnEvent:
    """An ``on_event`` listener that logs each event; of the rejected documents the first ``named`` one by one, because behind
    them the summary's counts say more than lines do."""
    rejections = 0

    def on_event(event: events.Event) -> None:
        nonlocal rejections
        found = entry(event)
        rejections += found.name == "rejected"
        if found.name == "rejected" and rejections > named:
            found = found._replace(level=logging.DEBUG)
        log.log(found.level, found.name, **found.fields, _sentence=found.sentence)
        if found.name == "rejected" and rejections == named:
            words, hint = "further rejected documents are counted only", "-v or --settled FILE names each"
            log.warning(words, hint=hint, _sentence=f"{words}; {hint}")

    return on_event


def entry(event: events.Event) -> Entry:
    """What the log says of an event, at the level that its consequences deserve."""
    match event:
        case events.Listed():
            dataset, name = show_invisible(event.dataset), sanitize(event.name)
            documents = pluralize(event.listed, "document")
            return Entry(
                logging.INFO, "listed", f"listed {name or dataset}: {documents}, {event.selected} selected",
                {"provider": event.provider, "dataset": dataset, "name": name, "documents": event.listed, "selected": event.selected},
            )  # fmt: skip
        case events.Settled():
            return _settled(event)
        case events.Requeued():
            document, reason = show_invisible(event.target.document), sanitize(event.reason)
            again = f"asked again in {format_duration(event.seconds)} ({event.cause.replace('_', ' ')})"
            return Entry(
                logging.DEBUG, "requeued", f"{again}: {document}: {reason}",
                {"dataset": show_invisible(event.target.dataset), "document": document, "cause": event.cause, "reason": reason,
                 "seconds": round(event.seconds, 3)},
            )  # fmt: skip
        case events.Paused():
            reason, seconds = sanitize(event.reason), round(event.seconds, 1)
            return Entry(
                logging.WARNING, "paused", f"nothing is sent to {event.provider} for {format_duration(seconds)}: {reason}",
                {"provider": event.provider, "reason": reason, "seconds": seconds},
            )  # fmt: skip
        case events.Resumed():
            return Entry(logging.INFO, "resumed", f"{event.provider} goes on", {"provider": event.provider})
        case events.Stopped():
            return _stopped(event)
        case events.RateLearned():
            rate, age = format_rate(event.rate), round(event.ago_s)
            refused = "" if event.refused is None else format_rate(event.refused)
            return Entry(
                logging.INFO, "rate learned", f"{event.provider}: {learned(rate, age, refused)}",
                {"provider": event.provider, "rate": rate, "ago_s": age, "refused": refused},
            )  # fmt: skip
        case events.Verified():
            return _verified(event)
        case _:
            assert_never(event)


def _settled(event: events.Settled) -> Entry:
    settled = event.settled
    document, name, reason = show_invisible(settled.target.document), sanitize(settled.name), sanitize(settled.reason)
    outcome = settled.outcome.replace("_", " ")
    called = f"{name} ({document})" if name else document
    fields = {
        "dataset": show_invisible(settled.target.dataset),
        "document": document,
        "name": name,
        "outcome": settled.outcome,
        "reason": reason,
        "attempts": settled.attempts,
    }
    if settled.status == "fulfilled" or settled.outcome in ("not_attempted", "dataset_stopped"):
        words = f"{outcome}: {called}: {reason}" if reason else f"{outcome}: {called}"
        return Entry(logging.DEBUG, "settled", words, fields)
    return Entry(logging.WARNING, "rejected", f"rejected {called}: {reason or outcome}", fields)


def _stopped(event: events.Stopped) -> Entry:
    fields = {"provider": event.provider, "reason": sanitize(event.reason)}
    called = event.provider
    if event.dataset:
        fields["dataset"] = show_invisible(event.dataset)
        called = f"{called} / {fields['dataset']}"
    words = f"{called} stopped: {fields['reason']}"
    if event.hint:
        fields["hint"] = sanitize(event.hint)
        words += f"; {fields['hint']}"
    return Entry(logging.ERROR, "dataset stopped" if event.dataset else "provider stopped", words, fields)


def _verified(event: events.Verified) -> Entry:
    dataset, name = show_invisible(event.dataset), sanitize(event.name)
    parts = [f"{event.remaining} still there" if event.remaining else "empty"]
    parts += [f"{event.new} of them new"] if event.new else []
    whole = "all" if event.skipped == event.remaining else str(event.skipped)
    parts += [f"{whole} of them not selected"] if event.skipped else []
    return Entry(
        # What was never to be deleted is no surprise.
        logging.WARNING if event.remaining > event.skipped else logging.INFO,
        "listed again", f"listed again {name or dataset}: {', '.join(parts)}",
        {"provider": event.provider, "dataset": dataset, "name": name, "remaining": event.remaining, "new": event.new,
         "skipped": event.skipped},
    )  # fmt: skip
