"""Requests to one provider over its own pool of connections: each call sends at most one, and brings an Answer or a Lost."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from bulkdel.errors import ConfigurationError
from bulkdel.providers.protocol import Answer, Lost, Reply, Request
from bulkdel.text import safe
from bulkdel.wire.bodies import body_at_hand, read_body, unpacked
from bulkdel.wire.deadlines import Deadlines
from bulkdel.wire.failures import CONNECTING, FAILURES, Dropped, NoConnection, UncleanConnection, lost
from bulkdel.wire.proxies import proxy_for

if TYPE_CHECKING:
    from aiohttp.tracing import Trace
    from aiohttp.typedefs import LooseHeaders

    from bulkdel.providers.protocol import Provider

KEEPALIVE_S = 1.5
"""How long an idle connection is kept: gunicorn, which serves Dify, closes idle ones after 2 s, and a request that meets
that moment is lost in doubt. Half a second is left for the way there."""

_KEPT_LIMITS = 64  # a call uses one or two; a deadline that shortens them makes more, and they must not pile up


class HttpWire:
    """A ``Wire`` over aiohttp, for one provider; use it as an async context manager, in one event loop.

    :param provider: where to send and with which headers; the key among them appears in no ``repr``, message or log
    :param connections: how many connections there may be at once; no more calls of ``send`` may be in flight
    :param ca_file: a PEM file of certificate authorities to trust as well as the system's; TLS is always verified
    :raises ConfigurationError: the address, the CA file or the environment's proxy cannot be used
    """

    def __init__(self, provider: Provider, *, connections: int, ca_file: str | Path | None = None) -> None:
        base = _base_url(provider.base_url)
        self._base = base
        self._prefix = base.raw_path.rstrip("/")
        self._connections = connections
        self._tls = _trust(ca_file)
        self._headers = _headers(provider.headers(), base.host_port_subcomponent or "")
        self._options: dict[str, Any] = {"allow_redirects": False, "ssl": self._tls}
        proxy = proxy_for(base)
        if proxy is not None:
            # aiohttp gives a session's own headers to the proxy too, the key included (its CONNECT is in clear), so with
            # a proxy they go with each request instead, and the proxy gets these.
            to_proxy = {"User-Agent": user_agent()}
            self._options |= {"proxy": proxy.url, "proxy_headers": to_proxy, "headers": self._headers}
            if proxy.authorization:
                hop = to_proxy if base.scheme == "https" else self._headers
                hop["Proxy-Authorization"] = proxy.authorization
        self._through_proxy = proxy is not None
        self._json_headers = self._headers | {"Content-Type": "application/json"}
        self._limits: dict[float, aiohttp.ClientTimeout] = {}
        self._pool: _Pool | None = None
        self._opened: tuple[aiohttp.ClientSession, Deadlines, _Pool] | None = None

    def __repr__(self) -> str:
        return f"HttpWire({str(self._base)!r}, connections={self._connections})"

    @property
    def requests(self) -> int:
        """Requests that left on the wire, the lost and the cancelled ones included."""
        return 0 if self._pool is None else self._pool.granted

    async def __aenter__(self) -> HttpWire:
        self._pool = pool = _Pool(limit=self._connections, keepalive_timeout=KEEPALIVE_S)
        session = aiohttp.ClientSession(
            connector=pool,
            headers=None if self._through_proxy else self._headers,
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # aiohttp takes a gzip body that stops early for a whole one
        )
        self._opened = session, Deadlines(), pool
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            session, deadlines, _ = opened
            await session.close()
            deadlines.close()

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        """Send ``request`` once and read its answer, all within ``timeout`` seconds, connecting within ``connect_timeout``.

        Whatever the network or the service does ends in an ``Answer`` or a ``Lost``. Cancelled, it closes its connection.
        """
        opened, task = self._opened, asyncio.current_task()
        if opened is None or task is None:
            raise RuntimeError("the wire is not open: use it as an async context manager")
        session, deadlines, pool = opened
        # Paths are percent-encoded by the provider and stay as they are: an id may hold "%2F".
        path, limit, query = request.path, request.max_body, ""
        if "?" in path:
            path, _, query = path.partition("?")
        url = self._base.with_path(self._prefix + path, encoded=True)  # 2 µs less than parsing the whole text
        if query:
            url = URL(f"{url}?{query}", encoded=True)
        limits = self._limits.get(connect_timeout) or self._limit(connect_timeout)
        options = self._options
        if request.json is not None:
            options = options | {"data": json.dumps(request.json).encode(), "headers": self._json_headers}
        deadlines.begin(task, timeout)
        try:
            response = await session.request(request.method, url, timeout=limits, **options)
            try:
                connection = response.connection
                if connection is None:
                    body, cut = body_at_hand(response.content, limit)
                else:
                    body, cut = await read_body(response.content, connection, limit)
            except BaseException:
                response.close()
                raise
        except FAILURES as error:
            return lost(error, timeout=timeout, connect_timeout=connect_timeout)
        except asyncio.CancelledError as cancelled:
            if not deadlines.struck(task):
                raise
            overdue = TimeoutError()
            overdue.__cause__ = cancelled
            return lost(overdue, timeout=timeout, connect_timeout=connect_timeout)
        finally:
            deadlines.end(task)
            pool.served.discard(task)
        if not response.closed:  # it was cut, or switched to another protocol: nobody will read what follows
            response.close()
        if response.status < 200:
            return Lost("garbled", True, "an answer that only announces another one")
        if body and "Content-Encoding" in response.headers:
            return unpacked(Answer(response.status, response.headers, body, cut), limit)
        return Answer(response.status, response.headers, body, cut)

    def _limit(self, connect_timeout: float) -> aiohttp.ClientTimeout:
        if len(self._limits) >= _KEPT_LIMITS:
            self._limits.clear()
        # Without a total: ``Deadlines`` do that. aiohttp would round what is over 5 s up to a full second.
        limit = aiohttp.ClientTimeout(total=None, connect=connect_timeout, ceil_threshold=math.inf)
        self._limits[connect_timeout] = limit
        return limit


class _Request(aiohttp.ClientRequest):
    """Takes the session's copy of our headers as it is, for it lacks none: filling another, name by name, is 5 % of a request."""

    def update_headers(self, headers: LooseHeaders | None) -> None:
        if isinstance(headers, CIMultiDict):
            self.headers = headers
        else:  # an aiohttp that copies them otherwise
            super().update_headers(headers)

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        pass


