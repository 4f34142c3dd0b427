"""--metrics-file: Prometheus text that a strict reader takes, whole at every moment, with nothing of a document in it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import tempfile
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bulkdel import events
from bulkdel.cli.metrics import Metrics
from bulkdel.engine.progress import Progress
from bulkdel.model import Settled, Target
from bulkdel.render.wording import CAUSES
from bulkdel.store import Run
from tests.cli.inside import command, last, purge
from tests.cli.outside import DATASET, PROGRESS, FakeClient, invoke
from tests.engine.world import Service


def samples(text: str) -> dict[str, float]:
    """Each series of a file as Prometheus's own parser reads it, the provider as its first label; none comes twice."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("counter", "gauge")
        for sample in family.samples:
            labels = sorted(sample.labels.items(), key=lambda label: label[0] != "provider")
            words = ",".join(f'{name}="{value}"' for name, value in labels)
            series = f"{sample.name}{{{words}}}" if words else sample.name
            assert series not in found
            found[series] = sample.value
    return found


def settled(outcome: Any, provider: str = "dify") -> events.Settled:
    return events.Settled(Settled(Target(provider, "a", "b"), outcome, "", 1, "secret name", 0.0))


async def shown(metrics: Metrics, look: Progress) -> None:
    """A run that ends with this look at its provider."""
    async with metrics.written(lambda: [look], no_warning):
        pass


def no_warning(message: str) -> None:
    raise AssertionError(message)


def test_every_event_ends_in_its_own_number(tmp_path: Path) -> None:
    """Every outcome is there from the beginning (a series that began with its first event would hide it), then counted."""
    now = [100.0]
    file = tmp_path / "bulkdel.prom"
    metrics = Metrics(file, clock=lambda: now[0])
    metrics.begin(["dify"])
    found = samples(file.read_text())
    assert found['bulkdel_documents_total{provider="dify",outcome="gave_up"}'] == 0
    assert found["bulkdel_run_start_time_seconds"] == 100
    assert "bulkdel_run_exit_status" not in found
    metrics.on_event(settled("deleted"))
    metrics.on_event(settled("archived"))
    metrics.on_event(settled("deleted"))
    metrics.on_event(events.Requeued(Target("dify", "a", "b"), "server_error", "500", 1.0))
    metrics.on_event(events.Paused("dify", "slow down", 12.5))
    asyncio.run(shown(metrics, changed(PROGRESS, waited_s={"rate": 2.0, "client": 0.5}, requests=12)))
    now[0] = 160.0
    metrics.finish(1, no_warning)
    found = samples(file.read_text())
    assert {series: number for series, number in found.items() if number} == {
        'bulkdel_documents_total{provider="dify",outcome="deleted"}': 2,
        'bulkdel_documents_total{provider="dify",outcome="archived"}': 1,
        'bulkdel_requeued_total{provider="dify",cause="server_error"}': 1,
        'bulkdel_waited_seconds_total{provider="dify",cause="rate"}': 2,
        'bulkdel_waited_seconds_total{provider="dify",cause="us"}': 0.5,
        'bulkdel_pauses_total{provider="dify"}': 1,
        'bulkdel_pause_seconds_total{provider="dify"}': 12.5,
        'bulkdel_requests_total{provider="dify"}': 12,
        'bulkdel_selected_documents{provider="dify"}': 1230,
        'bulkdel_left_documents{provider="dify"}': 1109,
        'bulkdel_in_flight_requests{provider="dify"}': 4,
        "bulkdel_run_start_time_seconds": 100,
        "bulkdel_run_seconds": 60,
        "bulkdel_run_end_time_seconds": 160,
        "bulkdel_run_exit_status": 1,
    }


def test_every_cause_of_the_account_is_a_series(tmp_path: Path) -> None:
    """From the beginning, a lock of the service's among them; the account's ``client`` has its older word, once."""
    file = tmp_path / "bulkdel.prom"
    Metrics(file).begin(["dify"])
    series = [s.split('"')[3] for s in samples(file.read_text()) if s.startswith("bulkdel_waited_seconds_total")]
    assert sorted(series) == sorted("us" if cause == "client" else cause for cause in CAUSES)


