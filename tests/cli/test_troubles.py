"""What people really meet, from the command line: exit status, stdout, stderr and what the service holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator
from tests.cli.forked import fork
from tests.cli.service import Beside, with_dify, with_langdock
from tests.cli.test_end_to_end import account

FAST = ("--backoff", "10ms")
NOBODY = "00000000-0000-4000-8000-00000000dead"


def ids_of(simulator: DifySimulator) -> list[str]:
    (dataset,) = simulator.dataset_ids
    return [document.id for document in simulator.documents(dataset)]


# ------------------------------------------------------------------ files and keys as people have them


@pytest.mark.parametrize("form", ["semicolons", "tabs", "sep", "array", "pretty", "short rows"])
def test_a_file_of_any_program_is_read(form: str, tmp_path: Path) -> None:
    """$ bulkdel delete dify FILE -y: exit 0, just those documents are gone."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,), ids = simulator.dataset_ids, ids_of(simulator)[:3]
        objects = [{"dataset": dataset, "document": one} for one in ids]
        text = {
            "semicolons": "dataset;document\r\n" + "".join(f"{dataset};{one}\r\n" for one in ids),
            "tabs": "document\tname\tdataset\n" + "".join(f"{one}\ta, b\t{dataset}\n" for one in ids),
            "sep": "sep=;\r\ndataset;document\r\n" + "".join(f'"{dataset}";"{one}"\r\n' for one in ids),
            "array": json.dumps(objects),
            "pretty": json.dumps(objects, indent=2),
            "short rows": "dataset,document,name,size\n" + "".join(f"{dataset},{one}\n" for one in ids),
        }[form]
        file = tmp_path / "targets"
        file.write_text(text)
        ended = await beside.run("delete", "dify", str(file), "-y", "--json", *FAST)
        assert (ended.status, account(ended)["deleted"], simulator.remaining) == (0, 3, 2)
        assert sorted(simulator.deleted) == sorted(ids)

    with_dify(work, documents=5)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"dataset":"DS","document":"D1","document":"D2"}', "targets, line 2: a key is there twice: document\n"),
        ('{"dataset":"DS","document":"D1"', "targets, line 2, column 100: not JSON: "),
        ('{"dataset":"DS","document":"D1\\u200b"}', "targets, line 2: the document holds a character that cannot be seen: "),
    ],
)  # fmt: skip
def test_a_line_that_can_be_misread_is_refused(line: str, said: str, tmp_path: Path) -> None:
    """$ bulkdel delete dify FILE -y: exit 2 with file and line, nothing is sent."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,), (first, second) = simulator.dataset_ids, ids_of(simulator)[:2]
        good = json.dumps({"dataset": dataset, "document": first})
        bad = line.replace("DS", dataset).replace("D1", first).replace("D2", second)
        file = tmp_path / "targets"
        file.write_text(f"{good}\n{bad}\n")
        ended = await beside.run("delete", "dify", str(file), "-y")
        assert (ended.status, ended.stdout, simulator.requests) == (2, "", [])
        assert said in ended.stderr

    with_dify(work, documents=2)


def test_a_csv_report_can_be_deleted_from(tmp_path: Path) -> None:
    """$ bulkdel plan …; bulkdel report RUN --format csv -o FILE; bulkdel delete langdock FILE -y: the same documents."""

    async def work(simulator: LangdockSimulator, beside: Beside) -> None:
        run, file = tmp_path / "a.run", tmp_path / "a.csv"
        planned = await beside.run("plan", "langdock", *simulator.dataset_ids, "-o", str(run), "--rate", "none")
        assert planned.status == 0
        assert (await beside.run("report", str(run), "--format", "csv", "-o", str(file))).status == 0
        ended = await beside.run("delete", "langdock", str(file), "-y", "--json", "--rate", "none", *FAST)
        assert (ended.status, account(ended)["deleted"], simulator.remaining) == (0, 20, 0)

    with_langdock(work, documents=20, faults=Faults(nasty_names=True))


@pytest.mark.parametrize("content", ['DIFY_API_KEY="KEY"', "KEY;", "{KEY}", "“KEY”"])
def test_a_key_with_more_around_it_is_never_sent(content: str, tmp_path: Path) -> None:
    """$ bulkdel purge dify ID -y --api-key-file FILE: exit 2, what is wrong about it and not the key, nothing is sent."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        file = tmp_path / "key"
        file.write_text(content.replace("KEY", simulator.key), "utf-8")
        file.chmod(0o600)
        ended = await beside.run("purge", "dify", *simulator.dataset_ids, "-y", "--api-key-file", str(file))
        assert (ended.status, ended.stdout, simulator.requests) == (2, "", [])
        assert ended.stderr.startswith("error: the key ")
        assert str(file) in ended.stderr
        assert simulator.key not in ended.stderr

    with_dify(work, documents=2)


