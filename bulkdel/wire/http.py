"""Requests to one provider over its own pool of connections: each call sends at most one, and brings an Answer or a Lost."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from bulkdel.errors import ConfigurationError
from bulkdel.providers.protocol import Answer, Lost, Reply, Request
from bulkdel.text import sanitize
from bulkdel.wire.bodies import read_body, unpacked
from bulkdel.wire.connection import HEAD_BYTES, Attempt, Pool, WireRequest
from bulkdel.wire.deadlines import Deadlines
from bulkdel.wire.failures import FAILURES, Connected, for_another_name, is_for_another_name, lost
from bulkdel.wire.proxies import proxy_for

if TYPE_CHECKING:
    from bulkdel.providers.protocol import Provider


class HttpWire:
    """A ``Wire`` over aiohttp, for one provider; use it as an async context manager, in one event loop.

    :param provider: where to send and with which headers; the key among them appears in no ``repr``, message or log
    :param connections: how many connections there may be at once; no more calls of ``send`` may be in flight
    :param ca_file: a PEM file of certificate authorities to trust as well as the system's; TLS is always verified
    :param keepalive: seconds that an idle connection is kept. gunicorn, which serves Dify, closes idle ones after 2 s, and a
        request that meets that moment is lost in doubt; half a second is left for the way there
    :raises ConfigurationError: the address, the CA file or the environment's proxy cannot be used
    """

    def __init__(
        self, provider: Provider, *, connections: int, ca_file: str | Path | None = None, keepalive: float = 1.5
    ) -> None:
        self._base = base = _base_url(provider.base_url)
        self._prefix = base.raw_path.rstrip("/")
        self._connections = connections
        self._keepalive = keepalive
        self._headers = _headers(provider.headers(), base.host_port_subcomponent or "")
        self._options: dict[str, Any] = {"allow_redirects": False, "ssl": True if ca_file is None else _tls(ca_file)}
        self._ca_file = ca_file
        self._proxy = ""  # its address, without credentials
        self._in_clear = ""  # the same, if it reads and may answer what is sent
        proxy = proxy_for(base)
        if proxy is not None:
            # aiohttp gives a session's own headers to the proxy too, the key included (its CONNECT is in clear), so with
            # a proxy they go with each request instead, and the proxy gets these.
            self._proxy = f"{proxy.url.host}:{proxy.url.port}"
            self._in_clear = self._proxy if base.scheme == "http" else ""
            to_proxy = {"User-Agent": user_agent()}
            self._options |= {"proxy": proxy.url, "proxy_headers": to_proxy, "headers": self._headers}
            if proxy.authorization:
                hop = to_proxy if base.scheme == "https" else self._headers
                hop["Proxy-Authorization"] = proxy.authorization
        self._session: aiohttp.ClientSession | None = None
        self._deadlines: Deadlines | None = None

    def __repr__(self) -> str:
        return f"HttpWire({str(self._base)!r}, connections={self._connections})"

    async def __aenter__(self) -> HttpWire:
        self._deadlines = Deadlines()
        self._session = aiohttp.ClientSession(
            connector=Pool(limit=self._connections, keepalive_timeout=self._keepalive),
            headers=None if self._proxy else self._headers,
            request_class=WireRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # aiohttp takes a gzip body that stops early for a whole one
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            max_headers=HEAD_BYTES,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._deadlines is not None:
            self._deadlines.close()

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        """Send ``request`` once and read its answer, all within ``timeout`` seconds, connecting within ``connect_timeout``.

        Whatever the network or the service does ends in an ``Answer`` or a ``Lost``. Cancelled, it closes its connection.

        :raises RuntimeError: the wire is not open
        """
        if self._session is None or self._deadlines is None:
            raise RuntimeError("the wire is not open: use it as an async context manager")
        options = self._options
        if request.json is not None:
            headers = self._headers | {"Content-Type": "application/json"}
            options = options | {"data": json.dumps(request.json).encode(), "headers": headers}
        attempt = Attempt()
        response: aiohttp.ClientResponse | None = None
        try:
            with self._deadlines.within(timeout):
                response = await self._session.request(
                    request.method,
                    self._url(request.path),
                    middlewares=(attempt,),
                    timeout=_connecting_within(connect_timeout),
                    **options,
                )
                try:
                    body, cut = await read_body(response.content, request.max_body)
                finally:
                    response.close()  # if anything is left to read, this closes the connection
        except FAILURES as error:
            # What a 2xx says was done, whatever became of its body.
            if response is not None and 200 <= response.status < 300 and not isinstance(error, TimeoutError):
                return Answer(response.status, response.headers, broken=True, proxy=self._in_clear)
            if is_for_another_name(error) and (certificate := await self._certificate(connect_timeout)):
                return for_another_name(self._base.host or "", certificate)
            return lost(error, sent=attempt.sent, timeout=timeout, connect_timeout=connect_timeout, proxy=self._proxy)
        answer = Answer(response.status, response.headers, body, cut, proxy=self._in_clear)
        return self._whole(answer, request.max_body)

    def _whole(self, answer: Answer, limit: int) -> Reply:
        """What an answer that came to its end is: its body unpacked, or none of the service's at all."""
        if answer.status < 200:
            return Lost("garbled", True, "an answer that only announces another one")
        if answer.status == 407 and answer.proxy:
            detail = f"the proxy {answer.proxy} wants a user name and a password, it answers 407"
            return Lost("unreachable", False, detail)
        return unpacked(answer, limit)

    async def _certificate(self, seconds: float) -> Mapping[str, Any] | None:
        """The service's certificate, whatever name a trusted authority signed it for; nothing is sent."""
        assert self._session is not None
        context = _tls(self._ca_file)
        context.check_hostname = False
        try:
            async with asyncio.timeout(seconds):
                attempt = Attempt(connect_only=True)
                await self._session.get(self._base, middlewares=(attempt,), **(self._options | {"ssl": context}))
        except Connected as connected:
            return connected.certificate
        except FAILURES:
            return None
        return None

    def _url(self, path: str) -> URL:
        """Where ``path`` is, which the provider has percent-encoded and which stays as it is: an id may hold ``%2F``."""
        if "?" in path:
            return URL(f"{self._base.origin()}{self._prefix}{path}", encoded=True)
        return self._base.with_path(self._prefix + path, encoded=True)  # parsing the whole text is 3 % of a delete