@given(st.text())
def test_any_name_is_one_label(name: str) -> None:
    """Whatever a provider is called, the file stays well-formed, and the name comes back; half a character becomes a mark."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bulkdel.prom")
        Metrics(file).begin([name])
        (family,) = [
            f for f in text_string_to_metric_families(file.read_bytes().decode()) if f.name == "bulkdel_requests"
        ]
    assert family.samples[0].labels == {"provider": name.encode("utf-8", "replace").decode("utf-8")}


def test_a_run_leaves_its_numbers(tmp_path: Path) -> None:
    """$ bulkdel purge … --metrics-file FILE: outcomes, requests, waits as in the account, and exit status; no document."""
    service = Service()
    ids = service.fill(4)
    service.fill(1, archived=True)
    service.script(ids[0], ["500"])
    file = tmp_path / "bulkdel.prom"
    seen = purge(service, "--metrics-file", str(file), "--backoff", "10ms", "--json")
    assert seen.status == 1
    text = file.read_text()
    found = samples(text)
    assert found['bulkdel_documents_total{provider="dify",outcome="deleted"}'] == 4
    assert found['bulkdel_documents_total{provider="dify",outcome="archived"}'] == 1
    assert found['bulkdel_requests_total{provider="dify"}'] == len(service.sent)
    assert found['bulkdel_left_documents{provider="dify"}'] == 0
    assert found["bulkdel_run_exit_status"] == 1
    waited = {series.split('"')[3]: number for series, number in found.items() if series.startswith("bulkdel_waited")}
    account = json.loads(seen.stdout)["waited_s"]
    assert account.pop("client") == account["us"]  # the label's word is the older one
    assert {cause: number for cause, number in waited.items() if number} == account
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert not any(word in text for word in (*ids, "doc-0", DATASET))
    assert [path.name for path in tmp_path.glob("*prom*")] == ["bulkdel.prom"]


def test_a_refused_run_says_so_too(tmp_path: Path) -> None:
    """Without a yes nothing runs, and the file says the exit status to the collector."""
    file = tmp_path / "bulkdel.prom"
    assert invoke("purge", "dify", DATASET, "--metrics-file", str(file)).status == 3
    assert samples(file.read_text())["bulkdel_run_exit_status"] == 3


@pytest.mark.parametrize("kept", [("--no-run",), ()])
def test_what_a_guard_refused_is_counted_as_not_attempted(tmp_path: Path, kept: tuple[str, ...]) -> None:
    """The file and the account agree, though not one of the documents was ever offered."""
    service = Service()
    service.fill(4)
    file = tmp_path / "bulkdel.prom"
    seen = purge(service, "--max-delete", "3", "--metrics-file", str(file), "--json", *kept)
    assert (seen.status, json.loads(seen.stdout)["not_attempted"]) == (3, 4)
    assert samples(file.read_text())['bulkdel_documents_total{provider="dify",outcome="not_attempted"}'] == 4


def test_a_resumed_run_counts_its_own_part(tmp_path: Path) -> None:
    """Counters are the process's: what the session before deleted is not counted twice."""
    service = Service()
    ids = service.fill(6)
    service.script(ids[2], ["401"])
    first, second = tmp_path / "first.prom", tmp_path / "second.prom"
    stopped = purge(service, "--metrics-file", str(first), "--concurrency", "1")
    assert stopped.status == 4
    sent = len(service.sent)
    assert command(service, *last(stopped), "--metrics-file", str(second)).status == 0
    done = 'bulkdel_documents_total{provider="dify",outcome="deleted"}'
    assert samples(first.read_text())[done] + samples(second.read_text())[done] == 6
    requests = 'bulkdel_requests_total{provider="dify"}'
    assert (samples(first.read_text())[requests], samples(second.read_text())[requests]) == (
        sent,
        len(service.sent) - sent,
    )


def test_what_earlier_sessions_cost_is_left_out(tmp_path: Path) -> None:
    """Seconds by cause and requests of the sessions before, as the run file has them, are in no number of this one."""
    service = Service()
    service.fill(6)
    run, file = tmp_path / "a.run", tmp_path / "a.prom"
    assert purge(service, "--run", str(run)).status == 0
    with Run.open(run) as there:
        before = there.account().providers["dify"]
    now = changed(
        PROGRESS, waited_s={cause: n + 1.0 for cause, n in before.waited_s.items()}, requests=before.requests + 3
    )
    metrics = Metrics(file)
    metrics.begin(["dify"], resumes=run)
    asyncio.run(shown(metrics, now))
    metrics.finish(0, no_warning)
    found = samples(file.read_text())
    waited = [n for series, n in found.items() if series.startswith("bulkdel_waited") and n]
    assert waited == [1.0] * len(before.waited_s)
    assert found['bulkdel_requests_total{provider="dify"}'] == 3


