"""A service's address, key and limits, checked once: what every provider behind ``Authorization: Bearer KEY`` has."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self
from urllib.parse import urlsplit

from bulkdel.credentials import flaw
from bulkdel.errors import ConfigurationError
from bulkdel.model import Limits, Rate
from bulkdel.text import has_invisible, sanitize, show_invisible


@dataclass(frozen=True, init=False)
class Bearer:
    """A service as one key sees it: a value that does no I/O, has nothing to close and never shows its key.

    A subclass declares ``kind`` (the entry point's name), ``title`` (the service's own name), ``cloud`` (its default
    address), its ``cloud_rate`` and ``page_size`` (rows of a listing's page).

    :param api_key: the key alone, without ``Bearer``
    :param base_url: where the service is; None for the service's own cloud. A slash at its end is dropped
    :param name: what targets and reports call it; None for the service's kind
    :param limits: the service's limits for this key; None for this service's defaults at this address, ``Limits(rate=None)``
        for no known rate limit. Without a ``concurrency`` it gets the default one
    :raises ConfigurationError: if one of them cannot be right; the message never holds the key
    """

    api_key: str = field(repr=False)
    base_url: str
    name: str
    limits: Limits
    max_concurrency: int = field(init=False, repr=False)
    rate_is_default: bool = field(init=False, repr=False)
    extra_headers: tuple[tuple[str, str], ...] = field(init=False, repr=False)

    kind: ClassVar[str]
    title: ClassVar[str]
    cloud: ClassVar[str]
    page_size: ClassVar[int]
    cloud_rate: ClassVar[Rate | None] = None  # the rate of that cloud if the caller does not know it
    other_rate: ClassVar[Rate | None] = None  # the rate at any other address
    cloud_rate_is_guess: ClassVar[bool] = (
        False  # whether it may be raised; services that publish their limit need no guess
    )
    cloud_share: ClassVar[float] = (
        1.0  # what to use of a rate there that the caller knows, because others live on it, too
    )
    default_concurrency: ClassVar[int] = 4
    # How far the concurrency may be raised if the caller gave none. Equal to the default: it is only ever lowered.
    highest_concurrency: ClassVar[int] = 4

    def __init__(
        self, api_key: str, base_url: str | None = None, name: str | None = None, limits: Limits | None = None
    ) -> None:
        _check_key(api_key)
        url = self.cloud if base_url is None else _checked_url(base_url)
        if limits is not None and not isinstance(limits, Limits):
            raise ConfigurationError(f"limits must be a Limits, or None: {type(limits).__name__}")
        default = self.cloud_rate if _host(url) == _host(self.cloud) else self.other_rate
        wanted = Limits(rate=default) if limits is None else limits
        concurrency = wanted.concurrency or self.default_concurrency
        # By hand, because what is given may be None and what is kept never is.
        self.__dict__.update(
            api_key=api_key,
            base_url=url,
            name=self.kind if name is None else _checked_name(name),
            limits=replace(wanted, concurrency=concurrency),
            # A concurrency that was not given is adapted, also under a rate: of 100/s, four at a time that take 0.5 s use 8 %.
            max_concurrency=wanted.concurrency or max(concurrency, self.highest_concurrency),
            # A concurrency alone says nothing about the rate, as no limits at all do not; ``Limits()`` says that there is none.
            rate_is_default=limits is None or (limits.rate is None and limits.concurrency is not None),
            extra_headers=(),
        )

    def with_concurrency(self, concurrency: int, *, up_to: int | None = None) -> Self:
        """:raises ConfigurationError: if one of them is no whole number from 1 to 1000"""
        limits = replace(self.limits, concurrency=concurrency)
        most = concurrency if up_to is None else max(concurrency, Limits(concurrency=up_to).concurrency or 0)
        return self._with(limits=limits, max_concurrency=most)

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        return self._with(extra_headers=tuple(headers.items()))

    def _with(self, **values: object) -> Self:
        other = copy(self)
        other.__dict__.update(values)
        return other

    @property
    def pace(self) -> Rate | None:
        rate = self.limits.rate
        if rate is None or rate == self.cloud_rate or _host(self.base_url) != _host(self.cloud):
            return rate
        return Rate(rate.n * self.cloud_share, per=rate.per)

    @property
    def rate_is_guess(self) -> bool:
        return self.cloud_rate_is_guess and self.rate_is_default and self.limits.rate is not None

    @property
    def fingerprint(self) -> str:
        whole = "\0".join((self.kind, self.base_url, self.api_key))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    @property
    def warning(self) -> str:
        parts = urlsplit(self.base_url)
        if parts.scheme.lower() == "http" and not _is_private(parts.hostname or ""):
            return f"the key is sent without encryption: {self.base_url}"
        return ""

    def headers(self) -> Mapping[str, str]:
        own = {"Authorization": f"Bearer {self.api_key}", "Accept": "application/json"}
        return dict(self.extra_headers) | own

    def sanitize(self, message: str) -> str:
        """A service's words made safe to show. Some services repeat the key that they refuse, so it is taken out, and so are the
        values of extra headers."""
        # Of "Bearer TOKEN" the token alone is as secret as the whole.
        words = [word for _, value in self.extra_headers for word in (value, *value.split())]
        for secret in (self.api_key, *words):
            # Keys this short are only met in tests, and hiding every "k" would make the service's words unreadable.
            if len(secret) >= 8:
                message = message.replace(secret, "(key)")
        return sanitize(message)


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise ConfigurationError(f"the API key must be text: {type(key).__name__}")
    if not key.strip():
        raise ConfigurationError("the API key is empty", hint="set it in the environment, or name a file that holds it")
    if key.lower().startswith("bearer "):
        raise ConfigurationError("the API key begins with 'Bearer'", hint="give the key alone, without 'Bearer'")
    if key.lower().startswith(("http://", "https://")):
        raise ConfigurationError("the API key looks like an address", hint="the key comes first, then the base URL")
    # A header cannot carry anything but visible ASCII, and a space or a line end is always a slip of the clipboard.
    if re.fullmatch("[!-~]+", key) is None:
        raise ConfigurationError(
            "the API key holds a space, a line end or a character that is not ASCII",
            hint="copy the key alone, once more",
        )
    if wrong := flaw(key):
        raise ConfigurationError(f"the API key {wrong}", hint="give the key alone")


def _checked_url(url: object) -> str:
    if not isinstance(url, str):
        raise ConfigurationError(f"the base URL must be text: {type(url).__name__}")
    if not url.lower().startswith(("http://", "https://")):
        # What has no scheme may be a key in the wrong place: it is not repeated.
        shown = f": {sanitize(url, 200)}" if "://" in url and "@" not in url else ""
        raise ConfigurationError(
            f"the base URL must begin with http:// or https://{shown}", hint="for example https://dify.example.com/v1"
        )
    if re.search("[\x00-\x20\x7f\\\\]", url):
        raise ConfigurationError("the base URL holds a space, a line end or a backslash", hint="copy the address alone")
    if has_invisible(url):
        raise ConfigurationError(
            f"the base URL holds a character that cannot be seen: {show_invisible(url)}", hint="type the address anew"
        )
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  it is checked when it is read
        (parts.hostname or "").encode("idna")  # an empty or overlong label
    except ValueError as error:
        raise ConfigurationError(f"the base URL is malformed: {sanitize(str(error), 200)}") from None
    if "@" in parts.netloc:
        raise ConfigurationError("the base URL holds credentials", hint="give the key apart, as the API key")
    if "?" in url or "#" in url:
        raise ConfigurationError("the base URL holds a query or a fragment", hint="leave out everything from ? or # on")
    if not parts.hostname:
        raise ConfigurationError(f"the base URL names no host: {sanitize(url, 200)}")
    return url.rstrip("/")


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name or len(name) > 100 or sanitize(name) != name or name != name.strip():
        raise ConfigurationError(
            f"a provider's name must be 1 to 100 characters that can be shown: {sanitize(repr(name), 200)}"
        )
    return name


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")


def _is_private(host: str) -> bool:
    """Whether ``host`` is this machine, or one that only a private network reaches."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # Names that no public resolver knows: RFC 6761, 6762 and 8375, ICANN's ".internal", and what offices use.
        name = host.rstrip(".")
        return "." not in name or name.endswith(
            (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test", ".intranet", ".corp", ".home")
        )
    return address.is_loopback or address.is_private or address.is_link_local
