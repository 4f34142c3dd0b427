"""The command against a simulated service: each exit status, with what was printed and what the service still holds."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator
from tests.cli.service import (
    COMMAND,
    Beside,
    Ended,
    clean,
    finish,
    line,
    no_echo,
    plain,
    until,
    with_dify,
    with_langdock,
)

FAST = ("--backoff", "10ms")


def account(ended: Ended) -> dict[str, object]:
    """The JSON object, checked to be alone on stdout and to add up (S21)."""
    assert ended.stdout.count("\n") == 1
    shown: dict[str, object] = json.loads(ended.stdout)
    assert shown["exit_status"] == ended.status
    for part in [shown, *shown["datasets"]]:  # type: ignore[misc]
        assert part["listed"] == part["selected"] + part["skipped"]
        endings = part["deleted"] + part["already_gone"] + part["rejected"] + part["not_attempted"]
        assert part["selected"] == endings
    assert "Traceback" not in ended.stderr
    return shown


def test_a_dataset_with_every_common_trouble_is_emptied() -> None:
    """$ bulkdel purge dify ID -y --json --unarchive: exit 0 and the service holds nothing."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        shown = account(await beside.run("purge", "dify", *simulator.dataset_ids, "-y", "--json", "--unarchive", *FAST))
        assert shown["status"] == "complete"
        assert (shown["listed"], shown["deleted"], shown["remaining"]) == (130, 130, 0)
        assert simulator.remaining == 0
        assert simulator.danger == 0
        assert simulator.orphans == 0

    faults = Faults(error_500=0.05, lost=0.05, archived=2, indexing=2, indexing_for=0.2, lock_for=0.05)
    with_dify(work, documents=130, faults=faults)


def test_langdock_is_emptied_as_text() -> None:
    """$ bulkdel purge langdock ID -y: the summary for people, on stdout."""

    async def work(simulator: LangdockSimulator, beside: Beside) -> None:
        ended = await beside.run("purge", "langdock", *simulator.dataset_ids, "-y", "--rate", "none")
        assert ended.status == 0
        assert ended.stdout.startswith("Complete: 60 deleted of 60\n")
        assert ended.stdout.count("listed again: empty") == 2
        assert simulator.remaining == 0

    with_langdock(work, documents=30, datasets=2)


def test_archived_documents_are_exit_1_and_named(tmp_path: Path) -> None:
    """$ bulkdel purge dify ID -y --settled FILE: exit 1, and the service holds just what the lines name."""

    file = tmp_path / "settled.jsonl"

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,) = simulator.dataset_ids
        ended = await beside.run("purge", "dify", dataset, "-y", "--json", "--settled", str(file))
        shown = account(ended)
        assert (ended.status, shown["status"], shown["rejected"], shown["remaining"]) == (1, "incomplete", 3, 3)
        assert shown["reasons"] == {"archived": 3}
        held.update(document.id for document in simulator.documents(dataset))

    held: set[str] = set()
    with_dify(work, documents=40, faults=Faults(archived=3, nasty_names=True))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 40
    assert held == {line["document"] for line in lines if line["status"] == "rejected"}


def test_a_dataset_that_is_not_there_is_named_others_go_on() -> None:
    """$ bulkdel purge dify MISSING ID -y --json: exit 1."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,) = simulator.dataset_ids
        missing = "00000000-0000-4000-8000-00000000dead"
        shown = account(await beside.run("purge", "dify", missing, dataset, "-y", "--json"))
        assert shown["exit_status"] == 1
        assert [(d["dataset"], d["status"]) for d in shown["datasets"]] == [(missing, "stopped"), (dataset, "complete")]  # type: ignore[attr-defined]
        assert simulator.remaining == 0

    with_dify(work, documents=10)


@pytest.mark.parametrize("guard", [("--max-delete", "29"), ("--expect", "29"), ("--expect", "31")])
def test_a_guard_is_exit_3(guard: tuple[str, str]) -> None:
    """$ bulkdel purge dify ID -y --max-delete N: exit 3, the service holds everything and was asked only with GET."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        shown = account(await beside.run("purge", "dify", *simulator.dataset_ids, "-y", "--json", *guard))
        assert (shown["exit_status"], shown["status"], shown["deleted"]) == (3, "refused", 0)
        assert simulator.remaining == 30
        assert {logged.method for logged in simulator.requests} == {"GET"}

    with_dify(work, documents=30)


