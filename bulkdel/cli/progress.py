"""How far a run is, while it goes: a live display on a terminal, one line every ten seconds elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, Protocol, assert_never

from bulkdel.cli.screen import Screen
from bulkdel.engine.progress import Progress, Wait
from bulkdel.render.words import limit, rounded, spoken
from bulkdel.text import many, safe

if TYPE_CHECKING:
    from rich.console import RenderableType
    from structlog.stdlib import BoundLogger

Look = Callable[[], Sequence[Progress]]
Style = Literal["none", "live", "lines", "log"]

LIVE_EVERY = 0.25
"""Seconds between two looks of a live display: four a second look alive, and cost nothing that a measurement shows."""
LINE_EVERY = 10.0
"""Seconds between two lines where nobody watches: 360 lines an hour is what a log bears."""

LOOK_EVERY = 1.0
"""Seconds between two looks at most, shown or not."""

DATASETS_SHOWN = 6
"""Datasets that are shown one by one, of all providers together; of five or more none, so that seven providers fit a terminal of 24 lines."""

_NAME = 40  # characters of a name in the display
_WHY = 100  # characters of the service's own words in one line


def line(progress: Progress, elapsed: float) -> str:
    """One provider in one line: how far, how fast, how long still, and what it waits for; ``elapsed`` is in seconds."""
    parts = [f"{progress.provider}: {counted(progress)}", *extras(progress), *pace(progress)]
    waits = waiting(progress)
    if waits:
        parts.append(waits)
    return f"[{spoken(elapsed)}] " + ", ".join(parts)


def counted(progress: Progress) -> str:
    """How many of how many, for the phase that it is in."""
    p = progress
    settled = p.deleted + p.already_gone
    match p.phase:
        case "preflight":
            return "checking key, address and datasets"
        case "listing":
            return f"listing, {many(p.total, 'document')} so far"
        case "verifying":
            return f"listing again to verify, {settled} of {p.total} deleted"
        case "done":
            return f"done, {settled} of {p.total} deleted"
        case _:
            if not p.complete:
                return f"{settled} deleted of at least {p.total}"
            share = f" ({100 * settled // p.total} %)" if p.total else ""
            return f"{settled} of {p.total} deleted{share}"


def extras(progress: Progress) -> list[str]:
    """The counts that are not nought."""
    p = progress
    return [
        f"{n} {what}"
        for n, what in (
            (p.rejected, "rejected"),
            (p.not_attempted, "not attempted"),
            (p.requeued, "requeued"),
            (p.left, "to go"),
        )
        if n
    ]


def speed(progress: Progress) -> str:
    """Settled a second or a minute, against the limit where there is one; the unit is the limit's."""
    limit = progress.rate
    if (limit is not None and limit.per_second < 5) or (limit is None and 0 < progress.per_second < 1):
        now = f"{progress.per_second * 60:.0f}/min"
        bound = "" if limit is None else f" of {rounded(limit.per_second * 60)}/min"
    else:
        now = f"{progress.per_second:.0f}/s"
        bound = "" if limit is None else f" of {rounded(limit.per_second)}/s"
    return now + bound


def pace(progress: Progress, *, stopping: bool = False) -> list[str]:
    """How fast and how long still; of one that has nothing left to do while others go on only that."""
    if is_done(progress):
        return ["done"]
    return [speed(progress), "stopping" if stopping else remaining(progress)]


def is_done(progress: Progress) -> bool:
    """Whether everything of it has settled, whatever the others still do."""
    p = progress
    return p.phase == "done" or (p.phase == "deleting" and p.complete and not p.left and not p.in_flight)


def remaining(progress: Progress) -> str:
    """The estimate of what is still to come; said to be unknown where nothing can be said honestly."""
    if progress.eta_s is None or progress.phase != "deleting" or progress.wait == "indexing":
        return "time left unknown"
    return f"about {spoken(progress.eta_s)} left" if progress.eta_s >= 0.5 else "almost done"


def waiting(progress: Progress) -> str:
    """Why it waits, in a few words; empty where it does not."""
    cause = _cause(progress.wait, progress)
    if not cause or is_done(progress):
        return ""
    tail = f" ({spoken(progress.wait_s)} more)" if progress.wait_s is not None and progress.wait_s > 0 else ""
    # Only a pause has a reason that the numbers beside it do not tell: the service's own words.
    why = f": {safe(progress.why, _WHY)}" if progress.wait == "pause" and progress.why else ""
    return f"waiting for {cause}{tail}{why}"


def _cause(wait: Wait, progress: Progress) -> str:
    match wait:
        case "":
            return ""
        case "rate":
            if progress.rate is None:
                return "the rate limit"
            whose = ", which another process with this key wants" if progress.rate_is_anothers else ""
            return f"the rate limit of {limit(progress.rate)}{whose}"
        case "pause":
            return "the end of a pause"
        case "indexing":
            return f"{many(progress.indexing, 'document')} to be indexed"
        case "service":
            return many(progress.in_flight, "answer")
        case "backoff":
            return "the next try after a failure" if progress.phase == "deleting" else "the next look"
        case "consumer":
            return "whoever reads the outcomes"
        case "confirm":
            return "the answer to the question"
        case _:
            assert_never(wait)


