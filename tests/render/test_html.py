"""The HTML report: one file that needs nothing else, says what the run says, and takes every name for text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from bulkdel import Run, Selection
from bulkdel.providers.protocol import Answer, Reply, Request
from bulkdel.store.recorded import recorded_report
from tests import virtual
from tests.cli.inside import command
from tests.cli.outside import Terminal
from tests.engine.world import DATASET, Service, client
from tests.render.pages import HOSTILE, Parts, killed, played, rows, written

ALLOWED = {"name", "content", "charset", "http-equiv", "lang", "rel", "href"}


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test looks for runs in the user's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("html") / "a.run")


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return written(run)


@pytest.fixture(scope="module")
def parts(text: str) -> Parts:
    return Parts(text)


def test_the_page_names_no_other_place(parts: Parts) -> None:
    """One file: no address in any attribute but an empty icon, and nothing in it that loads, embeds, frames or submits."""
    assert {attrs["href"] for _, attrs in parts.tags if "href" in attrs} == {"data:,"}
    for tag, attrs in parts.tags:
        assert tag not in ("iframe", "object", "embed", "form", "base", "img", "a", "audio", "video")
        assert not {"src", "srcset", "action", "xlink:href", "style", "ping"} & attrs.keys()
        assert not [name for name in attrs if name.startswith("on")]
        assert not [value for value in attrs.values() if value and ("//" in value or "javascript:" in value)]
    assert "@import" not in str(parts.inside)
    assert "url(" not in "".join(text for tag, _, text in parts.inside if tag == "style")


def test_the_policy_lets_in_what_is_there_and_nothing_else(parts: Parts) -> None:
    """The content-security policy comes first, forbids everything, and names the one style and the one script by their hash."""
    assert [tag for tag, _ in parts.tags[:4]] == ["html", "head", "meta", "meta"]
    assert "http-equiv" in parts.tags[3][1]
    (policy,) = [attrs["content"] for _, attrs in parts.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    said = dict(part.split(" ", 1) for part in policy.split("; "))
    assert said["default-src"] == "'none'"
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        (inside,) = [text for tag, attrs, text in parts.inside if tag == kind and not attrs]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert said[f"{kind}-src"] == f"'sha256-{digest}'"
    assert [attrs for tag, attrs in parts.tags if tag == "script" and attrs] == [{"type": "application/json"}] * 2


def test_hostile_names_are_text(text: str, parts: Parts) -> None:
    """A name that would close the script, open a tag or run in the template is in the data as it is, and nowhere as markup."""
    named = [row for listing in parts.data() for row in rows(listing) if row[2] == HOSTILE]
    assert len(named) > 5
    assert "pwned" not in "".join(str(attrs) for _, attrs in parts.tags)
    assert sum(tag == "script" for tag, _ in parts.tags) == 3
    assert "<img" not in text
    assert "{{ 7*7 }}" in parts.text
    for _, attrs, inside in parts.inside:
        if attrs:
            assert not set("<>&\u2028\u2029") & set(inside)


def test_the_page_says_what_the_run_says(run: Path, parts: Parts) -> None:
    """Every ending is in the page, the rejected ones in a list of their own; counts and digest are the run's."""
    with Run.open(run) as opened:
        report, digest = recorded_report(opened), opened.digest()
        endings = {s.target.document: s for s in opened.settled()}
    left, every = parts.data()
    assert [row[1] for row in rows(every)] == list(endings)
    for row in rows(every):
        settled = endings[row[1]]
        assert every["places"][row[0]] == ["dify", DATASET, "Support"]
        assert row[3] == settled.outcome.replace("_", " ")
        assert row[4] == settled.reason
        assert (row[2], row[5], row[6]) == (settled.name, settled.attempts, round(settled.settled_at * 1000))
    shown = Counter(row[3] for row in rows(left))
    assert shown == {word.replace("_", " "): n for word, n in report.reasons.items()} == {"archived": 6, "gave up": 4}
    assert f"sha256:{digest}" in parts.text
    assert "Finished, but not everything is gone: 290 deleted, 10 rejected of 300" in parts.text
    assert "listed again: 10 documents are still there, just those that were rejected or skipped" in parts.text
    assert "--unarchive un-archives them first" in parts.text


class _Renamed(Service):
    """A dataset whose name would run in a page."""

    def read(self, request: Request, document: str) -> Reply:
        reply = super().read(request, document)
        assert isinstance(reply, Answer)
        return reply._replace(body=reply.body.replace(b'"Support"', json.dumps(HOSTILE).encode()))


