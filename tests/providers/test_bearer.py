"""A provider value: its address, key, name and limits, checked once and never showing the key."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import traceback
from typing import Any

import pytest

from bulkdel import ConfigurationError, Dify, Langdock, Limits, Rate
from bulkdel.providers import Bearer, Provider
from tests.providers.answers import KEY

CLOUD_DEFAULT = Limits(rate=Rate(8, per=60), concurrency=4)


def test_the_librarys_own_example_works() -> None:
    """The two lines of the library's documentation, word for word."""
    dify = Dify(api_key=KEY, base_url="http://localhost/v1")
    langdock = Langdock(api_key=KEY, limits=Limits(rate=Rate(45, per=60), concurrency=4))
    assert (dify.name, dify.kind, dify.base_url) == ("dify", "dify", "http://localhost/v1")
    assert (langdock.name, langdock.kind, langdock.base_url) == ("langdock", "langdock", "https://api.langdock.com")
    typed: list[Provider] = [dify, langdock]
    assert len({provider.fingerprint for provider in typed}) == 2


@pytest.mark.parametrize(
    ("provider", "limits", "pace"),
    [
        (Dify(KEY), CLOUD_DEFAULT, Rate(8, per=60)),
        (Dify(KEY, "https://API.dify.ai/v1/"), CLOUD_DEFAULT, Rate(8, per=60)),
        (Dify(KEY, limits=Limits(concurrency=2)), Limits(concurrency=2), None),
        (Dify(KEY, limits=Limits(Rate(100, per=60))), Limits(Rate(100, per=60), 4), Rate(80, per=60)),
        (Dify(KEY, limits=Limits(Rate(8, per=60), 2)), Limits(Rate(8, per=60), 2), Rate(8, per=60)),
        (Dify(KEY, limits=Limits()), Limits(None, 4), None),
        (Dify(KEY, "http://localhost/v1"), Limits(None, 4), None),
        (Dify(KEY, "https://dify.example.com/v1", limits=Limits(Rate(5))), Limits(Rate(5), 4), Rate(5)),
        (Dify(KEY, "https://api.dify.ai.example.com/v1"), Limits(None, 4), None),
        (Langdock(KEY), Limits(Rate(45, per=60), 4), Rate(45, per=60)),
        (Langdock(KEY, "http://127.0.0.1:8080/api/public"), Limits(Rate(45, per=60), 4), Rate(45, per=60)),
        (Langdock(KEY, limits=Limits(Rate(100, per=60), 9)), Limits(Rate(100, per=60), 9), Rate(100, per=60)),
        (Langdock(KEY, limits=Limits()), Limits(None, 4), None),
    ],
)
def test_limits_are_the_callers_or_the_services_own(provider: Bearer, limits: Limits, pace: Rate | None) -> None:
    """8 a minute on Dify Cloud and 80 % of a plan's rate, 45 at Langdock, none at a self-hosted Dify; 4 at once."""
    assert provider.limits == limits
    assert provider.pace == pace


@pytest.mark.parametrize(
    ("provider", "unsaid", "guessed"),
    [
        (Dify(KEY), True, True),
        (Dify(KEY).with_concurrency(2), True, True),
        (Dify(KEY, limits=Limits(concurrency=2)), True, False),
        (Dify(KEY, limits=Limits()), False, False),
        (Dify(KEY, limits=Limits()).with_concurrency(2), False, False),
        (Dify(KEY, limits=Limits(Rate(8, per=60), 2)), False, False),
        (Dify(KEY, "http://localhost/v1", limits=Limits(concurrency=2)), True, False),
    ],
)
def test_a_concurrency_says_nothing_of_the_rate(provider: Dify, unsaid: bool, guessed: bool) -> None:
    """What may be learned of the rate is what was not given, whether a concurrency was given or not."""
    assert (provider.rate_is_default, provider.rate_is_guess) == (unsaid, guessed)
    assert provider.with_concurrency(7).limits == Limits(provider.limits.rate, 7)
    assert provider.with_concurrency(7).max_concurrency == 7


def test_a_value_can_be_compared_hashed_changed_and_copied() -> None:
    """A frozen value like any other; a copy under another name keeps its limits and its pace."""
    one = Dify(KEY, limits=Limits(Rate(100, per=60)))
    assert one == Dify(KEY, limits=Limits(Rate(100, per=60))) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one))
    assert len({one, Dify(KEY), Langdock(KEY)}) == 3
    assert one != Dify(KEY + "x", limits=Limits(Rate(100, per=60)))
    other = dataclasses.replace(Dify(KEY), name="prod")
    assert (other.name, other.limits, other.pace) == ("prod", CLOUD_DEFAULT, Rate(8, per=60))
    for field in ("api_key", "base_url", "colour"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, field, "x")


def test_the_key_is_in_the_headers_and_nowhere_else() -> None:
    """S20: not in repr, str, fingerprint or warning."""
    for provider in (Dify(KEY, "http://dify.example.com/v1"), Langdock(KEY)):
        assert provider.headers()["Authorization"] == f"Bearer {KEY}"
        shown = f"{provider!r} {provider} {provider.fingerprint} {provider.warning} {provider.request.__self__!r}"
        assert KEY not in shown


