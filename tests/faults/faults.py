"""The faults: a wire that lies, a provider that misreads, a limiter that grants too much, a store that loses."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bulkdel import Dify, Document
from bulkdel.limits import TokenStore
from bulkdel.limits.limiter import Lease
from bulkdel.model import Rate
from bulkdel.providers.protocol import (
    Answer,
    Asked,
    Deleted,
    Gone,
    Lost,
    Page,
    Pause,
    Reject,
    Reply,
    Request,
    Requeue,
    StopDataset,
    StopProvider,
    Verdict,
    Wire,
)
from tests.faults import checks
from tests.faults.checks import Check
from tests.faults.parts import Parts

JSON = {"content-type": "application/json", "x-version": "1.14.2"}


@dataclass(frozen=True)
class Fault:
    """A fault in one sentence, the part that has it, and the check that must fail."""

    words: str
    parts: Parts
    check: Check


# ---------------------------------------------------------------------- a wire that lies


Send = Callable[[Request], Awaitable[Reply]]


@dataclass(frozen=True)
class BadWire:
    """A wire around the service's own; ``lie`` says what it does with a request."""

    wire: Wire
    lie: Callable[[Request, Send], Awaitable[Reply]]

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        return await self.lie(
            request, lambda one: self.wire.send(one, timeout=timeout, connect_timeout=connect_timeout)
        )


def wire(lie: Callable[[Request, Send], Awaitable[Reply]]) -> Parts:
    return Parts(wire=lambda real: BadWire(real, lie))


def answering(wrong: Callable[[Reply], Reply]) -> Parts:
    """Each answer goes through ``wrong``."""

    async def lie(request: Request, send: Send) -> Reply:
        return wrong(await send(request))

    return wire(lie)


async def sends_twice(request: Request, send: Send) -> Reply:
    await send(request)
    return await send(request)


async def never_sends(request: Request, send: Send) -> Reply:
    return Answer(204, JSON) if request.method == "DELETE" else await send(request)


def gives_anothers_answer() -> Parts:
    """Each DELETE gets the answer of the one before it."""
    before: list[Reply] = [Answer(204, JSON)]

    async def lie(request: Request, send: Send) -> Reply:
        reply = await send(request)
        if request.method != "DELETE":
            return reply
        before.append(reply)
        return before.pop(0)

    return wire(lie)


async def sends_again_later(request: Request, send: Send) -> Reply:
    """After each DELETE the same leaves once more, in its own time."""
    if request.method == "DELETE":
        asyncio.get_running_loop().call_later(0.4, lambda: asyncio.ensure_future(send(request)))
    return await send(request)


async def deletes_while_reading(request: Request, send: Send) -> Reply:
    if request.method == "GET" and "/documents?" in request.path:
        await send(request._replace(method="DELETE"))
    return await send(request)


# ---------------------------------------------------------------------- a provider that misreads


def reading(wrong: Callable[[Verdict, Reply], Verdict]) -> type[Dify]:
    """A Dify whose reading of a delete goes through ``wrong``."""

    class Misreads(Dify):
        def read(self, asked: Asked, reply: Reply) -> Verdict:
            return wrong(super().read(asked, reply), reply)

    return Misreads


def if_it_is(kind: type | tuple[type, ...], instead: Verdict) -> Callable[[Verdict, Reply], Verdict]:
    return lambda verdict, _: instead if isinstance(verdict, kind) else verdict


class ListsNothing(Dify):
    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Any:
        page = super().read_listing(dataset, cursor, reply)
        return page if isinstance(page, Page) else Page((), None)


class ForgetsRows(Dify):
    """The last row of each page is missing, and so is the count."""

    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Any:
        page = super().read_listing(dataset, cursor, reply)
        return replace(page, items=page.items[:-1], total=None) if isinstance(page, Page) else page


class SeesNothingIndexing(Dify):
    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Any:
        page = super().read_listing(dataset, cursor, reply)
        if not isinstance(page, Page):
            return page
        return replace(page, items=tuple(replace(document, indexing=False) for document in page.items))

    def read_document(self, target: Any, reply: Reply) -> Any:
        found = super().read_document(target, reply)
        return replace(found, indexing=False) if isinstance(found, Document) else found


class ListingIsAlwaysEmptyAfterwards(Dify):
    """Once anything was deleted, every listing reads as empty."""

    deleted = False

    def read(self, asked: Asked, reply: Reply) -> Verdict:
        type(self).deleted = True
        return super().read(asked, reply)

    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Any:
        return Page((), None, 0) if type(self).deleted else super().read_listing(dataset, cursor, reply)


# ---------------------------------------------------------------------- a limiter that grants too much


class BadTokens:
    """A token store around the real one."""

    def __init__(self, store: TokenStore) -> None:
        self.store = store

    async def take(self, rate: Rate | None, pause_s: float) -> Lease:
        return await self.store.take(rate, pause_s)

    async def aclose(self) -> None:
        await self.store.aclose()


class GrantsAll(BadTokens):
    async def take(self, rate: Rate | None, pause_s: float) -> Lease:
        return replace(await self.store.take(rate, pause_s), permits=math.inf, retry_s=0.0)


class GrantsHalf(BadTokens):
    """Every second lease is lost: what is allowed is not used."""

    n = 0

    async def take(self, rate: Rate | None, pause_s: float) -> Lease:
        lease = await self.store.take(rate, pause_s)
        self.n += 1
        return replace(lease, permits=0) if lease.permits and self.n % 2 else lease


# ---------------------------------------------------------------------- a store that loses


class Cursor(list[Any]):
    """What a statement is said to have done."""

    rowcount = 1

    def fetchall(self) -> list[Any]:
        return list(self)


