"""What both simulators share: documents, faults, the log of requests, and the way of one request through them."""

from __future__ import annotations

import asyncio
import math
import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from aiohttp import web

from bulkdel.errors import ConfigurationError
from bulkdel.simulator import answers, names
from bulkdel.simulator.answers import Ask, Cut, Reply
from bulkdel.simulator.documents import Dataset, Document, Held, Store, planned
from bulkdel.simulator.faults import Faults, Mishap, mishap_of
from bulkdel.simulator.server import Server
from bulkdel.simulator.window import SlidingWindow


@dataclass(slots=True)
class Logged:
    """One request that arrived."""

    at: float
    """Loop time of its arrival."""
    method: str
    path: str
    """As it was sent, the query included."""
    status: int = 0
    """Of its answer; 0 while there is none, and if there will be none."""


class Simulator(ABC):
    """A simulated service on loopback: ``async with DifySimulator(documents=100) as simulator:``.

    ``documents`` is how many each dataset holds, or one number per dataset. The simulator can be filled and looked at before
    it is started and after it is stopped; its clock stands still at 0 until it is started. Time is the running loop's.

    :raises ConfigurationError: the numbers or faults make no sense, or ``host`` is not loopback
    """

    READY: ClassVar[str]
    """The status of a document that is indexed."""
    PHASES: ClassVar[Sequence[str]]
    """The statuses of a document that is being indexed, the usual one first."""
    FAILED: ClassVar[Sequence[str]]
    """The statuses of a document whose indexing failed."""

    def __init__(
        self,
        *,
        documents: int | Sequence[int] = 100,
        datasets: int = 1,
        faults: Faults | None = None,
        key: str | None = None,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        epoch: float | None = None,
    ) -> None:
        counts = [documents] * datasets if isinstance(documents, int) else list(documents)
        if datasets < 0 or any(count < 0 for count in counts):
            raise ConfigurationError(
                f"the numbers of datasets and documents cannot be negative: {datasets}, {documents}"
            )
        self.seed = seed
        self.requests: list[Logged] = []
        """Every request that arrived, in order."""
        self.refused = 0
        """Requests refused for their rate."""
        self.danger = 0
        """Requests that would have changed something else than a document: a client of ours sends none."""
        self._started: float | None = None
        self._ended = 0.0
        self._answered = 0
        self._paused_once = False
        self._store = Store(clock=self._now, epoch=time.time() if epoch is None else epoch, seed=seed)
        self.key = self._new_key() if key is None else key
        self._key_valid = True
        self._outage_began: float | None = None
        self._stale = False
        self._waiting = 0
        self._luck = random.Random(f"{seed}/luck")
        self._deletes = 0
        self._attempts: Counter[str] = Counter()
        self.faults = Faults()
        self._apply(faults or self.faults)
        self._server = Server(self._handle, host=host, port=port, keepalive=self.faults.keepalive)
        for count in counts:
            dataset = self.add_dataset()
            self._check_room(count)
            for fields in planned(
                count, self.faults, newest=self._store.unix(), seed=f"{seed}/{dataset}", failed=self.FAILED
            ):
                self.add_document(dataset, **fields)

    # Its life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen and let the clock run.

        :raises OSError: the port is taken
        """
        await self._server.start()
        self._started = asyncio.get_running_loop().time() - self._ended

    async def stop(self) -> None:
        """Close the port and every connection; the clock stands still, what it holds stays to be looked at."""
        self._ended, self._started = self._now(), None
        await self._server.stop()

    @property
    def base_url(self) -> str:
        """The base URL that a client is given; its port is known once the simulator is started."""
        return self._server.address + self._prefix()

    @property
    def port(self) -> int:
        """The port that it listens on, or was told to."""
        return self._server.port

    # What a test looks at

    @property
    def dataset_ids(self) -> list[str]:
        """The datasets there are, oldest first."""
        return list(self._store.datasets)

    def documents(self, dataset: str) -> list[Held]:
        """List what a dataset still holds, newest first; nothing if the dataset is gone."""
        now = self._now()
        found = self._store.datasets.get(dataset)
        return [
            Held(each.id, each.name, each.status(now), each.archived, each.enabled, each.created_at)
            for each in (found.newest_first() if found else ())
        ]

    @property
    def remaining(self) -> int:
        """How many documents all datasets hold together."""
        return sum(len(dataset.documents) for dataset in self._store.datasets.values())

    @property
    def deleted(self) -> list[str]:
        """Ids of the documents that were deleted, in order."""
        return self._store.deleted

    @property
    def orphans(self) -> int:
        """Segments that were left behind because a document was deleted while it was being indexed."""
        return self._store.orphans

    # What a test changes

    def set_faults(self, faults: Faults | None = None, /, **changes: Any) -> None:
        """Replace the faults, or change some of them; a running outage ends and the rate's window starts empty.

        :raises ConfigurationError: they make no sense
        """
        self._apply(replace(self.faults if faults is None else faults, **changes))

    def revoke_key(self) -> None:
        """Refuse the key from now on."""
        self._key_valid = False

    def add_dataset(self, *, name: str | None = None, id: str | None = None, **fields: Any) -> str:
        """Add an empty dataset and return its id; ``fields`` are those of ``state.Dataset``."""
        store = self._store
        if name is None:
            name = names.dataset_name(len(store.datasets))
        fields.setdefault("created_at", store.unix())
        dataset = Dataset(id=id or store.uuid(), name=name, **fields)
        store.datasets[dataset.id] = dataset
        return dataset.id

    def remove_dataset(self, dataset: str) -> None:
        """Let a dataset vanish with all that is in it.

        :raises KeyError: there is none of this id
        """
        if not self._store.remove(dataset):
            raise KeyError(dataset)

    def set_dataset(self, dataset: str, **fields: Any) -> None:
        """Change fields of a dataset: ``api_access=False`` (Dify), ``role="USER"`` or ``role=None`` (Langdock).

        :raises KeyError: there is none of this id
        """
        found = self._store.datasets[dataset]
        for field, changed in fields.items():
            setattr(found, field, changed)

    def add_document(
        self,
        dataset: str,
        *,
        name: str | None = None,
        id: str | None = None,
        status: str | None = None,
        indexing_for: float = 0.0,
        created_at: float | None = None,
        **fields: Any,
    ) -> str:
        """Add a document and return its id.

        It is being indexed for ``indexing_for`` seconds (``math.inf``: for ever). ``status`` is one of its indexing, then
        it stays so, or what it ends in. ``created_at`` is unix seconds. ``fields`` are those of ``state.Document``:
        ``archived``, ``enabled``, ``paused``, ``position``, ``external_id``.

        :raises KeyError: there is no such dataset
        :raises ConfigurationError: the dataset is full
        """
        store = self._store
        into = store.datasets[dataset]
        self._check_room(len(into.documents) + 1)
        into.positions += 1
        now = store.clock()
        phase: str = self.PHASES[0]
        outcome: str = status or self.READY
        ready_at = now + indexing_for if indexing_for else -math.inf
        if status is not None and status in self.PHASES:
            phase, outcome = status, self.READY
            ready_at = now + indexing_for if indexing_for else math.inf
        fields.setdefault("position", into.positions)
        document = Document(
            id=id or self._new_document_id(),
            name=next(names.document_names(1)) if name is None else name,
            created_at=store.unix() if created_at is None else int(created_at),
            phase=phase,
            outcome=outcome,
            ready_at=ready_at,
            **fields,
        )
        into.add(document)
        return document.id

    def remove_document(self, dataset: str, document: str) -> None:
        """Take a document away as another client would: it is not counted as deleted here.

        :raises KeyError: it is not there
        """
        del self._store.datasets[dataset].documents[document]

    # What each service does its own way

    @abstractmethod
    def _prefix(self) -> str:
        """The path that every request begins with, and the base URL ends in."""

    @abstractmethod
    def _new_key(self) -> str: ...

    @abstractmethod
    def _new_document_id(self) -> str: ...

    @abstractmethod
    def _check_room(self, documents: int) -> None:
        """Raise ConfigurationError if a dataset cannot hold so many documents."""

    @abstractmethod
    def _check_faults(self, faults: Faults) -> None:
        """Raise ConfigurationError for faults that this service cannot have."""

    @abstractmethod
    def _error(self, status: int, code: str, message: str) -> Reply:
        """Word an error as the service does."""

    @abstractmethod
    def _broken(self) -> Reply:
        """Say that something went wrong inside: 500."""

    @abstractmethod
    def _billing_trouble(self) -> Reply:
        """Say that the billing service cannot be asked."""

    @abstractmethod
    def _is_preflight(self, path: str) -> bool:
        """Say whether a GET of ``path`` asks for a dataset or for all of them, and for no document."""

    @abstractmethod
    async def _answer(self, ask: Ask) -> Reply | Cut:
        """Answer a request that reached the service itself."""

    # The way of one request

    async def _handle(self, request: web.BaseRequest) -> Reply | Cut:
        logged = Logged(asyncio.get_running_loop().time(), request.method, request.raw_path)
        self.requests.append(logged)
        reply: Reply | Cut | None = self._in_front()
        if reply is None and request.method == "GET" and self._is_preflight(request.rel_url.raw_path):
            reply = await self._preflight_fault()
        if reply is None:
            body = await request.read() if request.can_read_body else b""
            reply = await self._answer(
                Ask(request.method, request.rel_url.raw_path, request.query, request.headers, body)
            )
        if isinstance(reply, Reply):
            logged.status = reply.status
            reply = self._on_its_way(reply)
        return reply

    def _in_front(self) -> Reply | None:
        """Give the answer of what stands in front of the service: a restart, a login proxy, a rate limit."""
        faults, done = self.faults, len(self.deleted)
        if faults.outage_after is not None and done >= faults.outage_after:
            self._outage_began = self._now() if self._outage_began is None else self._outage_began
            if self._now() < self._outage_began + faults.outage_for:
                return answers.outage(faults.outage_status)
        if faults.intercept is not None and done >= faults.intercept_after:
            return answers.intercepted(faults.intercept)
        return None if faults.rate_style == "403" else self._over_limit()

    async def _preflight_fault(self) -> Reply | None:
        match self.faults.preflight:
            case None:
                return None
            case "hang":
                await asyncio.Event().wait()
                return None
            case "plugin-daemon":
                # Dify 1.16.1 says so as long as the daemon is away; deletes and listings of documents go on.
                return self._error(400, "invalid_param", "Failed to request plugin daemon, please check its service")
            case "500":
                return self._broken()
            case ("502" | "503") as status:
                return answers.outage(int(status))

    def _on_its_way(self, reply: Reply) -> Reply:
        """Change an answer as proxies and broken servers do."""
        faults = self.faults
        self._answered += 1
        if faults.strip_version is not None and self._answered >= faults.strip_version:
            kept = {name: text for name, text in reply.headers.items() if name not in ("X-Version", "X-Env")}
            reply = replace(reply, headers=kept)
        if faults.long_headers:
            reply = reply.plus({"X-Long": "x" * 20 * 1024})
        if faults.behind_204 and reply.status == 204:
            # A chunked body without a chunk is what some servers write behind a 204 that must have none.
            chunk = faults.behind_204 == "chunk"
            reply = reply.plus({"Transfer-Encoding": "chunked"} if chunk else {})
            reply = replace(reply, behind=b"0\r\n\r\n" if chunk else b"\x00garbage\r\n\r\n")
        return reply

    def _over_limit(self) -> Reply | None:
        """Count a request against the rate limit; the refusal, when it is over."""
        faults = self.faults
        wait = None if self._window is None else self._window.refuse(self._now())
        if wait is None:
            return None
        self.refused += 1
        seconds = str(max(1, math.ceil(wait)))
        # In whole seconds, as HTTP dates are; one more, because a fraction is cut off both this date and its Retry-After.
        date = self._store.unix() + faults.clock_skew
        dates = {"Date": answers.http_date(date), "Retry-After": answers.http_date(date + math.ceil(wait) + 1)}
        refusal = self._error(429, "too_many_requests", "Rate limit exceeded")
        match faults.rate_style:
            case "429":
                return refusal
            case "429-retry-after":
                return refusal.plus({"Retry-After": seconds})
            case "429-date":
                return refusal.plus(dates)
            case "429-reset":
                return refusal.plus({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": seconds})
            case "403":
                said = "Sorry, you have reached the knowledge base request rate limit of your subscription."
                return self._error(403, "forbidden", said)
            case "529":
                return self._error(529, "overloaded_error", "Overloaded")
            case "1015":
                return answers.cloudflare_1015()

    async def _work(self, *, listing: bool = False) -> Reply | None:
        """Take the time that real work takes; the error, if it waited too long for its turn."""
        faults, slots = self.faults, self._slots
        took = faults.latency + (self._luck.random() * faults.jitter if faults.jitter else 0.0)
        took += faults.page_latency if listing else 0.0
        if slots is None:
            if took:
                await asyncio.sleep(took)
            return None
        self._waiting += 1
        try:
            async with asyncio.timeout(faults.slot_timeout):
                await slots.acquire()
        except TimeoutError:
            return self._broken()
        finally:
            self._waiting -= 1
        try:
            await asyncio.sleep(took * (1 + faults.contention * self._waiting))
        finally:
            slots.release()
        return None

    async def _take_time(self, *, write: bool = False, listing: bool = False) -> Reply | None:
        """Take the time of a request that reads or writes; the error that it ends in, if any."""
        return await self._work(listing=listing)

    async def _delete(self, document: str, really: Callable[[], Reply]) -> Reply | Cut:
        """Let a document DELETE meet its mishap, if it has one; else ``really`` deletes the document and words the answer."""
        faults = self.faults
        if faults.pause_once is not None and not self._paused_once:
            self._paused_once = True
            self.refused += 1
            pause = {"Retry-After": str(math.ceil(faults.pause_once))}
            return self._error(429, "too_many_requests", "Too many requests").plus(pause)
        self._deletes += 1
        self._attempts[document] += 1
        number, attempt, chance = self._deletes, self._attempts[document], self._luck.random()
        mishap = mishap_of(faults, number=number, document=document, attempt=attempt, chance=chance)
        if (refusal := await self._take_time(write=True)) is not None:
            return refusal
        match mishap:
            case Mishap.RESET:
                return Cut(reset=True)
            case Mishap.ERROR:
                return self._broken()
            case Mishap.BILLING:
                return self._billing_trouble()
            case _:
                reply = really()
        match mishap:
            case Mishap.ERROR_DELETED:
                return self._broken()
            case Mishap.LOST:
                return Cut(reset=False)
            case _:
                return reply

    def _remove(self, dataset: Dataset, document: str) -> bool:
        """Delete a document, with all that is to happen then; False if it is not there."""
        faults = self.faults
        remember = bool(faults.stale) or faults.comes_back is not None
        if not self._store.delete(dataset, document, remember=remember):
            return False
        if len(self.deleted) == faults.vanish_after:
            self._store.remove(dataset.id)
        if len(self.deleted) == faults.revoke_after:
            self.revoke_key()
        return True

    def _listing(self, dataset: Dataset) -> list[Document]:
        """The documents as a listing shows them now."""
        shown = dataset.listing(self._now(), self.faults.stale)
        if not shown and self.faults.comes_back is not None and dataset.deleted:
            back = [document for _, document in dataset.deleted]
            dataset.deleted.clear()
            asyncio.get_running_loop().call_later(self.faults.comes_back, _bring_back, dataset, back)
        return shown

    # Its own business

    def _now(self) -> float:
        return self._ended if self._started is None else asyncio.get_running_loop().time() - self._started

    def _apply(self, faults: Faults) -> None:
        self._check_faults(faults)
        limit = faults.rate_limit
        self._window = (
            None if limit is None else SlidingWindow(limit, faults.rate_window, count_refused=faults.count_refused)
        )
        self._outage_began = None
        self._paused_once = False
        self._slots = None if faults.slots is None else asyncio.Semaphore(faults.slots)
        # SQLAlchemy's pool does not ping: the connection that died with Postgres costs one more 500 after it is back.
        self._stale = self._stale or (self.faults.postgres_down and not faults.postgres_down)
        self.faults = faults


def _bring_back(dataset: Dataset, documents: Sequence[Document]) -> None:
    for document in documents:
        dataset.add(document)