def test_quotes_around_a_key_in_its_file_do_no_harm(tmp_path: Path) -> None:
    """$ bulkdel purge dify ID -y --api-key-file FILE: exit 0."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        file = tmp_path / "key"
        file.write_text(f' "{simulator.key}" \n')
        file.chmod(0o600)
        beside.more = {"DIFY_API_KEY": ""}
        ended = await beside.run("purge", "dify", *simulator.dataset_ids, "-y", "--api-key-file", str(file), *FAST)
        assert (ended.status, simulator.remaining) == (0, 0)

    with_dify(work, documents=2)


# ------------------------------------------------------------------ addresses and gateways


@pytest.mark.parametrize("command", ["purge", "delete", "plan", "datasets"])
def test_an_empty_address_is_an_error(command: str) -> None:
    """$ DIFY_BASE_URL= bulkdel …: exit 2; the key does not go to the cloud."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        beside.more = {"DIFY_BASE_URL": ""}
        more = () if command in ("datasets", "delete") else simulator.dataset_ids
        ended = await beside.run(command, "dify", *more, stdin=f"dataset,document\n{NOBODY},{NOBODY}\n")
        assert (ended.status, ended.stdout, simulator.requests) == (2, "", [])
        assert ended.stderr.startswith("error: the address is empty: DIFY_BASE_URL\n")

    with_dify(work, documents=2)


def test_gateway_headers_go_with_each_request_and_in_no_file(tmp_path: Path) -> None:
    """$ bulkdel plan … --header-file FILE; bulkdel resume RUN: every request has them, the second from the same file; the values
    are in no run file, log, report or message."""
    secret, token = "0123456789abcdef.access", "gateway-token-987654"
    file, run, lines = tmp_path / "headers", tmp_path / "a.run", tmp_path / "settled.jsonl"
    file.write_text(f"# Cloudflare Access\nCF-Access-Client-Id: {secret}\nX-Gateway: Bearer {token}\n")
    file.chmod(0o600)

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        planned = await beside.run(
            "plan", "dify", *simulator.dataset_ids, "-v", "-o", str(run), "--header-file", str(file), *FAST
        )
        assert (planned.status, simulator.remaining) == (0, 30)
        ended = await beside.run("resume", str(run), "-y", "-v", "--settled", str(lines))
        assert (ended.status, simulator.remaining) == (0, 0)
        assert simulator.requests
        for request in simulator.requests:
            assert (request.headers["CF-Access-Client-Id"], request.headers["X-Gateway"]) == (secret, f"Bearer {token}")
        report = await beside.run("report", str(run))
        everything = "".join(part for one in (planned, ended, report) for part in (one.stdout, one.stderr))
        for written in (everything.encode(), run.read_bytes(), lines.read_bytes()):
            assert secret.encode() not in written
            assert token.encode() not in written

    with_dify(work, documents=30)


