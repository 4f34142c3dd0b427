"""What the HTTP library's exceptions mean: the one place where they become values.

Words that came from the other side are never repeated here: a service that echoes a request back would echo the key.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from bulkdel.providers.protocol import Lost
from bulkdel.text import sanitize

FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, EOFError)
"""What the library raises for what a network or a service does; TimeoutError is an OSError, UnicodeError a ValueError."""


class SpeaksTLS(aiohttp.ClientError):
    """Raised when the answer to a request in plain text is a TLS alert."""


class HeadTooLong(aiohttp.ClientError):
    """Raised when the status line and headers of an answer are longer than is read of them."""


class BrokenBody(aiohttp.ClientPayloadError):
    """Raised when a body stops making sense in the middle."""


def lost(error: BaseException, *, sent: bool, seconds: float, proxy: str = "") -> Lost:
    """What became of a request that ended in ``error``, one of ``FAILURES``.

    :param sent: it may have reached the service
    :param seconds: how long an answer may take, or a connection if nothing was sent
    :param proxy: the address of the proxy that it went through, if any
    """
    found = _sent(error, seconds) if sent else _not_sent(error, seconds, proxy)
    if not proxy:
        return found
    if found.detail.startswith(proxy):
        return replace(found, detail=f"the proxy {found.detail}")
    through = f"through the proxy {proxy}"
    return replace(found, detail=f"{found.detail} ({through})" if found.detail else through)


def _sent(error: BaseException, seconds: float) -> Lost:
    """What became of a request that left."""
    match error:
        case TimeoutError():
            return Lost("timeout", True, f"more than {seconds:g} s")
        case SpeaksTLS():
            detail = "the service speaks TLS there, and the address says http://"
            return Lost("tls", False, detail, "write https:// instead")
        case BrokenBody():
            return Lost("garbled", True, "the answer's body")
        case aiohttp.ClientPayloadError():
            return Lost("disconnected", True, "it closed in the middle of the answer")
        case aiohttp.ClientConnectionError() | OSError() | EOFError():
            reason = f": {_system(error)}" if isinstance(error, OSError) and error.errno is not None else ""
            return Lost("disconnected", True, f"it closed before the answer began{reason}")
        case HeadTooLong():
            return Lost("garbled", True, "its headers are longer than 64 KiB")
        case _:  # what is left are the parser's complaints: the first line, the headers, their encoding
            return Lost("garbled", True)


def _not_sent(error: BaseException, seconds: float, proxy: str) -> Lost:
    """What became of a request that found no connection."""
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as cause):
            # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED
            dated = cause.verify_code in (9, 10)
            hint = "the service needs a new certificate, or this machine's clock is wrong" if dated else ""
            return Lost("tls", False, _of_host(error, cause.verify_message), hint)
        case aiohttp.ClientConnectorCertificateError():
            return Lost("tls", False, _of_host(error, type(error.certificate_error).__name__))
        # What OpenSSL says of an answer in plain text, by its releases.
        case aiohttp.ClientConnectorError(
            os_error=ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "HTTP_REQUEST" | "RECORD_LAYER_FAILURE")
        ):
            detail = _of_host(error, "it speaks no TLS there, and the address says https://")
            return Lost("tls", False, detail, "write http:// instead, if the service is served without TLS")
        case TimeoutError():
            detail = f"no connection within {seconds:g} s"
        case aiohttp.ClientConnectorDNSError():
            detail = _of_host(error, f"no such host: {_system(error.os_error)}")
        case aiohttp.ClientConnectorError(os_error=ConnectionResetError()):
            # A refused connection has an error of its own, so this one came while TLS was negotiated.
            reason = "it ended the TLS handshake; if the service is served without TLS, its address begins with http://"
            detail = _of_host(error, reason)
        case aiohttp.ClientConnectorError():  # a failed TLS handshake that is not the certificate's fault, too
            detail = _of_host(error, _system(error.os_error))
        case aiohttp.ClientHttpProxyError():
            detail = f"{proxy} opens no tunnel, it answers {error.status}"
        case aiohttp.InvalidURL():
            detail = "the address cannot be used"
        case _:
            detail = f"{proxy} broke off" if proxy else "it broke off while it was made"
    return Lost("unreachable", False, detail)


def _of_host(error: aiohttp.ClientConnectorError, reason: str) -> str:
    return sanitize(f"{error.host}:{error.port}: {reason}", 200)


def is_for_another_name(error: BaseException) -> bool:
    """Whether a trusted authority signed the certificate, and only its names are wrong."""
    cause = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else None
    # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH
    return isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in (62, 64)


def for_another_name(host: str, certificate: Mapping[str, Any]) -> Lost:
    """A connection to ``host`` that is not trusted because ``certificate``, as ``ssl`` gives it, has other names."""
    names = [name for _, name in certificate.get("subjectAltName", ())]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    detail = sanitize(f"the certificate is for {shown or 'no name at all'}, and not for {host}", 300)
    hint = "write a name of the certificate in the address, or give the service one for its name"
    return Lost("tls", False, detail, hint)


def _system(error: OSError) -> str:
    """The system's own short words, without the addresses and tuples that asyncio adds to them."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or type(error).__name__).lower().replace('_', ' ')}"
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__
