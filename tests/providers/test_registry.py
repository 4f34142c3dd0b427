"""Providers are found by their kind: our own, and those of installed packages."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bulkdel import ConfigurationError, Dify, Langdock
from bulkdel.providers.registry import GROUP, kinds, load

GOOD = """
from bulkdel.providers import Dify

class MyKB(Dify):
    kind = "mykb"
"""


def install(folder: Path, package: str, kind: str, value: str, source: str | None = None) -> None:
    """Lay a package with one entry point where Python finds packages."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{kind} = {value}\n")
    if source is not None:
        module = value.partition(":")[0]
        (folder / f"{module}.py").write_text(source)
        sys.modules.pop(module, None)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_our_own_are_known() -> None:
    """dify and langdock, by kind."""
    assert load("dify") is Dify
    assert load("langdock") is Langdock
    assert {"dify", "langdock"} <= set(kinds())


def test_our_own_are_entry_points_like_any_other() -> None:
    """The package itself shows third parties how it is done."""
    found = {point.name: point.load() for point in entry_points(group=GROUP) if point.value.startswith("bulkdel.")}
    assert found == {"dify": Dify, "langdock": Langdock}


@pytest.mark.parametrize("kind", ["notion", "", "Dify", "dify ", "../dify", "a\x1b[31m"])
def test_an_unknown_kind_is_answered_with_the_known_ones(kind: str) -> None:
    """The message names what was asked for, the hint what there is."""
    with pytest.raises(ConfigurationError, match="unknown provider") as caught:
        load(kind)
    assert "dify, langdock" in caught.value.hint
    assert "\x1b" not in str(caught.value)


def test_a_plug_in_is_found_by_its_kind(site: Path) -> None:
    """A package with an entry point is a provider like our own."""
    install(site, "bulkdel-mykb", "mykb", "bulkdel_mykb:MyKB", GOOD)
    assert "mykb" in kinds()
    provider = load("mykb")(api_key="k", base_url="http://localhost/v1", name=None, limits=None)
    assert (provider.kind, provider.name) == ("mykb", "mykb")
    assert load("mykb") is import_module("bulkdel_mykb").MyKB


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("raise RuntimeError('boom')", "boom"),
        ("x = 1", "AttributeError"),
        ("def MyKB(", "SyntaxError"),
        ("MyKB = 7", "not a provider"),
        ("class MyKB: pass", "it has no with_concurrency, .*read_datasets"),
        ("def MyKB(**given): pass", "it has no with_concurrency, .*read_datasets"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_named(site: Path, source: str, why: str) -> None:
    """One sentence that says which package is to blame, whatever it does while it is imported."""
    install(site, "bulkdel-broken", "broken", "bulkdel_broken:MyKB", source)
    with pytest.raises(ConfigurationError, match=why) as caught:
        load("broken")
    assert "broken" in str(caught.value)
    assert "bulkdel-broken" in caught.value.hint


def test_a_broken_plug_in_harms_no_other(site: Path) -> None:
    """Only who asks for it meets it."""
    install(site, "bulkdel-broken", "broken", "bulkdel_broken:MyKB", "raise RuntimeError")
    assert load("dify") is Dify
    assert "broken" in kinds()


def test_two_packages_that_provide_one_kind_are_refused(site: Path) -> None:
    """Which of them gets the key is not left to the order of folders."""
    install(site, "bulkdel-one", "twice", "bulkdel_one:MyKB", GOOD)
    install(site, "bulkdel-two", "twice", "bulkdel_two:MyKB", GOOD)
    with pytest.raises(ConfigurationError, match="bulkdel-one, bulkdel-two"):
        load("twice")


def test_a_plug_in_cannot_take_the_place_of_our_own(site: Path) -> None:
    """A Dify user's key goes to our Dify, whatever else is installed."""
    install(site, "bulkdel-evil", "dify", "bulkdel_evil:MyKB", GOOD)
    assert load("dify") is Dify