@pytest.mark.parametrize("wrong", [(), ("--attempts", "none"), ("--settled", "-", "--json"), ("--atempts", "3")])
def test_a_wrong_command_replaces_the_success_of_yesterday(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    """A key that is missing, an option that is wrong: exit 2 stands in the file, and when it was."""
    file = tmp_path / "bulkdel.prom"
    file.write_text("bulkdel_run_exit_status 0\n")
    argv = ("purge", "dify", DATASET, *wrong, "--metrics-file", str(file))
    assert invoke(*argv, environ={} if not wrong else None).status == 2
    found = samples(file.read_text())
    assert found["bulkdel_run_exit_status"] == 2
    assert 0 < found["bulkdel_run_start_time_seconds"] <= found["bulkdel_run_end_time_seconds"]


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (("purge", "dify", DATASET, "--metrics-file=FILE", "--nonsense"), 2),
        (("job", "--nonsense", "--metrics-file", "FILE", "a.toml"), 2),
        (("report", "a.run", "--metrics-file", "FILE"), None),
        (("purge", "dify", "--", DATASET, "--metrics-file", "FILE"), None),
        (("purge", "dify", "--nonsense", "--metrics-file"), None),
        (("purge", "dify", "--nonsense", "--metrics-file", "--json", "FILE"), None),
    ],
)
def test_an_option_that_is_unknown_is_counted_too(tmp_path: Path, argv: tuple[str, ...], status: int | None) -> None:
    """The command line is not understood, but what it says of the file is; what is no such option is not obeyed."""
    file = tmp_path / "bulkdel.prom"
    assert invoke(*(word.replace("FILE", str(file)) for word in argv)).status == 2
    assert file.exists() == (status is not None)
    assert status is None or samples(file.read_text())["bulkdel_run_exit_status"] == status


def test_a_bug_ends_in_the_file(tmp_path: Path) -> None:
    """What was not foreseen is exit 70 for the collector as well, behind the numbers that were counted until then."""

    async def breaks(client: FakeClient) -> None:
        raise KeyError("not foreseen")

    file = tmp_path / "bulkdel.prom"
    argv = ("purge", "dify", DATASET, "--yes", "--no-run", "--metrics-file", str(file))
    assert invoke(*argv, client=FakeClient(before=breaks)).status == 70
    found = samples(file.read_text())
    assert found["bulkdel_run_exit_status"] == 70
    assert found['bulkdel_documents_total{provider="dify",outcome="deleted"}'] == 0


@pytest.mark.parametrize("where", ["there/is/none.prom", "-", "."])
def test_a_file_that_cannot_be_written_is_refused_first(tmp_path: Path, where: str) -> None:
    """Exit 2 and nothing sent: the user does not learn after hours that the numbers went nowhere."""
    service = Service()
    service.fill(2)
    seen = purge(service, "--metrics-file", where if where == "-" else str(tmp_path / where))
    assert (seen.status, len(service.sent)) == (2, 0)
    assert "warning" not in seen.stderr


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """--metrics-file on what is no file: exit 2, nothing is sent, and it is there as before."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    service = Service()
    service.fill(1)
    assert purge(service, "--metrics-file", str(pipe)).status == 2
    assert (pipe.is_fifo(), service.sent) == (True, [])


def test_a_run_file_is_not_overwritten(tmp_path: Path) -> None:
    """The evidence of another run is no place for numbers."""
    service = Service()
    service.fill(1)
    run = tmp_path / "a.run"
    assert purge(service, "--run", str(run)).status == 0
    before = run.read_bytes()
    assert purge(service, "--metrics-file", str(run)).status == 2
    assert purge(service, "--metrics-file", str(run), environ={}).status == 2
    assert run.read_bytes() == before


def test_a_disk_that_fills_later_is_reported_once_and_stops_nothing(tmp_path: Path) -> None:
    """What is deleted is deleted: numbers that cannot be written are a warning, not a failure."""
    folder = tmp_path / "gone"
    folder.mkdir()
    metrics = Metrics(folder / "bulkdel.prom")
    metrics.begin(["dify"])
    (folder / "bulkdel.prom").unlink()
    folder.rmdir()
    warnings: list[str] = []
    metrics.finish(0, warnings.append)
    metrics.finish(0, warnings.append)
    assert len(warnings) == 1
    assert warnings[0].startswith("cannot write the metrics to ")


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """The file is replaced, not written over; a link to it stays a link, and nothing is left beside it."""
    file, link = tmp_path / "real" / "bulkdel.prom", tmp_path / "bulkdel.prom"
    file.parent.mkdir()
    file.write_text("old\n")
    link.symlink_to(file)
    with open(link) as reader:
        Metrics(link).begin(["dify"])
        assert reader.read() == "old\n"
    assert "bulkdel_requests_total" in file.read_text()
    assert link.is_symlink()
    assert [path.name for path in file.parent.iterdir()] == ["bulkdel.prom"]


def test_without_the_option_nothing_is_written(tmp_path: Path) -> None:
    """No file, no task, no error."""

    async def main() -> None:
        metrics = Metrics()
        metrics.begin(["dify"])
        async with metrics.written(FakeClient().progress, no_warning):
            metrics.on_event(settled("deleted"))
        metrics.finish(0, no_warning)

    asyncio.run(main())