class _Pool(aiohttp.TCPConnector):
    """Connections that owe nothing to an earlier request, counted as they are handed out: each carries one request.

    aiohttp hands out an idle connection on which something arrived meanwhile (a late or a second answer), and the next
    request then reads that as its own: a stray 204 would read as deleted. And when a connection drops it sends an
    idempotent request again, unasked, on another one: a task is given one, until whoever sends takes it out of ``served``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.granted = 0
        self.served: set[asyncio.Task[Any]] = set()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        task = asyncio.current_task()
        assert task is not None
        if task in self.served:
            raise Dropped
        try:
            connection = await aiohttp.TCPConnector.connect(self, req, traces, timeout)
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.InvalidURL, TimeoutError):
            raise  # these say by themselves that nothing was sent
        except asyncio.CancelledError as cancelled:
            cancelled.add_note(CONNECTING)  # the whole timeout cancels, too, and looks the same wherever it strikes
            raise
        except FAILURES as error:  # from here on an error means that something was
            raise NoConnection from error
        protocol = connection.protocol
        if protocol is None or protocol.should_close:
            connection.close()
            raise UncleanConnection
        self.granted += 1
        self.served.add(task)
        return connection


def _base_url(given: str) -> URL:
    """:raises ConfigurationError: ``given`` is not an http or https address, or holds credentials"""
    try:
        base = URL(given)
        host = base.raw_host or ""
        host.encode("idna")  # an empty or overlong label fails here and not at each request
        odd = base.query_string or base.fragment or any(letter.isspace() for letter in host)
        usable = base.scheme in ("http", "https") and host and not odd
    except ValueError:
        usable = False
        base = URL()
    if base.raw_user is not None or base.raw_password is not None:
        raise ConfigurationError("a base URL must not hold a user name or a password")
    if not usable:
        raise ConfigurationError(
            f"not an http or https address: {safe(given, 200)}", hint="give a base URL such as http://localhost/v1"
        )
    return base


def _headers(given: Mapping[str, str], host: str) -> dict[str, str]:
    """:raises ConfigurationError: a header that cannot be sent, without its value"""
    for name, value in given.items():
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"a header holds characters that cannot be sent: {safe(name, 50)}",
                hint="look for line breaks, quotes or stray characters in the API key",
            )
    ours = {"Host": host, "Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": user_agent()}
    theirs = {name.lower() for name in given}
    return {name: value for name, value in ours.items() if name.lower() not in theirs} | dict(given)


def _trust(ca_file: str | Path | None) -> ssl.SSLContext | bool:
    """True for the system's authorities, or a context that trusts those of ``ca_file`` as well.

    :raises ConfigurationError: the file cannot be read or holds no certificate
    """
    if ca_file is None:
        return True
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise ConfigurationError(f"the CA file holds no PEM certificates: {safe(str(ca_file))}") from None
    except OSError as error:
        raise ConfigurationError(f"cannot read the CA file: {safe(str(ca_file))}: {error.strerror}") from None
    return context


@cache
def user_agent() -> str:
    """``bulkdel/VERSION``, looked up when the first wire needs it."""
    try:
        return f"bulkdel/{version('bulkdel')}"
    except PackageNotFoundError:  # run from a copied source tree
        return "bulkdel"
