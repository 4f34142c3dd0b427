"""What happens, told on stderr as it happens: for people on a terminal, as JSON lines otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, assert_never

from bulkdel import events
from bulkdel.cli import lines
from bulkdel.cli.screen import Screen
from bulkdel.render.words import limit
from bulkdel.text import safe

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

REJECTIONS_TOLD = 20
"""Rejected documents that are told one by one; behind them the summary's counts say more than lines do."""


class _Handler(logging.Handler):
    """Hands every formatted record to the screen."""

    def __init__(self, screen: Screen, *, as_json: bool) -> None:
        super().__init__()
        self._tell = screen.say if as_json else screen.tell

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).splitlines():
            self._tell(line)


@contextmanager
def told(
    screen: Screen, *, quiet: bool, verbose: bool, as_json: bool, also: Sequence[str] = ()
) -> Iterator[BoundLogger]:
    """The log on ``screen`` while the context lasts; the library's own logger, asyncio's and those of ``also`` go there too.

    Tracebacks are plain: structlog's default ones show the values of local variables, and those may be keys.
    """
    import structlog

    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True) if as_json else structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
    ]  # fmt: skip
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.processors.format_exc_info, lines.renderer(colour=screen.colour)]
    )
    handler = _Handler(screen, as_json=as_json)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    loggers = [logging.getLogger(name) for name in ("bulkdel", "asyncio", *also)]
    levels = [level, max(level, logging.WARNING), *(level for _ in also)]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
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
    for logger, least in zip(loggers, levels, strict=True):
        logger.addHandler(handler)
        logger.setLevel(least)
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


def listener(log: BoundLogger) -> Callable[[events.Event], None]:
    """An ``on_event`` listener that tells the log each event, at the level that its consequences deserve."""
    rejections = 0

    def hear(event: events.Event) -> None:
        nonlocal rejections
        match event:
            case events.Listed():
                log.info("listed", provider=event.provider, dataset=safe(event.dataset), name=safe(event.name),
                         documents=event.listed, selected=event.selected)  # fmt: skip
            case events.Settled(settled):
                told_how = {
                    "dataset": safe(settled.target.dataset),
                    "document": safe(settled.target.document),
                    "name": safe(settled.name),
                    "outcome": settled.outcome,
                    "reason": safe(settled.reason),
                    "attempts": settled.attempts,
                }
                if settled.status == "fulfilled" or settled.outcome in ("not_attempted", "dataset_stopped"):
                    log.debug("settled", **told_how)
                    return
                rejections += 1
                if rejections <= REJECTIONS_TOLD:
                    log.warning("rejected", **told_how)
                else:
                    log.debug("rejected", **told_how)
                if rejections == REJECTIONS_TOLD:
                    log.warning("further rejected documents are counted only", hint="-v or --settled FILE names each")
            case events.Requeued():
                log.debug("requeued", dataset=safe(event.target.dataset), document=safe(event.target.document),
                          cause=event.cause, reason=safe(event.reason), seconds=round(event.seconds, 3))  # fmt: skip
            case events.Paused():
                log.warning(
                    "paused", provider=event.provider, reason=safe(event.reason), seconds=round(event.seconds, 1)
                )
            case events.Resumed():
                log.info("resumed", provider=event.provider)
            case events.Stopped():
                what = {"provider": event.provider, "reason": safe(event.reason)}
                if event.dataset:
                    what["dataset"] = safe(event.dataset)
                if event.hint:
                    what["hint"] = safe(event.hint)
                log.error("dataset stopped" if event.dataset else "provider stopped", **what)
            case events.RateLearned():
                log.info("rate learned", provider=event.provider, rate=limit(event.rate), ago_s=round(event.ago_s))
            case events.Verified():
                tell = log.warning if event.remaining > event.skipped else log.info
                tell(
                    "listed again",
                    provider=event.provider,
                    dataset=safe(event.dataset),
                    name=safe(event.name),
                    remaining=event.remaining,
                    new=event.new,
                    skipped=event.skipped,
                )
            case _:
                assert_never(event)

    return hear
