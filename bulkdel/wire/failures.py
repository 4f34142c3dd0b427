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


class NoConnection(aiohttp.ClientConnectionError):
    """Raised when connecting broke off, as with a proxy that hangs up: nothing was sent."""


class UncleanConnection(aiohttp.ClientConnectionError):
    """Raised when a connection holds bytes that answer nothing we asked: nothing was sent on it."""


CONNECTING = "it was still connecting: nothing was sent"
"""A note on the cancellation of a request: it is the cause of the timeout that is made of it."""


class GarbledBody(aiohttp.ClientPayloadError):
    """Raised when a body stopped making sense in the middle."""


class Dropped(aiohttp.ClientError):
    """Raised where the HTTP library would send the request again: its connection ended before an answer began."""


CLOSED = "it closed before the answer began"

FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, EOFError)
"""What the library raises for what a network or a service does; TimeoutError is an OSError, UnicodeError a ValueError."""


def lost(error: BaseException, *, timeout: float, connect_timeout: float) -> Lost:
    """What became of a request whose sending or answer ended in ``error``, one of ``FAILURES``.

    What is not known to have happened before the request left counts as sent: in doubt.
    """
    match error:
        case Dropped():
            return Lost("disconnected", True, CLOSED)
        case aiohttp.ConnectionTimeoutError():
            return _unreachable(f"no connection within {connect_timeout:g} s")
        case TimeoutError() if CONNECTING in getattr(error.__cause__, "__notes__", ()):
            return _unreachable(f"no connection within {timeout:g} s")
        case TimeoutError():
            return Lost("timeout", True, f"more than {timeout:g} s")
        case NoConnection():
            return _unreachable("it broke off while it was made")
        case UncleanConnection():
            return Lost("disconnected", False, "it held something that nobody had asked for")
        case aiohttp.ClientConnectorCertificateError():
            return Lost("tls", False, _of_host(error, _certificate(error)))
        case aiohttp.ClientConnectorDNSError():
            return _unreachable(_of_host(error, f"no such host: {_system(error.os_error)}"))
        case aiohttp.ClientProxyConnectionError():
            return _unreachable(f"the proxy {_of_host(error, _system(error.os_error))}")
        case aiohttp.ClientConnectorError():  # a failed TLS handshake that is not the certificate's fault, too
            return _unreachable(_of_host(error, _system(error.os_error)))
        case aiohttp.ClientHttpProxyError():
            return _unreachable(f"the proxy opens no tunnel, it answers {error.status}")
        case aiohttp.InvalidURL():
            return _unreachable("the address cannot be used")
        case GarbledBody():
            return Lost("garbled", True, "the answer's body")
        case aiohttp.ClientPayloadError():
            return Lost("disconnected", True, "it closed in the middle of the answer")
        case aiohttp.ClientConnectionError() | OSError() | EOFError():
            words = _system(error) if isinstance(error, OSError) and error.errno is not None else ""
            return Lost("disconnected", True, f"{CLOSED}: {words}" if words else CLOSED)
        case _:  # what is left are the parser's complaints: the first line, the headers, their encoding
            return Lost("garbled", True)


def _unreachable(detail: str) -> Lost:
    return Lost("unreachable", False, detail)


def _of_host(error: aiohttp.ClientConnectorError, words: str) -> str:
    return safe(f"{error.host}:{error.port}: {words}", 200)


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
