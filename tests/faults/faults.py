"""The faults: a wire that lies, a provider that misreads, a limiter that grants too much, a store that loses."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bulkdel import Dify, Document
from bulkdel.limits import TokenStore
from bulkdel.limits.limiter import Claim, Lease
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


class BadWire:
    """A wire around the service's own; ``lie`` says what it does."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        return await self.lie(
            request, lambda: self.wire.send(request, timeout=timeout, connect_timeout=connect_timeout)
        )

    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        raise NotImplementedError


class SendsTwice(BadWire):
    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        await send()
        return await send()  # type: ignore[no-any-return]


class NeverSends(BadWire):
    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        return Answer(204, JSON) if request.method == "DELETE" else await send()


class HidesTheLoss(BadWire):
    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        reply = await send()
        return Answer(204, JSON) if isinstance(reply, Lost) else reply


class DeniesThatItSent(BadWire):
    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        reply = await send()
        return replace(reply, sent=False) if isinstance(reply, Lost) else reply


class FollowsRedirects(BadWire):
    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        reply = await send()
        return Answer(204, JSON) if isinstance(reply, Answer) and reply.status == 302 else reply


class ForgetsRetryAfter(BadWire):
    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        reply = await send()
        return reply._replace(headers=JSON) if isinstance(reply, Answer) else reply


class GivesAnothersAnswer(BadWire):
    """Each DELETE gets the answer of the one before it."""

    before: Reply = Answer(204, JSON)

    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        reply = await send()
        if request.method == "DELETE":
            reply, self.before = self.before, reply
        return reply


class SendsAgainLater(BadWire):
    """After each DELETE the same leaves once more, in its own time."""

    tasks: set[asyncio.Task[Any]]

    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        reply = await send()
        if request.method == "DELETE":
            asyncio.get_running_loop().call_later(0.4, lambda: asyncio.ensure_future(send()))
        return reply


class DeletesWhileReading(BadWire):
    async def lie(self, request: Request, send: Callable[[], Any]) -> Reply:
        if request.method == "GET" and "/documents?" in request.path:
            await self.wire.send(request._replace(method="DELETE"), timeout=1.0, connect_timeout=1.0)
        return await send()


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

    async def take(self, claim: Claim) -> Lease:
        return await self.store.take(claim)

    async def aclose(self) -> None:
        await self.store.aclose()


class GrantsAll(BadTokens):
    async def take(self, claim: Claim) -> Lease:
        return replace(await self.store.take(claim), permits=math.inf, retry_s=0.0)


class GrantsTwice(BadTokens):
    async def take(self, claim: Claim) -> Lease:
        lease = await self.store.take(claim)
        return replace(lease, permits=2 * lease.permits)


class GrantsHalf(BadTokens):
    """Every second lease is lost: what is allowed is not used."""

    n = 0

    async def take(self, claim: Claim) -> Lease:
        lease = await self.store.take(claim)
        self.n += 1
        return replace(lease, permits=0) if lease.permits and self.n % 2 else lease


FAULTS = (
    Fault("each request leaves twice", Parts(wire=SendsTwice), checks.a_purge_empties),
    Fault("a DELETE is answered without being sent", Parts(wire=NeverSends), checks.a_purge_empties),
    Fault("a lost answer is called a good one", Parts(wire=HidesTheLoss), checks.lost_answers_are_asked_again),
    Fault(
        "a lost request is said never to have left", Parts(wire=DeniesThatItSent), checks.lost_answers_are_asked_again
    ),
    Fault(
        "redirects are followed to a page that says yes", Parts(wire=FollowsRedirects), checks.what_is_no_dify_stops_all
    ),
    Fault("Retry-After is dropped", Parts(wire=ForgetsRetryAfter), checks.a_rate_limit_fails_nothing),
    Fault("answers reach the wrong request", Parts(wire=GivesAnothersAnswer), checks.each_document_has_its_own_ending),
    Fault("a request leaves once more after the stop", Parts(wire=SendsAgainLater), checks.a_stop_ends_the_sends),
    Fault("a listing deletes", Parts(wire=DeletesWhileReading), checks.a_dry_run_only_reads),
    Fault(
        "whatever stops a provider reads as deleted",
        Parts(provider=reading(if_it_is(StopProvider, Deleted()))),
        checks.what_is_no_dify_stops_all,
    ),
    Fault(
        "whatever stops a provider is a rejected document",
        Parts(provider=reading(if_it_is(StopProvider, Reject("refused", "no")))),
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
        "an outage is final",
        Parts(provider=reading(if_it_is(Requeue, Reject("refused", "no")))),
        checks.lost_answers_are_asked_again,
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
    Fault("each lease is granted twice", Parts(tokens=GrantsTwice), checks.no_window_holds_more),
    Fault("every second lease is lost", Parts(tokens=GrantsHalf), checks.no_window_holds_more),
)