def test_a_fingerprint_tells_keys_and_addresses_apart() -> None:
    """16 hex digits, the same for the same key at the same address."""
    prints = [
        Dify(KEY).fingerprint, Dify(KEY + "x").fingerprint, Dify(KEY, "http://localhost/v1").fingerprint,
        Langdock(KEY, "https://api.dify.ai/v1").fingerprint,
    ]  # fmt: skip
    assert len(set(prints)) == 4
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in prints)
    assert Dify(KEY, "https://api.dify.ai/v1/", name="other").fingerprint == prints[0]


@pytest.mark.parametrize(
    "key",
    ["", " ", "\n", f"{KEY}\n", f" {KEY}", f"{KEY} x", f"{KEY}\r\nX-Evil: 1", f"{KEY}é", f"{KEY}\x00", f"Bearer {KEY}",
     f"bearer {KEY}", f"http://{KEY}", f'"{KEY}"', f"{{{KEY}}}", f"DIFY_API_KEY={KEY}", f"dify-key={KEY}", f"{KEY};", None, 7, KEY.encode()],
)  # fmt: skip
def test_an_impossible_key_is_refused_and_not_repeated(key: Any) -> None:
    """What a header cannot carry, or what is no key at all, says so, without the key in message or traceback."""
    with pytest.raises(ConfigurationError) as caught:
        Dify(api_key=key)
    assert KEY not in "".join(traceback.format_exception_only(caught.value))
    assert KEY not in caught.value.hint
    assert "key" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "localhost/v1", "ftp://localhost/v1", "http://", "https:///v1", "http://:80/v1", "https://user@host/v1",
     f"https://user:{KEY}@host/v1", f"ftp://user:{KEY}@host/v1", "https://host/v1?x=1", f"https://host/v1?key={KEY}", "https://host/v1#top",
     "https://host/v1?", "https://host/v1#", "http://ho st/v1", "http://host/v1\n", "http://host\\v1", "http://[::1/v1",
     "http://host:port/v1", "http://host:99999/v1", "//host/v1", "http://a..b/v1", f"http://{'a' * 64}.test/v1", "http://ho\u200bst/v1", "http://host/v1\u00a0", KEY, "javascript:alert(1)", 7, b"http://host"],
)  # fmt: skip
def test_an_impossible_address_is_refused(url: Any) -> None:
    """Anything but http(s)://HOST[:PORT][/PATH]; what may hold a key is not repeated."""
    for provider in (Dify, Langdock):
        with pytest.raises(ConfigurationError) as caught:
            provider(KEY, url)
        assert KEY not in f"{caught.value} {caught.value.hint}"
        assert "base URL" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kept"),
    [("http://localhost/v1/", "http://localhost/v1"), ("http://localhost/v1//", "http://localhost/v1"),
     ("http://localhost", "http://localhost"), ("http://[::1]:5001/v1", "http://[::1]:5001/v1"),
     ("HTTPS://Dify.example.com:8443/a/v1", "HTTPS://Dify.example.com:8443/a/v1")],
)  # fmt: skip
def test_slashes_at_the_end_of_an_address_are_dropped(url: str, kept: str) -> None:
    """A request's path goes straight behind it."""
    assert Dify(KEY, url).base_url == kept


@pytest.mark.parametrize("name", ["", " ", "a\nb", " a", "a\x1b[31m", "x" * 101, 7])
def test_a_name_that_cannot_be_shown_is_refused(name: Any) -> None:
    """A name stands in every target and every line of a report."""
    with pytest.raises(ConfigurationError, match="name"):
        Dify(KEY, name=name)


def test_limits_of_another_type_are_refused() -> None:
    """A rate in the place of limits is named, not met as an AttributeError later."""
    with pytest.raises(ConfigurationError, match="Limits"):
        Dify(KEY, limits=Rate(5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("https://dify.example.com/v1", False), ("http://localhost/v1", False), ("http://localhost:5001/v1", False),
        ("http://127.0.0.1/v1", False), ("http://127.9.9.9/v1", False), ("http://[::1]/v1", False),
        ("http://10.0.0.7/v1", False), ("http://172.16.0.1/v1", False), ("http://192.168.1.2/v1", False),
        ("http://[fd00::1]/v1", False), ("http://[fe80::1%25eth0]/v1", False), ("http://api/v1", False),
        ("http://dify.internal/v1", False), ("http://nas.local./v1", False), ("http://dify.localhost/v1", False),
        ("http://dify.example.com/v1", True), ("http://8.8.8.8/v1", True), ("http://[2606:4700::1111]/v1", True),
        ("HTTP://api.dify.ai/v1", True), ("http://localhost.example.com/v1", True), ("http://notlocal/v1", False),
        ("http://172.32.0.1/v1", True),
    ],
)  # fmt: skip
def test_a_key_sent_in_clear_over_the_internet_is_warned_of(url: str, warns: bool) -> None:
    """Plain http is for this machine and private networks."""
    assert bool(Dify(KEY, url).warning) == warns
