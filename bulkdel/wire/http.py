"""Requests to one provider over its own pool of connections: each call sends at most one, and brings an Answer or a Lost.

Of aiohttp this takes the pool (DNS, TLS, proxies) and the parser, and not the session: that follows redirects, keeps cookies, and
sends a DELETE a second time, unasked and past the limiter, if a kept connection drops. It also costs half of a request.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import ssl
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from bulkdel.errors import ConfigurationError
from bulkdel.providers.protocol import Answer, Lost, Reply, Request
from bulkdel.text import sanitize
from bulkdel.wire.bodies import read_body, unpacked
from bulkdel.wire.connection import Pool, ServiceConnection
from bulkdel.wire.failures import FAILURES, for_another_name, is_for_another_name, lost
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
    :raises ConfigurationError: a header, the CA file or the environment's proxy cannot be used
    """

    def __init__(
        self, provider: Provider, *, connections: int, ca_file: str | Path | None = None, keepalive: float = 1.5
    ) -> None:
        self._base = base = URL(provider.base_url)
        self._place = base.raw_path.rstrip("/")  # what a request's path follows in its first line
        self._connections = connections
        self._keepalive = keepalive
        self._ca_file = ca_file
        self._tls = True if ca_file is None else _tls(ca_file)
        self._proxy = ""  # its address, without credentials
        self._in_clear = ""  # the same, if it reads and may answer what is sent
        self._hop: dict[str, Any] = {}  # what the pool has to know of it
        host = base.host_port_subcomponent or ""
        headers = {"Host": host, "Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": user_agent()}
        given = provider.headers()
        theirs = {name.lower() for name in given}
        headers = {name: value for name, value in headers.items() if name.lower() not in theirs} | dict(given)
        proxy = proxy_for(base)
        if proxy is not None:
            self._proxy = f"{proxy.url.host}:{proxy.url.port}"
            to_proxy = {"Host": host, "User-Agent": user_agent()}
            if base.scheme == "http":
                self._in_clear = self._proxy
                self._place = f"{base.origin()}{self._place}"
            if proxy.authorization:
                (headers if self._in_clear else to_proxy)["Proxy-Authorization"] = proxy.authorization
            self._hop = {"proxy": proxy.url, "proxy_headers": to_proxy}
        self._headers = _lines(headers)
        self._pool: Pool | None = None

    def __repr__(self) -> str:
        return f"HttpWire({str(self._base)!r}, connections={self._connections})"

    async def __aenter__(self) -> HttpWire:
        self._pool = Pool(limit=self._connections, keepalive_timeout=self._keepalive)
        self._service = self._connection_to(self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        """Send ``request`` once and read its answer, all within ``timeout`` seconds, connecting within ``connect_timeout``.

        Whatever the network or the service does ends in an ``Answer`` or a ``Lost``. Cancelled, it closes its connection.

        :raises RuntimeError: the wire is not open
        :raises ValueError: the path holds what no address may: a bug of the provider
        """
        if self._pool is None:
            raise RuntimeError("the wire is not open: use it as an async context manager")
        message = self._message(request)
        connect_timeout = min(connect_timeout, timeout)
        head = None
        sent = False
        try:
            async with asyncio.timeout(timeout):
                connection = await self._pool.connect(self._service, [], _connecting_within(connect_timeout))
                try:
                    service = connection.protocol
                    # The pool also hands out an idle connection on which something arrived meanwhile, a late or a second
                    # answer. The request would read that as its own: a stray 204 would read as deleted.
                    if not isinstance(service, ServiceConnection) or service.should_close:
                        return Lost("disconnected", False, "the connection held bytes that answer no request")
                    sent = True
                    head, content = await service.ask(message)
                    body, cut = await read_body(content, request.max_body)
                    connection.release()  # if anything is left to read, this closes it
                finally:
                    connection.close()  # after a release, this does nothing
        except FAILURES as error:
            # What a 2xx says was done, whatever became of its body.
            if head is not None and 200 <= head.code < 300 and not isinstance(error, TimeoutError):
                return Answer(head.code, head.headers, broken=True, proxy=self._in_clear)
            if is_for_another_name(error) and (certificate := await self._certificate(connect_timeout)):
                return for_another_name(self._base.host or "", certificate)
            return lost(error, sent=sent, seconds=timeout if sent else connect_timeout, proxy=self._proxy)
        if head.code < 200:
            return Lost("garbled", True, "an answer that only announces another one")
        if head.code == 407 and self._in_clear:
            detail = f"the proxy {self._in_clear} wants a user name and a password, it answers 407"
            return Lost("unreachable", False, detail)
        return unpacked(Answer(head.code, head.headers, body, cut, proxy=self._in_clear), request.max_body)

    def _message(self, request: Request) -> bytes:
        """The request's bytes. Its path stays as the provider has percent-encoded it: an id may hold ``%2F``."""
        if not request.path.isascii() or not request.path.isprintable():
            raise ValueError("a request's path must be percent-encoded")
        lines, body = f"{request.method} {self._place}{request.path} HTTP/1.1\r\n{self._headers}", b""
        if request.json is not None:
            lines, body = f"{lines}Content-Type: application/json\r\n", json.dumps(request.json).encode()
        if request.method != "GET":
            lines = f"{lines}Content-Length: {len(body)}\r\n"
        return f"{lines}\r\n".encode("ascii") + body

    def _connection_to(self, tls: ssl.SSLContext | bool) -> aiohttp.ClientRequest:
        """What the pool wants to know of a connection."""
        loop = asyncio.get_running_loop()
        return aiohttp.ClientRequest("GET", self._base, loop=loop, ssl=tls, **self._hop)

    async def _certificate(self, seconds: float) -> Mapping[str, Any] | None:
        """The service's certificate, whatever name a trusted authority signed it for; nothing is sent."""
        assert self._pool is not None
        context = _tls(self._ca_file)
        context.check_hostname = False
        try:
            async with asyncio.timeout(seconds):
                connection = await self._pool.connect(self._connection_to(context), [], _connecting_within(seconds))
        except FAILURES:
            return None
        try:
            return connection.transport.get_extra_info("peercert") if connection.transport else None
        finally:
            connection.close()


@lru_cache(maxsize=64)
def _connecting_within(seconds: float) -> aiohttp.ClientTimeout:
    """A limit on connecting alone; aiohttp would round what is over 5 s up to a full second."""
    return aiohttp.ClientTimeout(total=None, connect=seconds, ceil_threshold=math.inf)


def _lines(headers: Mapping[str, str]) -> str:
    """:raises ConfigurationError: a header that cannot be sent, without its value"""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII)):
            raise ConfigurationError(
                f"a header holds characters that cannot be sent: {sanitize(name, 50)}",
                hint="look for line breaks, quotes or stray characters in the API key",
            )
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


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
    return f"bulkdel/{version('bulkdel')}"