@lru_cache(maxsize=64)
def _connecting_within(seconds: float) -> aiohttp.ClientTimeout:
    """A limit on connecting alone: ``send`` keeps the whole one. aiohttp would round what is over 5 s up to a full second."""
    return aiohttp.ClientTimeout(total=None, connect=seconds, ceil_threshold=math.inf)


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
            f"not an http or https address: {sanitize(given, 200)}", hint="give a base URL such as http://localhost/v1"
        )
    return base


def _headers(given: Mapping[str, str], host: str) -> dict[str, str]:
    """:raises ConfigurationError: a header that cannot be sent, without its value"""
    for name, value in given.items():
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"a header holds characters that cannot be sent: {sanitize(name, 50)}",
                hint="look for line breaks, quotes or stray characters in the API key",
            )
    ours = {"Host": host, "Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": user_agent()}
    theirs = {name.lower() for name in given}
    return {name: value for name, value in ours.items() if name.lower() not in theirs} | dict(given)


def _tls(ca_file: str | Path | None) -> ssl.SSLContext:
    """A context that trusts the system's authorities, and those of ``ca_file`` as well.

    :raises ConfigurationError: the file cannot be read or holds no certificate
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise ConfigurationError(f"the CA file holds no PEM certificates: {sanitize(str(ca_file))}") from None
    except OSError as error:
        raise ConfigurationError(f"cannot read the CA file: {sanitize(str(ca_file))}: {error.strerror}") from None
    return context


@cache
def user_agent() -> str:
    """``bulkdel/VERSION``, looked up when the first wire needs it."""
    try:
        return f"bulkdel/{version('bulkdel')}"
    except PackageNotFoundError:  # run from a copied source tree
        return "bulkdel"
