"""What every service behind ``Authorization: Bearer KEY`` has in common: its address, key and limits, checked once."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Self
from urllib.parse import urlsplit

from bulkdel.errors import ConfigurationError
from bulkdel.model import Limits, Rate
from bulkdel.text import safe

# Visible ASCII only: a header cannot carry the rest, and a space or a line end is always a slip of the clipboard.
_KEY = re.compile("[!-~]+")
_URL = re.compile("[^\x00-\x20\x7f\\\\]+")
# Names that no public resolver knows: https://www.rfc-editor.org/rfc/rfc6762, rfc6761, rfc8375 and ICANN's ".internal".
_PRIVATE_NAMES: Final = ("localhost", "local", "internal", "lan", "home.arpa", "test", "intranet", "corp", "home")
# Shorter keys are only met in tests, where hiding every "k" would make the service's words unreadable.
_SHORTEST_HIDDEN: Final = 8


@dataclass(frozen=True, init=False)
class Bearer:
    """A service as one key sees it: a value that does no I/O, has nothing to close and never shows its key.

    :param api_key: the key alone, without ``Bearer``
    :param base_url: where the service is; None for the service's own cloud. A slash at its end is dropped
    :param name: what targets and reports call it; None for the service's kind
    :param limits: the service's limits for this key; None for this service's defaults at this address, ``Limits(rate=None)``
        for no known rate limit. Without a ``concurrency`` it gets the default one
    :raises ConfigurationError: where one of them cannot be right; the message never holds the key
    """

    api_key: str = field(repr=False)
    base_url: str
    name: str
    limits: Limits
    max_concurrency: int = field(init=False, repr=False)
    rate_is_default: bool = field(init=False, repr=False)
    concurrency_is_default: bool = field(init=False, repr=False)

    kind: ClassVar[str]
    title: ClassVar[str]
    cloud: ClassVar[str]
    concurrency: ClassVar[int] = 4
    most: ClassVar[int] = 4  # what adapting may raise the concurrency to
    page_size: ClassVar[int]

    def __init__(
        self, api_key: str, base_url: str | None = None, name: str | None = None, limits: Limits | None = None
    ) -> None:
        # By hand, because what is given may be None and what is kept never is; ``object.__setattr__`` because it is frozen.
        url = self.cloud if base_url is None else _checked_url(base_url)
        _check_key(api_key)
        # A concurrency alone says nothing of the rate, as no limits at all do not; ``Limits()`` says that there is none.
        unsaid = limits is None or (_is_limits(limits) and limits.rate is None and limits.concurrency is not None)
        none_said = limits is None or (_is_limits(limits) and limits.concurrency is None)
        if limits is None:
            limits = self.default_limits(urlsplit(url).hostname or "")
        elif not _is_limits(limits):
            raise ConfigurationError(f"limits must be a Limits, or None: {type(limits).__name__}")
        most = limits.concurrency
        if limits.concurrency is None:
            limits = replace(limits, concurrency=self.concurrency)
            most = self.most
        object.__setattr__(self, "api_key", api_key)
        object.__setattr__(self, "base_url", url)
        object.__setattr__(self, "name", self.kind if name is None else _checked_name(name))
        object.__setattr__(self, "limits", limits)
        # More than ``limits.concurrency`` where none was given: it is adapted then, up to this. With a rate, too: of 100/s four
        # at a time that take 0.5 s each would use 8 %.
        object.__setattr__(self, "max_concurrency", most)
        object.__setattr__(self, "rate_is_default", unsaid)
        object.__setattr__(self, "concurrency_is_default", none_said)

    def with_concurrency(self, concurrency: int) -> Self:
        """The same provider with so many requests in flight: of its rate nothing more is said than before.

        :raises ConfigurationError: where ``concurrency`` is no whole number from 1 to 1000
        """
        other = copy(self)
        object.__setattr__(other, "limits", replace(self.limits, concurrency=concurrency))
        object.__setattr__(other, "max_concurrency", concurrency)
        object.__setattr__(other, "concurrency_is_default", False)
        return other

    def default_limits(self, host: str) -> Limits:
        """The limits of this service at ``host`` (lower-case) where the caller does not know them."""
        raise NotImplementedError

    @property
    def pace(self) -> Rate | None:
        """What pacing keeps: the limit itself, where nobody else lives on it."""
        return self.limits.rate

    @property
    def rate_is_guess(self) -> bool:
        """Whether the pace is a cautious guess that may be raised; services that publish their limit need none."""
        return False

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell one key at one address from another, and do not tell the key."""
        whole = "\0".join((self.kind, self.base_url, self.api_key))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    @property
    def warning(self) -> str:
        """What the user should know of this address before the key is sent to it; empty where there is nothing."""
        parts = urlsplit(self.base_url)
        if parts.scheme.lower() == "http" and not _private(parts.hostname or ""):
            return f"the key is sent without encryption: {self.base_url}"
        return ""

    def headers(self) -> Mapping[str, str]:
        """Headers of every request, the key among them; only the wire calls this."""
        return {"Authorization": f"Bearer {self.api_key}", "Accept": "application/json"}

    def words(self, message: str) -> str:
        """A service's words made safe to show: some services repeat the key that they refuse, so it is taken out."""
        if len(self.api_key) >= _SHORTEST_HIDDEN:
            message = message.replace(self.api_key, "(key)")
        return safe(message)


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise ConfigurationError(f"the API key must be text: {type(key).__name__}")
    if not key.strip():
        raise ConfigurationError("the API key is empty", hint="set it in the environment, or name a file that holds it")
    if key.lower().startswith("bearer "):
        raise ConfigurationError("the API key begins with 'Bearer'", hint="give the key alone, without 'Bearer'")
    if key.lower().startswith(("http://", "https://")):
        raise ConfigurationError("the API key looks like an address", hint="the key comes first, then the base URL")
    if _KEY.fullmatch(key) is None:
        raise ConfigurationError(
            "the API key holds a space, a line end or a character that is not ASCII",
            hint="copy the key alone, once more",
        )


