"""S20 over whole runs: the key is nowhere that anybody reads, and a hostile name is data wherever it is shown."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulkdel import Dify, Langdock, Policy, Report, Target
from bulkdel.errors import ConfigurationError
from bulkdel.providers.protocol import Reply, Request
from bulkdel.simulator import DifySimulator, Faults
from bulkdel.simulator.documents import NASTY
from tests import virtual
from tests.cli.inside import command, purge
from tests.cli.service import Beside, until
from tests.engine.world import DATASET, KEY, Service, client, error

# What a terminal obeys: controls but the line end, C1, and the characters that turn or split a line.
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
HOSTILE = (*NASTY, "A" * 10_000, "\x1b]52;c;aGk=\x07copied", "a\x9b2Jb", "{key!r} %s ${HOME}", "</script><script>")


class Echo(Service):
    """A service that repeats the key in whatever it says."""

    says = (400, 403, 404, 429, 500)

    def delete(self, document: str) -> Reply:
        reply = super().delete(document)
        if self.deletes[document] == 1:
            status = self.says[len(self.sent) % len(self.says)]
            return error(status, f"code {KEY}", f"Document {KEY} of {KEY}", retry_after="1", x_key=KEY)
        return reply

    def read(self, request: Request, document: str) -> Reply:
        if sum(sent.method == "GET" for sent in self.sent) % 4 == 2:
            return error(500, KEY, f"the key {KEY} is tired")
        return super().read(request, document)


def test_a_key_that_the_service_repeats_is_shown_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not in an event, a report, its JSON, the run file, a log line, a look at the run, a task's or a client's repr."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    async def main(run: Path | None) -> None:
        service = Echo(latency=0.01 if run is None else 0.0)
        if run is not None:
            service.says = (400, 404, 500)  # no pauses: this one takes real time
        ids = service.fill(30)
        loop = asyncio.get_running_loop()
        async with client(service, policy=Policy(attempts=3, backoff=0.01)) as c:

            def look() -> None:
                shown.extend(map(repr, (c.progress(), c, vars(c), *asyncio.all_tasks())))
                if run is None:
                    loop.call_later(1.0, look)

            loop.call_later(0.01, look)
            report = await c.purge("dify", DATASET, on_event=lambda e: shown.append(repr(e)), run=run)
            assert report.selected == len(ids)
            shown.extend((repr(report), json.dumps(report.as_dict()), report.summary(), report.hint))
            shown.extend(json.dumps(settled.as_dict()) for settled in report.settled)

    virtual.run(main(None))
    asyncio.run(main(tmp_path / "a.run"))
    assert len(shown) > 100
    found = [words for words in shown if KEY in words]
    assert not found, found[0]
    assert KEY not in caplog.text
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes(), file


def test_a_traceback_with_every_local_variable_shows_no_key() -> None:
    """A host program's crash reporter prints each frame's variables by their repr: providers and clients keep it out."""
    words = ""

    def targets_that_raise() -> Iterator[Target]:
        yield Target("dify", DATASET, DATASET)
        raise LookupError("the caller's own mistake")

    async def main() -> None:
        nonlocal words
        service = Service()
        dify = Dify(api_key=KEY, base_url="http://dify.localhost/v1")
        async with client(service, providers=[dify]) as c:
            try:
                await c.delete(targets_that_raise())
            except Exception as error:
                words = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())

    virtual.run(main())
    assert "TargetsError" in words
    assert "LookupError" in words
    assert KEY not in words


@pytest.mark.parametrize("make", [Dify, Langdock])
@pytest.mark.parametrize(
    "url",
    ["http://me:hunter2@host/v1", "https://host/v1?key=hunter2", "https://host/v1#hunter2", "hunter2@host", "hunter2"],
)
def test_an_address_with_a_secret_is_refused_unrepeated(make: Any, url: str) -> None:
    """Credentials, queries and fragments are refused before anything is sent, in words without them."""
    with pytest.raises(ConfigurationError) as raised:
        make(api_key=KEY, base_url=url)
    shown = (
        str(raised.value) + raised.value.hint + "".join(map(str, (raised.value.__cause__, raised.value.__context__)))
    )
    assert "hunter2" not in shown
    assert KEY not in shown


def test_no_process_and_no_file_shows_the_key(tmp_path: Path) -> None:
    """$ bulkdel purge dify ID -y -v --settled FILE --run FILE: not in argv, stdout, stderr, or any file that it leaves."""
    seen: list[bytes] = []

    async def main() -> None:
        async with DifySimulator(documents=20, faults=Faults(archived=4, error_500=0.2, latency=0.02)) as simulator:
            beside = Beside(simulator, "dify", {"XDG_STATE_HOME": str(tmp_path)})
            argv = ("purge", "dify", simulator.dataset_ids[0], "-y", "-v", "--settled", str(tmp_path / "settled.jsonl"))
            process = await beside.start(*argv, "--run", str(tmp_path / "a.run"))
            await until(lambda: simulator.requests)
            seen.append(command_line(process.pid))
            seen.extend(await process.communicate())
            simulator.revoke_key()
            refused = await beside.run("purge", "dify", simulator.dataset_ids[0], "-y", "-v", "--log-json")
            assert refused.status == 4
            seen.extend((refused.stdout.encode(), refused.stderr.encode(), simulator.key.encode()))

    asyncio.run(main())
    key = seen.pop()
    assert b"--settled" in seen[0] or not Path("/proc/self").exists()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) >= 2
    for words in (*seen, *(file.read_bytes() for file in files)):
        assert key not in words


def command_line(pid: int) -> bytes:
    """What ``ps`` shows of a process, where there is a /proc."""
    file = Path(f"/proc/{pid}/cmdline")
    return file.read_bytes() if file.exists() else b""


def test_hostile_names_are_data_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$ bulkdel purge … -v; --settled; --log-json; report in each form: nothing obeyed, every line and cell still one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    service = Service()
    for name in HOSTILE:
        service.fill(1, name=name, archived=True)
    run, file = str(tmp_path / "a.run"), tmp_path / "settled"
    text = purge(service, "-v", "--run", run)
    lines = purge(service, "--log-json", "--json", "--settled", str(file))
    plan = command(service, "purge", "dify", DATASET, "--dry-run")
    assert (text.status, lines.status, plan.status) == (1, 1, 0), text.stderr
    reports = {form: command(service, "report", run, "--format", form) for form in ("text", "json", "jsonl", "csv")}
    for ended in (text, lines, plan, *reports.values()):
        nothing_is_obeyed(ended)
    settled = file.read_text(encoding="utf-8").splitlines()
    assert len(settled) == len(reports["jsonl"].stdout.splitlines()) == len(HOSTILE)
    for line in (*settled, *reports["jsonl"].stdout.splitlines()):
        assert not OBEYED.search(json.loads(line)["name"]), line
        assert len(line) < 2_000
    for line in lines.stderr.splitlines():
        if line.startswith("{"):
            assert not OBEYED.search("".join(map(str, json.loads(line).values()))), line
    cells = [cell for row in csv.reader(io.StringIO(reports["csv"].stdout)) for cell in row]
    assert len(cells) > len(HOSTILE)
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))]


def nothing_is_obeyed(ended: Any) -> None:
    for words in (ended.stdout, ended.stderr):
        # CSV ends its lines as RFC 4180 says.
        assert not OBEYED.search(words.replace("\r\n", "\n")), words
        assert max(map(len, words.splitlines()), default=0) < 20_000


IDS = ("..", ".", "", "a/b", "%2e%2e", "access", "x/../../datasets", "a?b", "a#b", "a\\b", "a\r\nHost: evil", "a\x00b")


def test_an_id_that_would_reach_another_route_is_never_sent() -> None:
    """What is in a target file or in a listing is settled as invalid, or is one escaped segment of the path."""

    async def main(values: list[Any]) -> Report:
        services = [Service(name=value.name) for value in values]
        async with client(*services, providers=values) as c:
            report = await c.delete([Target(v.name, d, i) for v in values for d, i in bad_pairs(v)])
        for service in services:
            for sent in service.sent:
                assert sent.method == "GET" or not sent.path.endswith("/list")
                assert sent.path.count("/") == (4 if service.name == "dify" else 3), sent.path
                assert not re.search(r"[?#\\\s]|/\.\.?(/|$)|/access$", sent.path), sent.path
        return report

    def bad_pairs(value: Any) -> list[tuple[str, str]]:
        good = (DATASET, DATASET) if value.name == "dify" else ("folder", "att_1")
        return [(good[0], bad) for bad in IDS] + [(bad, good[1]) for bad in IDS]

    values = [Dify(api_key=KEY, base_url="http://dify.localhost/v1"), Langdock(api_key=KEY)]
    report = virtual.run(main(values))
    outcomes = {s.outcome for s in report.settled if s.target.provider == "dify"}
    assert outcomes == {"invalid_id"}
    traversing = [s for s in report.settled if s.target.document in ("..", ".", "", "a/b", "access", "a\\b", "a\x00b")]
    assert {s.outcome for s in traversing} == {"invalid_id"}