def test_nobody_to_confirm_is_exit_3_and_sends_nothing() -> None:
    """$ bulkdel purge dify ID </dev/null: exit 3 before the first request."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        shown = account(await beside.run("purge", "dify", *simulator.dataset_ids, "--json"))
        assert (shown["exit_status"], shown["status"]) == (3, "refused")
        assert simulator.requests == []
        assert simulator.remaining == 5

    with_dify(work, documents=5)


def test_a_dry_run_sends_only_get() -> None:
    """$ bulkdel purge dify ID --dry-run --name GLOB: exit 0, nothing is gone (S17)."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        ended = await beside.run("purge", "dify", *simulator.dataset_ids, "--dry-run", "--name", "*.md")
        assert ended.status == 0
        assert re.match(r"Dry run, nothing was deleted: \d+ of 120 documents selected: \d+ to delete\n", ended.stdout)
        assert {logged.method for logged in simulator.requests} == {"GET"}
        assert simulator.remaining == 120

    with_dify(work, documents=120)


def test_a_refused_key_is_exit_4_with_the_command_that_goes_on() -> None:
    """$ bulkdel purge dify ID -y: revoked on the way; the rest is not attempted, and the service still holds it."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,) = simulator.dataset_ids
        ended = await beside.run("purge", "dify", dataset, "-y", "--json")
        shown = account(ended)
        assert (shown["exit_status"], shown["status"]) == (4, "stopped")
        assert shown["deleted"] == len(simulator.deleted)
        assert shown["not_attempted"] == simulator.remaining > 0
        assert ended.last == f"bulkdel resume {shown['run']}"
        assert simulator.key not in ended.stderr + ended.stdout

    with_dify(work, documents=60, faults=Faults(revoke_after=20))


def test_a_deadline_is_exit_5() -> None:
    """$ bulkdel purge dify ID -y --deadline 500ms --rate 10/s: what is left is still there, exit 5."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        words = ("--deadline", "500ms", "--rate", "10/s")
        ended = await beside.run("purge", "dify", *simulator.dataset_ids, "-y", "--json", *words)
        shown = account(ended)
        assert (shown["exit_status"], shown["status"]) == (5, "deadline")
        assert shown["not_attempted"] == simulator.remaining > 0
        assert ended.last == f"bulkdel resume {shown['run']}"

    with_dify(work, documents=60)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_what_is_in_flight_end(number: signal.Signals, status: int) -> None:
    """$ bulkdel purge dify ID -y --settled -; ^C: exit 130 or 143, each line on stdout true, `resume` goes on."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,) = simulator.dataset_ids
        process = await beside.start("purge", "dify", dataset, "-y", "--rate", "50/s", "--settled", "-")
        assert process.stdout is not None
        first = [await process.stdout.readline() for _ in range(5)]
        process.send_signal(number)
        ended = await finish(process)
        lines = [json.loads(line) for line in [*first, *ended.stdout.splitlines()]]
        assert ended.status == status
        assert len(lines) == 200
        deleted = [line["document"] for line in lines if line["outcome"] == "deleted"]
        left = {line["document"] for line in lines if line["outcome"] == "not_attempted"}
        assert sorted(deleted) == sorted(simulator.deleted)
        assert {document.id for document in simulator.documents(dataset)} == left
        assert "stopping: " in ended.stderr
        assert ended.last.startswith("bulkdel resume /")
        again = account(await beside.run(*ended.last.split()[1:], "--json", "--rate", "none"))
        assert (again["deleted"], again["listed"], again["remaining"]) == (200, 200, 0)
        assert simulator.remaining == 0

    with_dify(work, documents=200)


def test_an_interruption_while_listing_is_an_interruption() -> None:
    """$ bulkdel purge dify ID -y --json; ^C before the listing is done: exit 130, nothing is gone."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        process = await beside.start("purge", "dify", *simulator.dataset_ids, "-y", "--json")
        await until(lambda: simulator.requests)
        process.send_signal(signal.SIGINT)
        shown = account(await finish(process))
        assert (shown["exit_status"], shown["status"]) == (130, "interrupted")
        assert simulator.remaining == 30

    with_dify(work, documents=30, faults=Faults(latency=0.3))


