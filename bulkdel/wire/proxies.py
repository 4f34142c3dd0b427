"""Which proxy the environment names for one address, decided once and not per request."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from bulkdel.errors import ConfigurationError
from bulkdel.text import sanitize


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where requests go through: ``url`` holds no credentials, ``authorization`` is their header value or empty."""

    url: URL
    authorization: str = field(default="", repr=False)


def proxy_for(base: URL) -> Proxy | None:
    """The proxy for requests to ``base``, from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY (or the system's settings).

    :raises ConfigurationError: what is named there cannot be used; the message holds no credentials
    """
    proxies = getproxies()
    scheme = base.scheme if proxies.get(base.scheme) else "all"
    named = proxies.get(scheme, "").strip(" \t\"'")  # with the quotes that a file of variables may leave around it
    host = base.raw_host or ""
    # An empty variable in small letters says nothing, as requests reads it; the key would go to the proxy.
    no_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or proxies.get("no", "")
    if not named or excludes(no_proxy, host, base.port) or proxy_bypass(host):
        return None
    variable = f"{scheme.upper()}_PROXY"
    hint = "give the address of an http or https proxy, such as http://proxy.example.com:3128, or unset the variable"
    # "proxy:3128" is what people write and what curl accepts.
    try:
        url = URL(named if "://" in named else f"http://{named}")
        proxy_host, scheme, port = url.host, url.scheme, url.port
    except ValueError:
        raise ConfigurationError(f"{variable} is not an address", hint=hint) from None
    if scheme not in ("http", "https"):
        message = f"{variable} names a kind of proxy that bulkdel cannot use: {sanitize(scheme, 20)}"
        raise ConfigurationError(message, hint=hint)
    if not proxy_host or port is None:
        raise ConfigurationError(f"{variable} is not an address", hint=hint)
    pair = "" if url.raw_user is None and url.raw_password is None else f"{url.user or ''}:{url.password or ''}"
    authorization = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}" if pair else ""
    return Proxy(url.origin(), authorization)


def excludes(no_proxy: str, host: str, port: int | None) -> bool:
    """Whether the text of NO_PROXY names this host, as curl, requests or Go read it.

    Entries stand between commas or blanks, each with a port or without: ``*``; a host, which stands for its subdomains too,
    with ``.`` or ``*.`` before it or without (but not for a name that only ends in the same letters); a pattern (``127.*``); an
    address; a network (``10.0.0.0/8``). Semicolons and quotes, as Windows and files of variables have them, part entries too.
    """
    host = host.lower().rstrip(".")
    addresses = _addresses(host)
    for entry in re.split(r"[\s,;\"']+", no_proxy):
        if "://" in entry:  # an address, whose path says nothing
            entry = entry.partition("://")[2].partition("/")[0]
        with_port = re.fullmatch(r"\[([^\]]*)\](?::([0-9]+))?|([^:]*):([0-9]+)", entry)
        name, at = entry, None
        if with_port is not None:
            name, at = with_port[1] or with_port[3] or "", with_port[2] or with_port[4]
        if (at is None or int(at) == port) and _names(name, host, addresses):
            return True
    return False


def _names(name: str, host: str, addresses: list[IPv4Address | IPv6Address]) -> bool:
    try:
        network = ip_network(name.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        pass
    else:
        return any(address in network for address in addresses)
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return False
    name = name.lower().rstrip(".")
    if name == "*":
        return True
    if not addresses:  # a name stands for its subdomains, too
        name = name.removeprefix("*.").lstrip(".")
    pattern = re.escape(name).replace(r"\*", ".*")
    subdomain = "" if addresses else r"(?:.*\.)?"
    return bool(name) and re.fullmatch(subdomain + pattern, host) is not None


def _addresses(host: str) -> list[IPv4Address | IPv6Address]:
    """The addresses that ``host`` is by itself; names are not looked up."""
    if host == "localhost":
        return [IPv4Address("127.0.0.1"), IPv6Address("::1")]
    try:
        address = ip_address(host)
    except ValueError:
        return []
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return [address] if mapped is None else [address, mapped]