def test_a_wrong_line_of_a_header_file_is_refused_unseen(tmp_path: Path) -> None:
    """$ bulkdel purge … --header-file FILE: exit 2, file and line, and nothing of the line."""
    file = tmp_path / "headers"
    file.write_text("X-A: 1\ngateway-token-987654\n")
    file.chmod(0o600)

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        ended = await beside.run("purge", "dify", *simulator.dataset_ids, "-y", "--header-file", str(file))
        assert (ended.status, simulator.requests) == (2, [])
        assert ended.stderr.startswith(f"error: {file}, line 2: not a header\nhint: ")
        assert "gateway-token" not in ended.stderr

    with_dify(work, documents=2)


# ------------------------------------------------------------------ wrong ids


def targets(dataset: str, documents: list[str]) -> str:
    return "dataset,document\n" + "".join(f"{dataset},{document}\n" for document in documents)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (0, "none of the 3 documents was there when first asked for"),
        (2, "3 of 5 documents were not there when first asked for"),
    ],
)
def test_documents_that_were_not_there_are_said(there: int, said: str) -> None:
    """$ bulkdel delete dify -y: already gone, exit 0, and a warning; if none was there it asks for the dataset."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        (dataset,), ids = simulator.dataset_ids, ids_of(simulator)[:there]
        gone = [NOBODY.replace("dead", f"dea{n}") for n in range(3)]
        ended = await beside.run("delete", "dify", "-y", "--json", *FAST, stdin=targets(dataset, ids + gone))
        counts = account(ended)
        assert (ended.status, counts["deleted"], counts["already_gone"]) == (0, there, 3)
        assert f"warning: {said}\n" in ended.stderr
        assert ("hint: is the dataset's id right?" in ended.stderr) == (there == 0)

    with_dify(work, documents=4)


def test_a_job_that_also_purges_says_it_of_the_named(tmp_path: Path) -> None:
    """$ bulkdel job JOB -y, of a dataset to empty and documents of another that never were: these are warned about."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        purged, named = simulator.dataset_ids
        (tmp_path / "gone.csv").write_text(f"dataset,document\n{named},{NOBODY}\n")
        job = tmp_path / "job.toml"
        job.write_text(
            f'[[provider]]\nkind = "dify"\nbase_url = "{simulator.base_url}"\napi_key_env = "DIFY_API_KEY"\n'
            f'[[purge]]\nprovider = "dify"\ndatasets = ["{purged}"]\n[[delete]]\nprovider = "dify"\nfrom = "gone.csv"\n'
        )
        ended = await beside.run("job", str(job), "-y", "--json")
        assert (ended.status, account(ended)["already_gone"]) == (0, 1)
        assert (
            "warning: the document was not there when first asked for\nhint: is the dataset's id right?" in ended.stderr
        )

    with_dify(work, documents=2, datasets=2)


# ------------------------------------------------------------------ advice that helps