def test_a_second_signal_stops_at_once() -> None:
    """$ bulkdel purge dify ID -y --json; ^C ^C: exit 130 while an answer still takes a minute, and nothing unknown is a success."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        process = await beside.start("purge", "dify", *simulator.dataset_ids, "-y", "--json", "--concurrency", "2")
        assert process.stderr is not None
        shown = b""
        while b'"listed"' not in shown:
            shown = await line(process.stderr)
        simulator.set_faults(Faults(latency=60.0))
        before = len(simulator.requests)
        await until(lambda: len(simulator.requests) >= before + 2)
        process.send_signal(signal.SIGINT)
        while b"stopping: " not in shown:
            shown = await line(process.stderr)
        await no_echo()
        process.send_signal(signal.SIGINT)
        ended = await finish(process)
        last_json = account(ended)
        assert (ended.status, last_json["status"]) == (130, "interrupted")
        assert last_json["deleted"] == len(simulator.deleted)
        assert "is unknown" in str(last_json["reason"])

    with_dify(work, documents=2000)


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    """$ bulkdel purge dify ID -y --settled - | head -1: exit 141, and what is not reported is not deleted for long."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        reader, writer = os.pipe()
        argv = ("purge", "dify", *simulator.dataset_ids, "-y", "--settled", "-", "--rate", "50/s")
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *argv, stdin=PIPE, stdout=writer, stderr=PIPE, env=beside.environ
        )
        os.close(writer)
        await until(lambda: simulator.deleted)
        os.close(reader)
        ended = await finish(process)
        assert ended.status == 141
        assert "their reader went away" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert "Exception ignored" not in ended.stderr
        assert simulator.remaining > 0

    with_dify(work, documents=300)


def test_targets_on_stdin_are_settled() -> None:
    """$ bulkdel delete langdock -y --json < targets.jsonl: what is listed is gone, the rest is still there."""

    async def work(simulator: LangdockSimulator, beside: Beside) -> None:
        (dataset,) = simulator.dataset_ids
        ids = [document.id for document in simulator.documents(dataset)]
        lines = [json.dumps({"dataset": dataset, "document": document}) for document in [*ids[:10], ids[0]]]
        shown = account(
            await beside.run("delete", "langdock", "-y", "--json", "--rate", "none", stdin="\n".join(lines))
        )
        assert (shown["exit_status"], shown["selected"], shown["remaining"]) == (0, 11, None)
        # The repeated one is coalesced, or found gone where the first had settled already.
        assert shown["deleted"] + shown["already_gone"] == 11  # type: ignore[operator]
        assert sorted(simulator.deleted) == sorted(ids[:10])

    with_langdock(work, documents=25)


def test_a_bad_target_line_sends_nothing() -> None:
    """$ bulkdel delete dify -y < bad.csv: exit 2, the line is named, the service was not asked."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,) = simulator.dataset_ids
        ids = [document.id for document in simulator.documents(dataset)]
        bad = f"dataset,document\n{dataset},{ids[0]}\n{dataset}\n"
        ended = await beside.run("delete", "dify", "-y", stdin=bad)
        assert ended.status == 2
        assert ended.stderr.startswith("error: stdin, line 3: ")
        assert simulator.requests == []

    with_dify(work, documents=3)


def test_a_wrong_address_is_exit_4_and_says_so() -> None:
    """$ bulkdel purge dify ID -y --base-url http://HOST (no /v1): never "already gone", exit 4."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,) = simulator.dataset_ids
        base = simulator.base_url.removesuffix("/v1")
        ended = await beside.run("purge", "dify", dataset, "-y", "--base-url", base)
        assert ended.status == 4
        assert "hint: check the base URL" in ended.stderr
        assert simulator.remaining == 3

    with_dify(work, documents=3)


