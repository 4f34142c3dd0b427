"""What the HTTP library's exceptions mean: the one place where they become values.

Words that came from the other side are never repeated here: a service that echoes a request back would echo the key.
"""

from __future__ import annotations

import os
import ssl

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from bulkdel.providers.protocol import Lost
from bulkdel.text import safe

FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, EOFError)
"""What the library raises for what a network or a service does; TimeoutError is an OSError, UnicodeError a ValueError."""


class Dropped(aiohttp.ClientError):
    """Raised instead of an error that the HTTP library would answer by sending the request again; that one is its cause."""


class StrayBytes(aiohttp.ClientConnectionError):
    """Raised when a connection holds bytes that answer no request: nothing was sent on it."""


class BrokenBody(aiohttp.ClientPayloadError):
    """Raised when a body stops making sense in the middle."""


def lost(error: BaseException, *, sent: bool, timeout: float, connect_timeout: float) -> Lost:
    """What became of a request that ended in ``error``, one of ``FAILURES``; ``sent``: it may have reached the service."""
    if isinstance(error, Dropped) and error.__cause__ is not None:
        error = error.__cause__
    if not sent:
        return _not_sent(error, timeout, connect_timeout)
    match error:
        case TimeoutError():
            return Lost("timeout", True, f"more than {timeout:g} s")
        case BrokenBody():
            return Lost("garbled", True, "the answer's body")
        case aiohttp.ClientPayloadError():
            return Lost("disconnected", True, "it closed in the middle of the answer")
        case aiohttp.ClientConnectionError() | OSError() | EOFError():
            reason = f": {_system(error)}" if isinstance(error, OSError) and error.errno is not None else ""
            return Lost("disconnected", True, f"it closed before the answer began{reason}")
        case _:  # what is left are the parser's complaints: the first line, the headers, their encoding
            return Lost("garbled", True)


def _not_sent(error: BaseException, timeout: float, connect_timeout: float) -> Lost:
    """What became of a request that found no connection."""
    match error:
        case StrayBytes():
            return Lost("disconnected", False, "the connection held bytes that answer no request")
        case aiohttp.ClientConnectorCertificateError():
            return Lost("tls", False, _of_host(error, _certificate(error)))
        case aiohttp.ConnectionTimeoutError():
            detail = f"no connection within {connect_timeout:g} s"
        case TimeoutError():
            detail = f"no connection within {timeout:g} s"
        case aiohttp.ClientConnectorDNSError():
            detail = _of_host(error, f"no such host: {_system(error.os_error)}")
        case aiohttp.ClientProxyConnectionError():
            detail = f"the proxy {_of_host(error, _system(error.os_error))}"
        case aiohttp.ClientConnectorError():  # a failed TLS handshake that is not the certificate's fault, too
            detail = _of_host(error, _system(error.os_error))
        case aiohttp.ClientHttpProxyError():
            detail = f"the proxy opens no tunnel, it answers {error.status}"
        case aiohttp.InvalidURL():
            detail = "the address cannot be used"
        case _:
            detail = "it broke off while it was made"
    return Lost("unreachable", False, detail)


def _of_host(error: aiohttp.ClientConnectorError, reason: str) -> str:
    return safe(f"{error.host}:{error.port}: {reason}", 200)


def _certificate(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else type(cause).__name__


def _system(error: OSError) -> str:
    """The system's own short words, without the addresses and tuples that asyncio adds to them."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or type(error).__name__).lower().replace('_', ' ')}"
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__
