"""How far a run is, while it goes: a live display on a terminal, one line every ten seconds elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from structlog.stdlib import BoundLogger

from bulkdel.cli.context import Screen
from bulkdel.cli.options import Options
from bulkdel.engine.progress import Progress
from bulkdel.render.wording import format_rate
from bulkdel.text import format_duration, format_measured, nonzero, pluralize, sanitize, show_invisible

if TYPE_CHECKING:
    from rich.console import RenderableType

Look = Callable[[], Sequence[Progress]]

LOGGED = (
    "provider", "phase", "total", "deleted", "rejected", "requeued", "left", "per_second", "eta_s", "wait", "gives_up_s",
)  # fmt: skip
"""What an event of a JSON log has of a look."""


def line(progress: Progress, elapsed: float) -> str:
    """One provider in one line: how far, how fast, how much time is left, and what it waits for; ``elapsed`` is in seconds."""
    parts = [f"{progress.provider}: {how_far(progress)}", *_counts(progress), *_pace(progress), *_wait(progress)]
    return f"[{format_duration(elapsed)}] " + ", ".join(parts)


def how_far(progress: Progress) -> str:
    """How many of how many, in words for the phase that it is in."""
    p = progress
    gone = p.deleted + p.already_gone
    match p.phase:
        case "preflight":
            return "checking key, address and datasets"
        case "listing":
            return f"listing, {pluralize(p.total, 'document')} so far"
        case "verifying":
            return f"listing again to verify, {gone} of {p.total} deleted"
        case _ if not p.complete:
            return f"{gone} deleted of at least {p.total}"
        case _:
            share = f" ({100 * gone // p.total} %)" if p.total else ""
            return f"{gone} of {p.total} deleted{share}"


def _counts(progress: Progress) -> list[str]:
    """The other counts that are not zero."""
    p = progress
    return nonzero(
        (p.rejected, "rejected"), (p.not_attempted, "not attempted"), (p.requeued, "requeued"), (p.left, "to go")
    )


def _pace(progress: Progress, *, stopping: bool = False) -> list[str]:
    """Settled a second, or a minute if that is slow, against the limit if there is one, and how much time is left; of a provider
    that has nothing left to do while others go on only that."""
    if _is_done(progress):
        return ["done"]
    limit, now = progress.rate, progress.per_second
    slow = limit.per_second < 5 if limit is not None else 0 < now < 1
    times, unit = (60, "min") if slow else (1, "s")
    bound = "" if limit is None else f" of {format_measured(limit.per_second * times)}/{unit}"
    return [f"{now * times:.0f}/{unit}{bound}", "stopping" if stopping else _time_left(progress)]


def _is_done(progress: Progress) -> bool:
    p = progress
    return p.phase == "done" or (p.phase == "deleting" and p.complete and not p.left and not p.in_flight)


def _time_left(progress: Progress) -> str:
    """The estimate of what is still to come; unknown is said as unknown."""
    if progress.gives_up_s is not None:
        at = time.localtime(time.time() + progress.gives_up_s)
        form = "%H:%M" if at[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M"
        # A lock ends by itself before it is given up.
        ends = "{} at the latest" if progress.locked == progress.indexing else "gives up at {}"
        return f"time left unknown, {ends.format(time.strftime(form, at))}"
    if progress.eta_s is None or progress.phase != "deleting":
        return "time left unknown"
    return f"about {format_duration(progress.eta_s)} left" if progress.eta_s >= 0.5 else "almost done"


def _wait(progress: Progress) -> list[str]:
    """Why it waits, in a few words; nothing if it does not."""
    p = progress
    if not p.wait or _is_done(p):
        return []
    words = f"waiting for {_awaited(p)}"
    if p.wait_s is not None and p.wait_s >= 0.05:  # it is shown in tenths
        words += f" ({format_duration(p.wait_s)} {'at most' if p.wait == 'locked' else 'more'})"
    # A pause has the service's own words for a reason, the next look what the last one showed; the other waits are in the numbers.
    explained = p.why and (p.wait == "pause" or (p.wait == "backoff" and p.phase != "deleting"))
    return [f"{words}: {sanitize(p.why, 100)}" if explained else words]


def _awaited(progress: Progress) -> str:
    p = progress
    locked = f"the service's lock on {pluralize(p.locked, 'document')}"
    match p.wait:
        case "rate":
            another = ", which another process with this key wants" if p.rate_is_anothers else ""
            return "the rate limit" if p.rate is None else f"the rate limit of {format_rate(p.rate)}{another}"
        case "indexing":
            indexing = f"{pluralize(p.indexing - p.locked, 'document')} to be indexed"
            return f"{indexing} and {locked}" if p.locked else indexing
        case _:
            return {
                "": "",
                "pause": "the end of a pause",
                "locked": locked,
                "service": pluralize(p.in_flight, "answer"),
                "backoff": "the next try after a failure" if p.phase == "deleting" else "the next look",
                "consumer": "the reader of the outcomes",
                "confirm": "the answer to the question",
            }[p.wait]


# ---------------------------------------------------------------------- the live display


def live_display(
    looks: Sequence[Progress], elapsed: float, *, stopping: bool = False, columns: int = 80
) -> RenderableType:
    """For each provider a bar, its numbers and one line on why it waits, for a terminal of so many ``columns``; a run that is
    ``stopping`` has no time left."""
    from rich.console import Group

    bar = min(24, 3 * columns // 10)
    rows: list[RenderableType] = []
    if len(looks) > 1:
        gone, total = sum(p.deleted + p.already_gone for p in looks), sum(p.total for p in looks)
        rows.append(_bar("all", sum(map(_settled, looks)), total, f"{gone} of {total} deleted", bar))
    for look in looks:
        rows.append(_bar(look.provider, _settled(look), look.total, how_far(look), bar))
        rows.append(_row(", ".join([*_counts(look), *_pace(look, stopping=stopping)])))
        rows.append(_row(*_wait(look)))
        # Six datasets in all, and of five or more providers none: seven providers fit a terminal of 24 lines.
        rows += map(_row, active_datasets(look, 6 // len(looks) if len(looks) < 5 else 0))
    key = "once more stops at once" if stopping else "stops gently"
    rows.append(_row(f"{format_duration(elapsed)} so far; Ctrl-C {key}"))
    return Group(*rows)


def _bar(called: str, done: int, total: int, words: str, width: int) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    # Of the terminal's own sixteen colors; dim, which vanishes on some light backgrounds, is for no word.
    bar = ProgressBar(max(1, total), done, width=width, style="dim", complete_style="green", finished_style="green")
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(sanitize(called, 40), style="bold"), bar, Text(words, no_wrap=True, overflow="ellipsis"))
    return grid


def _row(words: str = "") -> RenderableType:
    from rich.text import Text

    return Text(f"  {words}", no_wrap=True, overflow="ellipsis")


def active_datasets(progress: Progress, shown: int = 6) -> list[str]:
    """The datasets that have documents left, a line each, if there are several: those with something done first, the rest counted."""
    if len(progress.datasets) < 2 or progress.phase != "deleting" or not shown:
        return []
    active = [dataset for dataset in progress.datasets if dataset.left > 0]
    active.sort(key=lambda dataset: dataset.left == dataset.selected)  # stable: in the order that they are taken
    lines = []
    for d in active[:shown]:
        rejected = f", {d.rejected} rejected" if d.rejected else ""
        called = sanitize(d.name, 40) or show_invisible(d.dataset, 40)
        lines.append(f"{called}: {d.deleted} of {d.selected} deleted{rejected}, {d.left} to go")
    if len(active) > shown:
        lines.append(f"and {pluralize(len(active) - shown, 'more dataset')}")
    return lines


def _settled(progress: Progress) -> int:
    return progress.deleted + progress.already_gone + progress.rejected + progress.not_attempted


# ---------------------------------------------------------------------- how it is shown


@asynccontextmanager
async def show_progress(
    screen: Screen, log: BoundLogger, options: Options, look: Look, stopping: Callable[[], bool]
) -> AsyncIterator[None]:
    """Show ``look()`` while the context lasts, if the options allow it: a live display four times a second, or every ten seconds
    a line or an event of a JSON log.

    ``stopping`` says whether the run was interrupted, and only lets end what is in flight.
    """
    live = screen.moving and not options.log_json

    def show(looks: Sequence[Progress], elapsed: float) -> None:
        if live:
            screen.draw(live_display(looks, elapsed, stopping=stopping(), columns=screen.columns))
        elif not options.log_json:
            screen.say_wrapped(*(line(one, elapsed) for one in looks))
        else:
            for one in looks:
                found = {name: getattr(one, name) for name in LOGGED}
                numbers = {name: round(n, 2) for name, n in found.items() if isinstance(n, float)}
                log.info("progress", line=line(one, elapsed), **found | numbers)

    async def forever() -> None:
        every = 0.25 if live else 10.0
        clock = asyncio.get_running_loop().time
        began = clock()
        due = began + every
        while True:
            # Looked at more often than shown: the speed is measured from one look to another.
            await asyncio.sleep(min(every, 1.0))
            looks = look()
            if looks and clock() >= due:
                show(looks, clock() - began)
                due = max(due + every, clock())

    if options.quiet:
        yield
        return
    with screen.display(live=live):
        async with alongside(forever()):
            yield


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have ``work`` done while the context lasts; what it fails of is raised at the end, because it must not hide how the run ended."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        for problem in await asyncio.gather(task, return_exceptions=True):
            if isinstance(problem, Exception):
                raise problem