def test_the_datasets_that_the_key_sees() -> None:
    """$ bulkdel datasets dify --json"""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        ended = await beside.run("datasets", "dify", "--json")
        assert ended.status == 0
        assert {row["id"]: row["documents"] for row in json.loads(ended.stdout)} == dict.fromkeys(
            simulator.dataset_ids, 7
        )

    with_dify(work, documents=7, datasets=3)


def test_simulate_serves_until_a_signal_and_its_command_works() -> None:
    """$ bulkdel simulate langdock --documents 12; the command that it prints; ^C: exit 0."""

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "simulate", "langdock", "--documents", "12", stdin=PIPE, stdout=PIPE, stderr=PIPE, env=clean()
        )
        assert process.stdout is not None
        environ: dict[str, str] = clean() | {"NO_PROXY": "127.0.0.1"}
        command: list[str] = []
        while not command:
            words = (await line(process.stdout)).decode().split()
            if words[:1] == ["export"]:
                environ |= dict(word.split("=", 1) for word in words[1:])
            if words[:2] == ["bulkdel", "purge"]:
                command = words[1:]
        purge = await asyncio.create_subprocess_exec(
            *COMMAND, *command, "-y", "--rate", "none", "--json", stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environ
        )
        assert account(await finish(purge))["deleted"] == 12
        process.send_signal(signal.SIGTERM)
        ended = await finish(process)
        assert (ended.status, ended.stderr) == (0, "")

    asyncio.run(main())


def test_simulate_on_a_taken_port_says_so() -> None:
    """$ bulkdel simulate dify --port TAKEN: exit 2, one sentence."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        ended = await plain("simulate", "dify", "--port", str(simulator.port))
        assert ended.status == 2
        assert ended.stderr.startswith(f"error: cannot listen on port {simulator.port}: ")

    with_dify(work)


@pytest.mark.parametrize(
    ("typed", "status", "left"), [(b"Support articles\n", 0, 0), (b"no\n", 3, 8), (b"\x03", 130, 8)]
)
def test_at_a_terminal_the_name_is_typed(typed: bytes, status: int, left: int) -> None:
    """$ bulkdel purge dify ID at a terminal: the name deletes, anything else refuses, ^C interrupts and does not hang."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        beside.more = {"TERM": "xterm", "COLUMNS": "80"}
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "purge", "dify", *simulator.dataset_ids,
            stdin=theirs, stdout=PIPE, stderr=theirs, env=beside.environ, start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        arrived = asyncio.Event()

        def read() -> None:
            nonlocal shown
            try:
                shown += os.read(ours, 65536)
            except OSError:
                asyncio.get_running_loop().remove_reader(ours)
            arrived.set()

        asyncio.get_running_loop().add_reader(ours, read)
        try:
            while b"to delete for good (Support articles): " not in shown:
                await arrived.wait()
                arrived.clear()
            assert {logged.method for logged in simulator.requests} == {"GET"}
            os.write(ours, typed)
            out, _ = await process.communicate()
        finally:
            asyncio.get_running_loop().remove_reader(ours)
            os.close(ours)
        assert process.returncode == status
        assert simulator.remaining == left
        assert b"cannot be undone" in shown
        assert b"Traceback" not in shown + out
        assert b"Fatal" not in shown

    with_dify(work, documents=8)


def test_the_demo_empties_both() -> None:
    """$ bulkdel demo: exit 0 in a quiet quarter of a minute, an account, and both services say that they are empty."""
    ended = asyncio.run(plain("demo"))
    assert ended.status == 0
    assert "All 400 documents are gone" in ended.stdout
    introduction = ended.stderr.splitlines()[:5]
    assert introduction[0].startswith("Two knowledge services are simulated")
    assert max(map(len, introduction)) <= 80
    assert [line for line in ended.stderr.splitlines()[5:] if "langdock: " not in line and "dify: " not in line] == []
    assert "Traceback" not in ended.stderr