def test_a_dataset_that_is_gone_is_nothing_to_resume(tmp_path: Path) -> None:
    """$ bulkdel purge dify GONE -y: exit 1, and no command that would end the same for ever."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        run = tmp_path / "a.run"
        ended = await beside.run("purge", "dify", NOBODY, "-y", "--run", str(run), *FAST)
        assert ended.status == 1
        assert "bulkdel resume" not in ended.stderr
        assert "--unarchive" not in ended.stderr
        assert "hint: this lists the datasets that the key sees: bulkdel datasets dify" in ended.stderr

    with_dify(work, documents=4)


@pytest.mark.parametrize("documents", [1, 2])
@pytest.mark.parametrize("indexing", ["wait", "delete"])
def test_a_dataset_that_never_was_is_said_not_to_exist(documents: int, indexing: str) -> None:
    """$ bulkdel delete dify (langdock) -y with a wrong dataset: exit 1 after a few requests, and not that it went away."""

    async def work(simulator: DifySimulator | LangdockSimulator, beside: Beside) -> None:
        given = targets(NOBODY, [NOBODY.replace("dead", f"dea{n}") for n in range(documents)])
        ended = await beside.run(
            "delete", beside.name, "-y", "--rate", "none", "--concurrency", "1", "--indexing", indexing, stdin=given
        )
        assert ended.status == 1
        assert "  stopped: the dataset does not exist, or the key may not see it: " in ended.stdout
        assert "no longer exists" not in ended.stdout + ended.stderr
        assert "is unknown" not in ended.stdout
        assert len(simulator.requests) <= 3

    with_dify(work, documents=1)
    with_langdock(work, documents=1)


def test_a_dataset_that_vanishes_leaves_nothing_to_resume(tmp_path: Path) -> None:
    """$ bulkdel purge dify ID -y; the dataset is deleted meanwhile; resume --retry-rejected: no command that ends the same for ever,
    and no advice about archived documents."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        run = tmp_path / "a.run"
        ended = await beside.run("purge", "dify", *simulator.dataset_ids, "-y", "--run", str(run), *FAST)
        assert (
            "dataset stopped: their dataset does not exist, or no longer, or the key may not touch it" in ended.stdout
        )
        again = await beside.run("resume", str(run), "-y", "--retry-rejected", *FAST)
        for one in (ended, again):
            assert one.status == 1
            assert "bulkdel resume" not in one.stderr
            assert "hint: archived" not in one.stderr
            assert "un-archives" not in one.stdout
            assert "15 rejected of 20 (the dataset no longer exists: Dataset not found.)" in one.stdout
        assert len(simulator.deleted) == 5

    with_dify(work, documents=20, faults=Faults(vanish_after=5, archived=3))


def test_a_full_disk_under_the_settled_lines_is_exit_1(tmp_path: Path) -> None:
    """$ bulkdel delete … --settled FILE on a full disk: exit 1 with the reason, the account is whole, resume does the rest."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        lines = tmp_path / "settled.jsonl"
        argv = ("purge", "dify", *simulator.dataset_ids, "-y", "--json", "--no-run", "--settled", str(lines), *FAST)
        ended = await fork(argv, beside.environ, tmp_path, largest=8_000).end()
        counts = account(ended)
        assert (ended.status, counts["status"]) == (1, "incomplete"), ended.stderr
        assert counts["deleted"] == len(simulator.deleted)
        assert 0 < simulator.remaining < 400
        assert (
            "cannot write the settled lines: File too large\nhint: the account alone still has everything"
            in ended.stderr
        )
        assert ended.last == "bulkdel " + " ".join(argv)

    with_dify(work, documents=400, faults=Faults(latency=0.002))


# ------------------------------------------------------------------ a base that fills again


def test_what_came_back_is_found_by_verify(tmp_path: Path) -> None:
    """$ bulkdel purge …; documents come back and new ones come; bulkdel verify RUN: exit 1, named, and the report has it; once they
    are gone, exit 0. Nothing but GET is sent."""

    async def work(simulator: DifySimulator, beside: Beside) -> None:
        run = tmp_path / "a.run"
        (dataset,) = simulator.dataset_ids
        purged = await beside.run("purge", "dify", dataset, "-y", "--run", str(run), *FAST)
        assert (purged.status, simulator.remaining) == (0, 0)
        fine = await beside.run("verify", str(run), "--json")
        assert (fine.status, account(fine)["remaining"]) == (0, 0), fine.stderr
        since = len(simulator.requests)
        back = simulator.add_document(dataset, id=simulator.deleted[0], name="back.md")
        simulator.add_document(dataset, name="new.md")
        found = await beside.run("verify", str(run))
        assert found.status == 1, found.stdout + found.stderr
        assert f"{back} back.md" in found.stdout
        assert "new.md" in found.stdout
        assert "bulkdel resume" not in found.stderr
        assert {request.method for request in simulator.requests[since:]} == {"GET"}
        report = await beside.run("report", str(run))
        assert f"{back} back.md" in report.stdout

    with_dify(work, documents=8)
