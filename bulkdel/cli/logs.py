"""What happens, logged on stderr as it happens: sentences for people on a terminal, JSON lines otherwise."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, assert_never

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter

from bulkdel import events
from bulkdel.cli.context import Screen
from bulkdel.cli.options import Options
from bulkdel.model import Rate, Settled
from bulkdel.render.wording import RATE_OVERRIDES, format_rate, learned
from bulkdel.text import format_duration, pluralize, sanitize, show_invisible

LEVEL_COLORS = {"warning": "1;35", "error": "1;91", "critical": "1;91"}
"""Levels that are named, and the color of their word: bold magenta and bright red have a contrast of 3 at least in the palettes
that terminals come with, light and dark. Yellow on white has 1.7, red on black 2.4, and dim text on a pale background 1.9."""


class _Handler(logging.Handler):
    """Hands every formatted record to the screen."""

    def __init__(self, screen: Screen, formatter: logging.Formatter, *, as_json: bool) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._say = screen.say if as_json else screen.say_wrapped

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).splitlines():
            self._say(line)


@contextmanager
def configure_logging(
    screen: Screen, options: Options, *, quiet: bool = False, also: Sequence[str] = ()
) -> Iterator[BoundLogger]:
    """Log on ``screen`` while the context lasts as the options ask for it, as JSON lines if there is no terminal; the library's own
    logger, asyncio's and those named in ``also`` go there, too."""
    level = logging.ERROR if quiet or options.quiet else logging.DEBUG if options.verbose else logging.INFO
    levels = {"bulkdel": level, "asyncio": max(level, logging.WARNING)} | dict.fromkeys(also, level)
    before = [(logger, logger.level, logger.propagate) for logger in map(logging.getLogger, levels)]
    configured = structlog.is_configured()
    handler = _handler(screen, as_json=options.log_json or not screen.terminal)
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


def _handler(screen: Screen, *, as_json: bool) -> logging.Handler:
    """Configure structlog to log through ``logging``; returns what shows the records of both."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    sentence = partial(_sentence, color=screen.color)
    last: list[Any] = [_without_sentence, structlog.processors.JSONRenderer()] if as_json else [sentence]
    formatter = ProcessorFormatter(
        foreign_pre_chain=shared,
        # Tracebacks are plain: structlog's default ones show the values of local variables, and those may be keys.
        processors=[ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info, *last],
    )
    return _Handler(screen, formatter, as_json=as_json)


def _sentence(_logger: Any, _method: str, event: MutableMapping[str, Any], *, color: bool) -> str:
    """The last processor for people: when, how grave, and what happened in words, or else the event's name and its fields."""
    level, when, trace, name = (str(event.pop(key, "")) for key in ("level", "timestamp", "exception", "event"))
    grave = f"{level}: " if level in LEVEL_COLORS else ""
    if grave and color:
        grave = f"\x1b[{LEVEL_COLORS[level]}m{level}:\x1b[0m "
    fields = ", ".join(f"{key} {value}" for key, value in event.items() if not key.startswith("_"))
    words = event.get("_sentence") or (f"{name}: {fields}" if fields else name)
    return f"{when} {grave}{words}" + (f"\n{trace}" if trace else "")


def _without_sentence(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A program reads the fields; the sentence would say them twice."""
    event.pop("_sentence", None)
    return event


def listener(log: BoundLogger, *, named: int = 20) -> events.OnEvent:
    """An ``on_event`` listener that logs each event; of the rejected documents the first ``named`` one by one, because behind
    them the summary's counts say more than lines do."""
    rejections = 0

    def on_event(event: events.Event) -> None:
        nonlocal rejections
        level, name, sentence, fields = entry(event)
        rejections += name == "rejected"
        if name == "rejected" and rejections > named:
            level = logging.DEBUG
        # Names and reasons are the service's words: this is the one place in which the log makes them safe.
        safe = {key: sanitize(value) if isinstance(value, str) else value for key, value in fields.items()}
        log.log(level, name, **safe, _sentence=sanitize(sentence, 2000))
        if name == "rejected" and rejections == named:
            words, hint = "further rejected documents are counted only", "-v or --settled FILE names each"
            log.warning(words, hint=hint, _sentence=f"{words}; {hint}")

    return on_event


def entry(event: events.Event) -> tuple[int, str, str, dict[str, Any]]:
    """What the log says of an event: the level that its consequences deserve, its name, a sentence for people, fields for programs;
    ids are shown, other words are as they came."""
    if isinstance(event, events.Settled):
        return _settled(event.settled)
    fields = _fields(event)
    called = fields.get("name") or fields.get("dataset", "")
    match event:
        case events.Listed(listed=listed, selected=selected):
            fields["documents"] = fields.pop("listed")
            words = f"listed {called}: {pluralize(listed, 'document')}, {selected} selected"
            return logging.INFO, "listed", words, fields
        case events.Requeued(cause=cause, reason=reason, seconds=seconds):
            cause = cause.replace("_", " ")
            words = f"asked again in {format_duration(seconds)} ({cause}): {fields['document']}: {reason}"
            return logging.DEBUG, "requeued", words, fields
        case events.Paused(provider=provider, reason=reason, seconds=seconds):
            words = f"nothing is sent to {provider} for {format_duration(seconds)}: {reason}"
            return logging.WARNING, "paused", words, fields
        case events.Resumed(provider=provider):
            return logging.INFO, "resumed", f"{provider} goes on", fields
        case events.Stopped(provider=provider, reason=reason, hint=hint):
            name = "dataset stopped" if called else "provider stopped"
            words = f"{provider}{f' / {called}' if called else ''} stopped: {reason}{f'; {hint}' if hint else ''}"
            return logging.ERROR, name, words, {key: value for key, value in fields.items() if value or key == "reason"}
        case events.RateLearned(provider=provider, rate=rate, ago_s=ago_s, refused=refused):
            fields = {key: format_rate(value) if isinstance(value, Rate) else value for key, value in fields.items()}
            words = f"{provider}: {learned(rate, ago_s, refused)}"
            return logging.INFO, "rate learned", words, fields | {"hint": RATE_OVERRIDES}
        case events.Verified(remaining=remaining, new=new, skipped=skipped):
            words = f"listed again {called}: {f'{remaining} still there' if remaining else 'empty'}"
            words += f", {new} of them new" if new else ""
            words += f", {'all' if skipped == remaining else skipped} of them skipped" if skipped else ""
            # What was never to be deleted is no surprise.
            level = logging.WARNING if remaining > skipped else logging.INFO
            return level, "listed again", words, fields
        case _:
            assert_never(event)


def _fields(event: events.Event) -> dict[str, Any]:
    """The event's values; of a target its ids."""
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    if (target := values.pop("target", None)) is not None:
        values = {"dataset": target.dataset, "document": target.document} | values
    values |= {name: show_invisible(values[name]) for name in ("dataset", "document") if name in values}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}


def _settled(settled: Settled) -> tuple[int, str, str, dict[str, Any]]:
    target, outcome, reason, attempts, name, _ = settled
    document, ended = show_invisible(target.document), outcome.replace("_", " ")
    called = f"{name} ({document})" if name else document
    fields: dict[str, Any] = {"dataset": show_invisible(target.dataset), "document": document}
    fields |= {"name": name, "outcome": outcome, "reason": reason, "attempts": attempts}
    if settled.status == "fulfilled" or outcome in ("not_attempted", "dataset_stopped"):
        return logging.DEBUG, "settled", f"{ended}: {called}{f': {reason}' if reason else ''}", fields
    return logging.WARNING, "rejected", f"rejected {called}: {reason or ended}", fields
