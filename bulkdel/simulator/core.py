"""What both simulators share: documents, faults, the log of requests, and the way of one request through them."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self, get_args

from aiohttp import web

from bulkdel.errors import ConfigurationError
from bulkdel.simulator.documents import Dataset, Document, Held, Store, dataset_name, document_names, planned
from bulkdel.simulator.faults import Faults, Mishap, RateStyle
from bulkdel.simulator.rates import over_limit
from bulkdel.simulator.server import LOOPBACK, Cut, Logged, Refused, end_connection
from bulkdel.simulator.troubles import Troubles, outage


class Simulator(ABC):
    """A simulated service on loopback: ``async with DifySimulator(documents=100) as simulator:``.

    ``documents`` is how many each dataset holds, or one number per dataset. The simulator can be filled and looked at before
    it is started and after it is stopped; its clock stands still at 0 until it is started. Time is the running loop's.

    :raises ConfigurationError: the numbers or faults make no sense, or ``host`` is not loopback: a simulator deletes what it is
        asked to, and its key is no secret
    """

    READY: ClassVar[str]
    """The status of a document that is indexed."""
    PHASES: ClassVar[Sequence[str]]
    """The statuses of a document that is being indexed, the usual one first."""
    FAILED: ClassVar[Sequence[str]]
    """The statuses of a document whose indexing failed."""
    ROOM: ClassVar[float] = math.inf
    """The most documents that a dataset holds."""
    RATE_STYLES: ClassVar[Sequence[RateStyle]] = get_args(RateStyle)

    prefix: str
    """The path that every request begins with, and the base URL ends in."""

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
        if min((datasets, *counts)) < 0:
            raise ConfigurationError(
                f"the numbers of datasets and documents cannot be negative: {datasets}, {documents}"
            )
        self.requests: list[Logged] = []
        """Every request that arrived, in order."""
        self.refused = 0
        """Requests refused for their rate."""
        self.danger = 0
        """Requests that would have changed something else than a document: a client of ours sends none."""
        self._started: float | None = None
        self._ended = 0.0
        self._store = Store(clock=self._now, epoch=time.time() if epoch is None else epoch, seed=seed)
        self.key = self._new_key() if key is None else key
        self._key_valid = True
        self._troubles = Troubles(self._checked(faults or Faults()), seed=seed, clock=self._now)
        if host not in LOOPBACK:
            raise ConfigurationError(f"a simulator listens on loopback only ({', '.join(LOOPBACK)}): {host}")
        self.host, self.port = host, port
        """Where it listens, or is to listen; port 0 becomes the free one that is found when it is started."""
        self._runner: web.ServerRunner | None = None
        for count in counts:
            dataset = self.add_dataset()
            self._check_room(count)
            newest = self._store.unix()
            for fields in planned(count, self.faults, newest=newest, seed=f"{seed}/{dataset}", failed=self.FAILED):
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
        # web.Server and not web.Application: one handler, no router, about twice the requests a second.
        idle = 75.0 if self.faults.keepalive is None else self.faults.keepalive  # 75 s is nginx's idle time
        server = web.Server(self._handle, access_log=None, keepalive_timeout=idle)
        # A request that hangs on purpose must not hold the end up: aiohttp would wait for it up to 60 s.
        runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, backlog=1024).start()
        except BaseException:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner = runner
        self._started = asyncio.get_running_loop().time() - self._ended

    async def stop(self) -> None:
        """Close the port and every connection; the clock stands still, what it holds stays to be looked at."""
        self._ended, self._started = self._now(), None
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    @property
    def base_url(self) -> str:
        """The base URL that a client is given; its port is known once the simulator is started."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.prefix}"

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

    @property
    def faults(self) -> Faults:
        """What it does wrong."""
        return self._troubles.faults

    # What a test changes

    def set_faults(self, faults: Faults | None = None, /, **changes: Any) -> None:
        """Replace the faults, or change some of them; a running outage ends and the rate's window starts empty.

        :raises ConfigurationError: they make no sense
        """
        self._troubles.change(self._checked(replace(self.faults if faults is None else faults, **changes)))

    def revoke_key(self) -> None:
        """Refuse the key from now on."""
        self._key_valid = False

    def add_dataset(self, *, name: str | None = None, id: str | None = None, **fields: Any) -> str:
        """Add an empty dataset and return its id; ``fields`` are those of ``documents.Dataset``."""
        store = self._store
        if name is None:
            name = dataset_name(len(store.datasets))
        fields.setdefault("created_at", store.unix())
        dataset = Dataset(id=id or store.uuid(), name=name, **fields)
        store.datasets[dataset.id] = dataset
        return dataset.id

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
        it stays so, or what it ends in. ``created_at`` is unix seconds. ``fields`` are those of ``documents.Document``:
        ``archived``, ``enabled``, ``paused``, ``position``, ``external_id``.

        :raises KeyError: there is no such dataset
        :raises ConfigurationError: the dataset is full
        """
        store = self._store
        into = store.datasets[dataset]
        self._check_room(len(into.documents) + 1)
        into.positions += 1
        now = self._now()
        phase: str = self.PHASES[0]
        outcome: str = status or self.READY
        ready_at = now + indexing_for if indexing_for else -math.inf
        if status is not None and status in self.PHASES:
            phase, outcome = status, self.READY
            ready_at = now + indexing_for if indexing_for else math.inf
        fields.setdefault("position", into.positions)
        document = Document(
            id=id or self._new_document_id(),
            name=next(document_names(1)) if name is None else name,
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
    def _new_key(self) -> str: ...

    @abstractmethod
    def _new_document_id(self) -> str: ...

    @abstractmethod
    def _error(self, status: int, code: str, message: str) -> web.Response:
        """Word an error as the service does."""

    @abstractmethod
    def _broken(self) -> web.Response: ...

    @abstractmethod
    def _is_preflight(self, path: str) -> bool:
        """Say whether a GET of ``path`` asks for a dataset or for all of them, and for no document."""

    @abstractmethod
    async def _answer(self, request: web.BaseRequest) -> web.Response:
        """Answer a request that reached the service itself, or raise ``Refused`` or ``Cut``."""

    # The way of one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived = asyncio.get_running_loop().time()
        logged = Logged(arrived, request.method, request.raw_path, headers=request.headers)
        self.requests.append(logged)
        try:
            reply = self._troubles.in_front(len(self.deleted))
            if reply is None:
                if self.faults.rate_style != "403":
                    self._keep_rate()
                if request.method == "GET" and self._is_preflight(request.rel_url.raw_path):
                    await self._preflight_fault()
                reply = await self._answer(request)
        except Refused as refused:
            reply = refused.reply
        except Cut as cut:
            end_connection(request.transport, reset=cut.reset)
            # aiohttp ends the task of a connection that is gone when its handler is cancelled.
            raise asyncio.CancelledError from None
        logged.status = reply.status
        return self._troubles.on_its_way(reply)

    async def _preflight_fault(self) -> None:
        match self.faults.preflight:
            case None:
                return
            case "hang":
                await asyncio.Event().wait()
            case "plugin-daemon":
                # Dify 1.16.1 says so as long as the daemon is away; deletes and listings of documents go on.
                message = "Failed to request plugin daemon, please check its service"
                raise Refused(self._error(400, "invalid_param", message))
            case "500":
                raise Refused(self._broken())
            case ("502" | "503") as status:
                raise Refused(outage(int(status)))

    def _refuse(self, status: int, code: str, message: str) -> Refused:
        return Refused(self._error(status, code, message))

    def _keep_rate(self) -> None:
        """Count a request against the rate limit, and refuse it if it is over the limit."""
        wait = self._troubles.over_limit()
        if wait is not None:
            self.refused += 1
            date = self._store.unix() + self.faults.clock_skew
            raise Refused(over_limit(self.faults.rate_style, wait, date, self._error))

    async def _take_time(self, *, write: bool = False, listing: bool = False) -> None:
        if took := self.faults.latency + (self.faults.page_latency if listing else 0.0):
            await asyncio.sleep(took)

    async def _delete(self, document: str, really: Callable[[], web.Response]) -> web.Response:
        """Let a document DELETE meet its mishap, if it has one; else ``really`` deletes the document and words the answer."""
        if self._troubles.pauses():
            self.refused += 1
            pause = self._error(429, "too_many_requests", "Too many requests")
            pause.headers["Retry-After"] = str(math.ceil(self.faults.pause_once or 0))
            return pause
        mishap = self._troubles.mishap(document)
        await self._take_time(write=True)
        if mishap is Mishap.RESET:
            raise Cut(reset=True)
        if mishap is Mishap.BILLING:
            message = "Unable to retrieve billing information. Please try again later or contact support."
            return self._error(400, "invalid_param", message)
        reply = self._broken() if mishap is Mishap.ERROR else really()
        if mishap is Mishap.LOST:
            raise Cut(reset=False)
        return self._broken() if mishap is Mishap.ERROR_DELETED else reply

    def _remove(self, dataset: Dataset, document: str) -> bool:
        """Delete a document, with all that is to happen then; False if it is not there."""
        faults = self.faults
        if not self._store.delete(dataset, document, remember=bool(faults.stale) or faults.comes_back is not None):
            return False
        if len(self.deleted) == faults.vanish_after:
            self._store.remove(dataset.id)
        if len(self.deleted) == faults.revoke_after:
            self.revoke_key()
        return True

    def _listing(self, dataset: Dataset) -> list[Document]:
        shown = dataset.listing(self._now(), self.faults.stale)
        if not shown and self.faults.comes_back is not None and dataset.deleted:
            back = [document for _, document in dataset.deleted]
            dataset.deleted.clear()
            asyncio.get_running_loop().call_later(self.faults.comes_back, dataset.add, *back)
        return shown

    # Its own business

    def _now(self) -> float:
        return self._ended if self._started is None else asyncio.get_running_loop().time() - self._started

    def _check_room(self, documents: int) -> None:
        if documents > self.ROOM:
            message = f"a dataset of this service holds at most {self.ROOM} documents: {documents}"
            raise ConfigurationError(message, hint="use more datasets")

    def _checked(self, faults: Faults) -> Faults:
        if faults.rate_style not in self.RATE_STYLES:
            message = f"this service does not refuse a rate so: {faults.rate_style}"
            raise ConfigurationError(message, hint="use 429 or 529")
        return faults