def test_the_title_says_what_the_page_is_of(text: str, tmp_path: Path) -> None:
    """A tab, a bookmark and a print-out say what was done, where, how it ended and in which run; a hostile name is text there."""
    assert "<title>purge of Support (dify): incomplete, 290 of 300 gone, run a</title>" in text

    async def main() -> None:
        service = _Renamed()
        service.fill(2)
        async with client(service) as c:
            await c.plan("dify", DATASET, run=tmp_path / "a.run")

    virtual.run(main())
    (title,) = re.findall("<title>(.*?)</title>", written(tmp_path / "a.run"))
    assert title.startswith("plan for &lt;/script&gt;&lt;script&gt;document.title = ")
    assert title.endswith("(dify): planned, 2 selected, run a")


def test_there_is_a_plot_for_each_question(parts: Parts) -> None:
    """Speed, latency, requests, concurrency, waits and requeues are drawn, and where the time went adds up to all of it."""
    drawn = [attrs["aria-label"] for tag, attrs in parts.tags if tag == "svg" and attrs.get("role") == "img"]
    assert drawn == [
        "Documents settled", "How long answers took", "Requests", "Requests at the same time", "What it waited for",
        "Asked again",
    ]  # fmt: skip
    shares = [float(share) for share in re.findall(r" s(\d+\.\d) %$", parts.text, re.MULTILINE)]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert "waiting for the rate limit" in parts.text
    assert "Where the time went" in parts.text
    assert "There are no measurements" not in parts.text


def test_a_session_that_was_killed_is_drawn_from_its_endings(tmp_path: Path) -> None:
    """Where nothing was measured, the plot counts the moments at which documents settled, and the page says so."""
    parts = Parts(written(killed(tmp_path / "a.run")))
    drawn = [attrs["aria-label"] for tag, attrs in parts.tags if tag == "svg" and attrs.get("role") == "img"]
    assert drawn == ["Documents settled"]
    assert "There are no measurements" in parts.text
    assert "Where the time went" not in parts.text
    assert "not listed again, so nothing says what is there now" in parts.text


def test_a_list_has_an_end_and_says_so(run: Path) -> None:
    """Rows beyond the most that a page holds are left out, with a line that names the format that has all of them."""
    parts = Parts(written(run, most=7))
    left, every = parts.data()
    assert (len(rows(left)), len(rows(every))) == (7, 7)
    assert "The first 7 of 10. All of them: bulkdel report RUN --format jsonl" in parts.text
    assert "The first 7 of 300. All of them: bulkdel report RUN --format jsonl" in parts.text


def test_the_page_stays_small(text: str) -> None:
    """Without its rows a page is below 80 KB, and a row costs about as much as its ids and names."""
    data = sum(len(inside) for _, attrs, inside in Parts(text).inside if attrs)
    assert len(text) - data < 80_000
    assert data < 311 * 200


def test_a_plan_is_shown_for_review(tmp_path: Path) -> None:
    """Of a plan the page shows every document with what would become of it, and claims nothing more."""

    async def main() -> None:
        service = Service()
        service.fill(5)
        service.fill(2, created_at=1_900_000_000)
        async with client(service) as c:
            await c.plan("dify", DATASET, run=tmp_path / "a.run", select=Selection(created_before=1_800_000_000))

    virtual.run(main())
    parts = Parts(written(tmp_path / "a.run"))
    (planned,) = parts.data()
    shown = Counter((row[3], row[4]) for row in rows(planned))
    assert shown == {("to delete", ""): 5, ("skipped", "created too late"): 2}
    assert "Planned, nothing was deleted: 5 of 7 documents selected: 5 to delete" in parts.text
    # Lines of JSON have the selected alone; of a plan the text names the skipped, too.
    assert "The same as text: bulkdel report RUN\n" in f"{parts.text}\n"
    assert "--format jsonl" not in parts.text


def test_the_command_writes_the_page(run: Path, tmp_path: Path) -> None:
    """$ bulkdel report RUN --format html -o purge.html: exit 0, the file is whole and its owner's alone."""
    where = tmp_path / "purge.html"
    seen = command(Service(), "report", str(run), "--format", "html", "-o", str(where))
    assert (seen.status, seen.stdout) == (0, "")
    assert where.read_text("utf-8").endswith("</html>\n")
    assert where.stat().st_mode & 0o777 == 0o600
    piped = command(Service(), "report", str(run), "--format", "html")
    assert piped.stdout == where.read_text("utf-8")


def test_a_terminal_is_not_given_a_page(run: Path) -> None:
    """$ bulkdel report RUN --format html: refused on a terminal, exit 2, with what to do instead."""
    seen = command(Service(), "report", str(run), "--format", "html", stdout=Terminal())
    assert seen.status == 2
    assert "hint: name a file for it: -o report.html" in seen.stderr