def picture(looks: Sequence[Progress], elapsed: float, *, stopping: bool = False) -> RenderableType:
    """The live display: for each provider a bar, its numbers and one line on why it waits; what is ``stopping`` has no time left."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows: list[RenderableType] = []

    def bar(called: str, done: int, total: int, words: str) -> None:
        head = Table.grid(padding=(0, 1))
        # Of the terminal's own sixteen; dim, which vanishes on some light backgrounds, is for no word.
        line = ProgressBar(
            total=max(1, total), completed=done, width=24, style="dim", complete_style="green", finished_style="green"
        )
        head.add_row(Text(safe(called, _NAME), style="bold"), line, Text(words, no_wrap=True, overflow="ellipsis"))
        rows.append(head)

    if len(looks) > 1:
        gone, total = sum(p.deleted + p.already_gone for p in looks), sum(p.total for p in looks)
        bar("all", sum(map(_settled, looks)), total, f"{gone} of {total} deleted")
    for look in looks:
        settled = _settled(look)
        bar(look.provider, settled, look.total, counted(look))
        numbers = ", ".join([*extras(look), *pace(look, stopping=stopping)])
        rows.append(Text(f"  {numbers}", no_wrap=True, overflow="ellipsis"))
        rows.append(Text(f"  {waiting(look)}", no_wrap=True, overflow="ellipsis"))
        shown = DATASETS_SHOWN // len(looks) if len(looks) < 5 else 0
        rows += [Text(f"  {words}", no_wrap=True, overflow="ellipsis") for words in active(look, shown)]
    key = "once more stops at once" if stopping else "stops gently"
    rows.append(Text(f"  {spoken(elapsed)} so far; Ctrl-C {key}"))
    return Group(*rows)


def active(progress: Progress, shown: int = DATASETS_SHOWN) -> list[str]:
    """The datasets under way, a line each, where there are several: those with something done first, the rest in a number."""
    if len(progress.datasets) < 2 or progress.phase != "deleting" or not shown:
        return []
    under_way = [d for d in progress.datasets if d.left > 0]
    under_way.sort(key=lambda d: d.left == d.selected)  # stable: in the order that they are taken
    lines = []
    for d in under_way[:shown]:
        rejected = f", {d.rejected} rejected" if d.rejected else ""
        lines.append(
            f"{safe(d.name or d.dataset, _NAME)}: {d.deleted} of {d.selected} deleted{rejected}, {d.left} to go"
        )
    if len(under_way) > shown:
        lines.append(f"and {many(len(under_way) - shown, 'more dataset')}")
    return lines


def _settled(progress: Progress) -> int:
    return progress.deleted + progress.already_gone + progress.rejected + progress.not_attempted


def style(screen: Screen, *, quiet: bool, log_json: bool) -> Style:
    """How progress is shown: not at all, live, as plain lines, or as events of a JSON log."""
    if quiet:
        return "none"
    if log_json:
        return "log"
    return "live" if screen.moving else "lines"


class Show(Protocol):
    """Shows a look; the display that shows nothing is one too, so that nobody has to ask whether there is one."""

    def __call__(self, looks: Sequence[Progress], elapsed: float) -> None: ...


def _lines(screen: Screen) -> Show:
    def show(looks: Sequence[Progress], elapsed: float) -> None:
        for look in looks:
            screen.tell(line(look, elapsed))

    return show


def _logged(log: BoundLogger) -> Show:
    def show(looks: Sequence[Progress], elapsed: float) -> None:
        for p in looks:
            log.info("progress", line=line(p, elapsed), provider=p.provider, phase=p.phase, total=p.total, deleted=p.deleted,
                     rejected=p.rejected, requeued=p.requeued, left=p.left, per_second=round(p.per_second, 2),
                     eta_s=None if p.eta_s is None else round(p.eta_s, 1), wait=p.wait)  # fmt: skip

    return show


def _live(screen: Screen, stopping: Callable[[], bool]) -> Show:
    def show(looks: Sequence[Progress], elapsed: float) -> None:
        screen.draw(picture(looks, elapsed, stopping=stopping()))

    return show


@asynccontextmanager
async def shown(
    how: Style, screen: Screen, log: BoundLogger, look: Look, stopping: Callable[[], bool], *, every: float = LINE_EVERY
) -> AsyncIterator[None]:
    """Show ``look()`` from time to time while the context lasts; ``every`` is in seconds, for what is not live.

    ``stopping`` is whether it was interrupted, and lets end what is in flight.
    """
    match how:
        case "none":
            yield
        case "live":
            with screen.live():
                async with _every(LIVE_EVERY, look, _live(screen, stopping)):
                    yield
        case "lines":
            async with _every(every, look, _lines(screen)):
                yield
        case "log":
            async with _every(every, look, _logged(log)):
                yield
        case _:
            assert_never(how)


@asynccontextmanager
async def _every(seconds: float, look: Look, show: Show) -> AsyncIterator[None]:
    clock = asyncio.get_running_loop().time
    began = clock()

    async def forever() -> None:
        due = began + seconds
        while True:
            # Looked at more often than shown: the speed is measured from one look to another.
            await asyncio.sleep(min(seconds, LOOK_EVERY))
            looks = look()
            if looks and clock() >= due:
                show(looks, clock() - began)
                due = max(due + seconds, clock())

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        # The display must not hide how the run ended: whatever it died of is told apart.
        for problem in await asyncio.gather(task, return_exceptions=True):
            if isinstance(problem, Exception):
                raise problem
