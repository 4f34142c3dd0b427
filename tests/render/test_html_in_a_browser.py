"""The HTML report in a real browser: it renders, searches, sorts, turns pages, and asks the network for nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.render.browser import Page, address, page
from tests.render.pages import HOSTILE, played, written

ROW = "section[data-list=%s] tbody tr"
CELLS = """[...document.querySelectorAll("section[data-list=%s] tbody tr")].map(
    row => [...row.cells].map(cell => cell.textContent))"""
TYPED = """(() => { const input = document.querySelector("section[data-list=%s] input"); input.value = %r;
    input.dispatchEvent(new Event("input")); })()"""
CLICKED = """document.querySelectorAll("section[data-list=%s] thead button")[%d].click()"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    where = folder / "purge.html"
    where.write_text(written(played(folder / "a.run")), "utf-8")
    return where


@pytest.fixture(scope="module")
def within(file: Path) -> Iterator[Callable[[Callable[[Page], Awaitable[None]]], None]]:
    """Does something with the page in one browser that all tests share; each finds it freshly loaded."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Page]:
        async with page() as tab:
            yield tab

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        tab = runner.run(stack.enter_async_context(opened()))

        def do(act: Callable[[Page], Awaitable[None]]) -> None:
            async def main() -> None:
                tab.events.clear()
                await tab.open(address(file))
                await act(tab)
                await asyncio.sleep(0)
                assert tab.said("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []

            runner.run(main())

        try:
            yield do
        finally:
            runner.run(stack.aclose())


Within = Callable[[Callable[[Page], Awaitable[None]]], None]


def test_it_renders_and_nothing_leaves(within: Within, file: Path) -> None:
    """The page shows its tables and plots; the file itself is the only thing that was ever asked for; nothing hostile ran."""

    async def act(tab: Page) -> None:
        assert [said["request"]["url"] for said in tab.said("Network.requestWillBeSent")] == [address(file)]
        assert await tab.ask("document.title") == "purge of Support (dify): incomplete, 290 of 300 gone, run a"
        assert len(await tab.ask(CELLS % "rejected")) == 10
        assert len(await tab.ask(CELLS % "settled")) == 50
        drawn: Any = await tab.ask(
            """[...document.querySelectorAll(".pygal-chart")].map(chart => [...chart.querySelectorAll(".series .line")].filter(
                line => { const style = getComputedStyle(line);
                    return line.getTotalLength() > 20 && (style.stroke !== "none" || style.fill !== "none"); }).length)"""
        )
        assert len(drawn) == 6
        assert all(drawn)
        assert await tab.ask("document.documentElement.scrollWidth <= innerWidth")

    within(act)


def test_the_reason_has_the_widest_column(within: Within) -> None:
    """What a reader came for is not broken into a word a line, and a column that says the same in every row is not there."""

    async def act(tab: Page) -> None:
        widths: Any = await tab.ask(
            "[...document.querySelectorAll('[data-list=rejected] thead th')].map(head => [head.dataset.word, head.offsetWidth])"
        )
        by_word = dict(widths)
        assert list(by_word) == ["document", "name", "dataset", "outcome", "reason", "attempts", "settled (UTC)"]
        assert by_word["dataset"] == 0
        assert by_word["reason"] >= 1.5 * max(width for word, width in by_word.items() if word != "reason")

    within(act)


def test_the_policy_is_obeyed(within: Within) -> None:
    """What a hostile page would try is refused by the browser: text that becomes markup, an image from elsewhere."""

    async def act(tab: Page) -> None:
        markup = "try { document.body.innerHTML = '<b>x</b>'; 'done' } catch (error) { error.name }"
        assert await tab.ask(markup) == "TypeError"
        await tab.ask(
            """new Promise(done => { addEventListener("securitypolicyviolation", event => { window.stopped = event.blockedURI; });
                const image = new Image(); image.src = "http://127.0.0.1:9/x.png"; document.body.append(image); }) && 0"""
        )
        for _ in range(1000):
            if await tab.ask("window.stopped") is not None:
                break
        assert await tab.ask("window.stopped") == "http://127.0.0.1:9/x.png"
        tab.events.clear()  # the refusals are on the console, as they should

    within(act)


def test_search_finds_every_row_that_has_all_words(within: Within) -> None:
    """Typing narrows the list without regard to case, over the pages; a name that looks like markup is shown as text."""

    async def act(tab: Page) -> None:
        await tab.ask(TYPED % ("settled", "GAVE doc"))
        found = await tab.ask(CELLS % "settled")
        assert {cells[3] for cells in found} == {"gave up"} or found == []
        await tab.ask(TYPED % ("settled", "gave up"))
        found = await tab.ask(CELLS % "settled")
        assert [cells[3] for cells in found] == ["gave up"] * 4
        assert {cells[1] for cells in found} == {HOSTILE}
        await tab.ask(TYPED % ("settled", "no such thing"))
        assert await tab.ask(CELLS % "settled") == []
        assert await tab.ask("""document.querySelector("section[data-list=settled] output").textContent""") == (
            "nothing found"
        )
        await tab.ask(TYPED % ("settled", ""))
        assert len(await tab.ask(CELLS % "settled")) == 50

    within(act)


def test_a_column_sorts_up_and_down(within: Within) -> None:
    """A click on a heading sorts the whole list and says which way; numbers sort as numbers, also inside names."""

    async def act(tab: Page) -> None:
        await tab.ask(TYPED % ("settled", "doc-"))
        for up in (True, False):
            await tab.ask(CLICKED % ("settled", 1))
            names = [cells[1] for cells in await tab.ask(CELLS % "settled")]
            ordered = sorted(names, key=lambda name: int(name[4:-3]), reverse=not up)
            assert names == ordered
            assert names[0] == ("doc-1.md" if up else "doc-299.md")
            said = await tab.ask("""document.querySelector("section[data-list=settled] [aria-sort]").ariaSort""")
            assert said == ("ascending" if up else "descending")
        await tab.ask(CLICKED % ("rejected", 5))
        attempts = [int(cells[5]) for cells in await tab.ask(CELLS % "rejected")]
        assert attempts == sorted(attempts)
        assert attempts[0] != attempts[-1]

    within(act)


def test_pages_turn(within: Within) -> None:
    """Each document is on one page, the first page has nothing before it and the last nothing behind it."""

    async def act(tab: Page) -> None:
        seen = [cells[0] for cells in await tab.ask(CELLS % "settled")]
        button = """document.querySelector("section[data-list=settled] .%s")"""
        assert await tab.ask(f"{button % 'back'}.disabled")
        while not await tab.ask(f"{button % 'on'}.disabled"):
            await tab.ask(f"{button % 'on'}.click()")
            seen += [cells[0] for cells in await tab.ask(CELLS % "settled")]
        assert len(seen) == len(set(seen)) == 300

    within(act)


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 26)")])
def test_it_is_light_and_dark(within: Within, scheme: str, ground: str) -> None:
    """The page follows the reader's colours, its plots included: text and lines stand out from the ground."""

    async def act(tab: Page) -> None:
        await tab.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        assert await tab.ask("getComputedStyle(document.body).backgroundColor") == ground
        for what, attribute in (("p", "color"), (".pygal-chart text", "fill"), (".color-0 .line", "stroke")):
            colour = await tab.ask(f"getComputedStyle(document.querySelector({what!r}))[{attribute!r}]")
            assert contrast(colour, ground) > 3, what

    within(act)


def test_it_prints(within: Within) -> None:
    """On paper every rejected document is there, and the line that says where the settled ones are."""

    async def act(tab: Page) -> None:
        await tab.ask("dispatchEvent(new Event('beforeprint'))")
        await tab.tell("Emulation.setEmulatedMedia", media="print")
        assert len(await tab.ask(CELLS % "rejected")) == 10
        shown = """getComputedStyle(document.querySelector("section[data-list=settled] %s")).display"""
        assert await tab.ask(shown % "table") == "none"
        assert "--format csv" in await tab.ask(
            """document.querySelector("section[data-list=settled] .printed").innerText"""
        )
        await tab.tell("Emulation.setEmulatedMedia", media="")

    within(act)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two ``rgb(…)`` colours: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio"""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
