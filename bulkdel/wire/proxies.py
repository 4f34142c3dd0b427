"""Which proxy the environment names for one address, decided once and not per request."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from bulkdel.errors import ConfigurationError
from bulkdel.text import safe


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where requests go through: ``url`` holds no credentials, ``authorization`` is their header value or empty."""

    url: URL
    authorization: str = field(default="", repr=False)


def proxy_for(base: URL) -> Proxy | None:
    """The proxy for requests to ``base``, from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY (or the system's settings).

    :raises ConfigurationError: where what is named there cannot be used; the message holds no credentials
    """
    proxies = getproxies()
    scheme = base.scheme if proxies.get(base.scheme) else "all"
    named = proxies.get(scheme, "").strip()
    if not named or _bypassed(base):
        return None
    variable = f"{scheme.upper()}_PROXY"
    # "proxy:3128" is what people write and what curl accepts.
    try:
        url = URL(named if "://" in named else f"http://{named}")
        host, scheme, port = url.host, url.scheme, url.port
    except ValueError:
        raise ConfigurationError(f"{variable} is not an address", hint=_HINT) from None
    if scheme not in ("http", "https"):
        raise ConfigurationError(
            f"{variable} names a kind of proxy that bulkdel cannot use: {safe(scheme, 20)}", hint=_HINT
        )
    if not host or port is None:
        raise ConfigurationError(f"{variable} is not an address", hint=_HINT)
    authorization = ""
    if url.raw_user is not None or url.raw_password is not None:
        pair = f"{unquote(url.raw_user or '')}:{unquote(url.raw_password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    return Proxy(url.origin(), authorization)


_HINT = "give the address of an http or https proxy, such as http://proxy.example.com:3128, or unset the variable"


def _bypassed(base: URL) -> bool:
    """NO_PROXY may name a host, a domain, or a host with its port; an IPv6 address is written there without brackets."""
    host = base.host or ""
    return bool(proxy_bypass(host) or proxy_bypass(f"{host}:{base.port}"))