def _checked_url(url: object) -> str:
    if not isinstance(url, str):
        raise ConfigurationError(f"the base URL must be text: {type(url).__name__}")
    if not url.lower().startswith(("http://", "https://")):
        # What has no scheme may be a key in the wrong place: it is not repeated.
        shown = f": {safe(url, 200)}" if "://" in url and "@" not in url else ""
        raise ConfigurationError(
            f"the base URL must begin with http:// or https://{shown}", hint="for example https://dify.example.com/v1"
        )
    if _URL.fullmatch(url) is None:
        raise ConfigurationError("the base URL holds a space, a line end or a backslash", hint="copy the address alone")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  it is checked where it is read
    except ValueError as error:
        raise ConfigurationError(f"the base URL is malformed: {safe(str(error), 200)}") from None
    if "@" in parts.netloc:
        raise ConfigurationError("the base URL holds credentials", hint="give the key apart, as the API key")
    if "?" in url or "#" in url:
        raise ConfigurationError("the base URL holds a query or a fragment", hint="leave out everything from ? or # on")
    if not parts.hostname:
        raise ConfigurationError(f"the base URL names no host: {safe(url, 200)}")
    return url.rstrip("/")


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name or len(name) > 100 or safe(name) != name or name != name.strip():
        raise ConfigurationError(
            f"a provider's name must be 1 to 100 characters that can be shown: {safe(repr(name), 200)}"
        )
    return name


def _is_limits(value: object) -> bool:
    return isinstance(value, Limits)


def _private(host: str) -> bool:
    """Whether ``host`` is this machine, or one that only a private network reaches."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host.rstrip(".")
        return "." not in name or name.endswith(tuple(f".{suffix}" for suffix in _PRIVATE_NAMES))
    return address.is_loopback or address.is_private or address.is_link_local