class LosesEndings(sqlite3.Connection):
    """The first page of endings is not written, and said to be."""

    lost = False

    def executemany(self, sql: str, rows: Sequence[Any], /) -> Any:
        if self.lost or not sql.startswith("UPDATE document SET outcome"):
            return super().executemany(sql, rows)
        self.lost = True
        done = Cursor()
        done.rowcount = len(rows)
        return done


def losing(statement: str, nth: int = 1) -> type[sqlite3.Connection]:
    """The ``nth`` statement that begins so is not done, and said to be."""

    class Loses(sqlite3.Connection):
        left = nth

        def execute(self, sql: str, *values: Any) -> Any:
            if sql.startswith(statement):
                self.left -= 1
                if not self.left:
                    return Cursor()
            return super().execute(sql, *values)

        def executemany(self, sql: str, rows: Any, /) -> Any:
            return Cursor() if sql.startswith(statement) else super().executemany(sql, rows)

    return Loses


class GivesTwice(sqlite3.Connection):
    """The first row of each page that is handed over comes once more."""

    def execute(self, sql: str, *values: Any) -> Any:
        found = super().execute(sql, *values)
        if not sql.startswith("SELECT d.row, place, d.document"):
            return found
        rows = found.fetchall()
        return Cursor(rows + rows[:1])


class CommitsLate(sqlite3.Connection):
    """A commit is made when the next one begins."""

    late = False

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT":
            self.late = True
            return Cursor()
        if sql == "BEGIN IMMEDIATE" and self.late:
            super().execute("COMMIT")
        return super().execute(sql, *values)


FAULTS = (
    Fault("each request leaves twice", wire(sends_twice), checks.a_purge_empties),
    Fault("a DELETE is answered without being sent", wire(never_sends), checks.a_purge_empties),
    Fault(
        "a lost answer is called a good one",
        answering(lambda reply: Answer(204, JSON) if isinstance(reply, Lost) else reply),
        checks.lost_answers_are_asked_again,
    ),
    Fault(
        "a lost request is said never to have left",
        answering(lambda reply: replace(reply, sent=False) if isinstance(reply, Lost) else reply),
        checks.lost_answers_are_asked_again,
    ),
    Fault(
        "redirects are followed to a page that says yes",
        answering(lambda reply: Answer(204, JSON) if isinstance(reply, Answer) and reply.status == 302 else reply),
        checks.what_is_no_dify_stops_all,
    ),
    Fault(
        "Retry-After is dropped",
        answering(lambda reply: reply._replace(headers=JSON) if isinstance(reply, Answer) else reply),
        checks.a_rate_limit_fails_nothing,
    ),
    Fault("answers reach the wrong request", gives_anothers_answer(), checks.each_document_has_its_own_ending),
    Fault("a request leaves once more after the stop", wire(sends_again_later), checks.a_stop_ends_the_sends),
    Fault("a listing deletes", wire(deletes_while_reading), checks.a_dry_run_only_reads),
    Fault(
        "whatever stops a provider reads as deleted",
        Parts(provider=reading(if_it_is(StopProvider, Deleted()))),
        checks.what_is_no_dify_stops_all,
    ),
    Fault(
        "a dataset that is not there reads as gone",
        Parts(provider=reading(if_it_is((StopDataset, Requeue), Gone()))),
        checks.a_lost_dataset_is_no_success,
    ),
    Fault(
        "an archived document reads as deleted",
        Parts(provider=reading(if_it_is(Reject, Deleted()))),
        checks.each_document_has_its_own_ending,
    ),
    Fault(
        "a document that is gone reads as rejected",
        Parts(provider=reading(if_it_is(Gone, Reject("refused", "no")))),
        checks.each_document_has_its_own_ending,
    ),
    Fault(
        "a rate limit reads as a rejection",
        Parts(provider=reading(if_it_is(Pause, Reject("refused", "slow down")))),
        checks.a_rate_limit_fails_nothing,
    ),
    Fault(
        "a rate limit costs an attempt",
        Parts(provider=reading(if_it_is(Pause, Requeue("unclear", "slow down")))),
        checks.a_rate_limit_fails_nothing,
    ),
    Fault(
        "an outage reads as deleted",
        Parts(provider=reading(if_it_is(Requeue, Deleted()))),
        checks.lost_answers_are_asked_again,
    ),
    Fault("a failed listing reads as an empty one", Parts(provider=ListsNothing), checks.a_broken_listing_is_not_empty),
    Fault("a row of each page is lost", Parts(provider=ForgetsRows), checks.a_purge_empties),
    Fault("the verification sees nothing", Parts(provider=ListingIsAlwaysEmptyAfterwards), checks.what_stays_is_said),
    Fault("nothing is ever being indexed", Parts(provider=SeesNothingIndexing), checks.indexing_is_waited_for),
    Fault("every permit is granted", Parts(tokens=GrantsAll), checks.no_window_holds_more),
    Fault("every second lease is lost", Parts(tokens=GrantsHalf), checks.no_window_holds_more),
    Fault("a page of endings is lost", Parts(database=LosesEndings), checks.a_resume_asks_only_for_the_rest),
    Fault(
        "the consent is lost", Parts(database=losing("UPDATE run SET agreed")), checks.a_resume_asks_only_for_the_rest
    ),
    Fault("a listed row is forgotten", Parts(database=losing("INSERT INTO document", 7)), checks.a_purge_empties),
    Fault("a row is handed over twice", Parts(database=GivesTwice), checks.a_purge_empties),
    Fault("a commit comes late", Parts(database=CommitsLate), checks.what_is_shown_is_on_record),
    Fault(
        "what was handed over is forgotten",
        Parts(database=losing("UPDATE document SET claimed")),
        checks.a_killed_run_knows_its_doubt,
    ),
)
