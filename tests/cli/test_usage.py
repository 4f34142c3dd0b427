"""The command line itself: what each option becomes, and how each wrong one is named."""

from __future__ import annotations

import asyncio
import os
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from bulkdel.cli.main import bulkdel
from bulkdel.cli.options import CONNECTION, LIMITS, OUTPUT, POLICY, RUN, SELECTION, Options
from bulkdel.engine.progress import Progress
from bulkdel.errors import BrokenPromise, ConfigurationError, Refused
from bulkdel.listing import DatasetListing
from bulkdel.model import Dataset, Limits, Policy, PurgeRequest, Rate, Selection, Target
from tests.cli.outside import DATASET, ENVIRON, KEY, OTHER, PROGRESS, Closed, FakeClient, invoke
from tests.cli.service import STUCK_S

COMMANDS = ["purge", "delete", "datasets", "simulate", "demo"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help is readable at 100 columns and ends in a worked example of the command itself."""
    assert invoke(command, "--help").status == 0
    shown = capsys.readouterr().out
    assert f"bulkdel {command}" in shown.partition("Example")[2]
    assert max(map(len, shown.splitlines())) <= 100


def test_the_commands_are_listed_in_the_order_of_their_use(capsys: pytest.CaptureFixture[str]) -> None:
    """What a newcomer reads first is the main job."""
    assert invoke("--help").status == 0
    shown = capsys.readouterr().out
    assert [
        line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line.split()[0] in COMMANDS
    ] == COMMANDS


def test_the_options_are_those_of_the_design() -> None:
    """Every option that scripts rely on is there; purge alone selects."""
    both = {
        "--yes", "-y", "--dry-run", "--rate", "--concurrency", "--indexing", "--indexing-timeout", "--unarchive", "--max-delete", "--expect",
        "--attempts", "--timeout", "--deadline", "--backoff", "--json", "--settled", "-q", "-v", "--log-json", "--api-key-file", "--base-url",
        "--ca-file", "--max-pause",
    }  # fmt: skip
    selecting = {"--name", "--created-before", "--status"}
    known = {
        name: {word for param in bulkdel.commands[name].params for word in param.opts} for name in ("purge", "delete")
    }
    assert both | selecting <= known["purge"]
    assert both <= known["delete"]
    assert not selecting & known["delete"]


def test_without_options_the_defaults_are_the_engines() -> None:
    """Nothing given is nothing changed: the policy, the selection and the provider's own limits."""
    client = FakeClient()
    assert invoke("purge", "dify", DATASET, OTHER, DATASET, "-y", client=client).status == 0
    opened, purged = client.calls
    (provider,) = opened[1]
    assert (provider.kind, provider.base_url, provider.limits) == ("dify", "http://127.0.0.1:9/v1", Limits(None, 4))
    assert purged[1] == (PurgeRequest("dify", DATASET), PurgeRequest("dify", OTHER))
    assert (purged[2]["policy"], purged[2]["act"]) == (Policy(), "purge")
    assert purged[2]["keep"] is False


def test_every_option_reaches_its_place() -> None:
    """Each option of the table becomes the field of policy, selection or limits that it names."""
    client = FakeClient()
    # Where keys and headers come from is tried in test_keys.py; what a run writes and says, in tests of their own.
    elsewhere = {"--api-key-file", "--header-file"}
    groups = {*SELECTION, *LIMITS, *POLICY, *CONNECTION}
    words = (
        "--rate 45/min --concurrency 8 --indexing skip --indexing-timeout 20m --unarchive --name tmp-* --name *.old "
        "--created-before 2026-01-31 --created-before 2025-06-01 --status error --status paused --max-delete 10 --expect 3 "
        "--missing fail --accept-incomplete --attempts 9 --timeout 5s --deadline 2h --backoff 100s --max-pause 10m --ca-file ca.pem --base-url http://localhost:8/v1"
    )
    offered = {field.metadata["names"][-1] for field in fields(Options) if field.name in groups}
    assert {word for word in words.split() if word.startswith("--")} == offered - elsewhere
    assert groups | {*RUN, *OUTPUT, "retry_rejected", "broker"} == {field.name for field in fields(Options)}
    assert invoke("purge", "dify", DATASET, "-y", *words.split(), client=client).status == 0
    opened, purged = client.calls
    (provider,) = opened[1]
    assert provider.limits == Limits(Rate(45, per=60), 8)
    assert provider.base_url == "http://localhost:8/v1"
    assert opened[2] == {"ca_file": Path("ca.pem"), "state": Path(os.environ["XDG_STATE_HOME"], "bulkdel")}
    (wish,) = purged[1]
    assert wish.select == Selection(
        names=("tmp-*", "*.old"),
        created_before=datetime(2025, 6, 1, tzinfo=UTC).timestamp(),
        statuses=("error", "paused"),
    )
    assert purged[2]["policy"] == Policy(
        missing="fail", accept_incomplete=True, attempts=9, timeout=5.0, backoff=100.0, backoff_cap=100.0, indexing="skip", indexing_backoff=100.0, indexing_backoff_cap=100.0,
        indexing_timeout=1200.0, unarchive=True, max_pause=600.0, deadline=7200.0, max_delete=10, expect=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "limits", "most", "unsaid"),
    [
        ((), Limits(Rate(8, per=60), 4), 8, True), (("--rate", "none"), Limits(None, 4), 8, False),
        (("--concurrency", "2"), Limits(Rate(8, per=60), 2), 2, True),
        (("--concurrency", "auto"), Limits(Rate(8, per=60), 4), 8, True),
        (("--rate", "100/min"), Limits(Rate(100, per=60), 4), 8, False),
        (("--concurrency", "auto:16"), Limits(Rate(8, per=60), 4), 16, True),
        (("--concurrency", "auto:2"), Limits(Rate(8, per=60), 2), 2, True),
        (("--rate", "none", "--concurrency", "9"), Limits(None, 9), 9, False),
    ],
)  # fmt: skip
def test_what_is_not_given_stays_the_providers(words: tuple[str, ...], limits: Limits, most: int, unsaid: bool) -> None:
    """A rate alone leaves the concurrency, a concurrency alone Dify Cloud's rate and what is learned of it, none takes it away."""
    client = FakeClient()
    assert invoke("purge", "dify", DATASET, "-y", *words, client=client, environ={"DIFY_API_KEY": KEY}).status == 0
    given = client.calls[0][1][0]
    assert (given.limits, given.max_concurrency, given.rate_is_default) == (limits, most, unsaid)


@pytest.mark.parametrize(
    "name",
    [
        "DIFY_API_URL",
        "DIFY_API_BASE",
        "DIFY_URL",
        "DIFY_HOST",
        "DIFY_ENDPOINT",
        "DIFY_SERVER_URL",
        "DIFY_SERVICE_API_URL",
        "DIFY_API_URI",
        "DIFY_ADDRESS",
    ],
)
def test_an_address_under_another_name_is_warned_of(name: str) -> None:
    """The key would go to the service's own cloud: said with the name that counts, and not if that is set, or with -q."""
    environ = {"DIFY_API_KEY": KEY, "DIFY_VERSION": "1.16.1", name: "https://dify.example.com/v1"}
    seen = invoke("purge", "dify", DATASET, "--dry-run", environ=environ)
    assert seen.stderr.startswith(
        f"warning: {name} is set, and DIFY_BASE_URL is not\nhint: bulkdel reads DIFY_BASE_URL alone"
    )
    for quiet, given in ((True, {}), (False, {"DIFY_BASE_URL": "http://127.0.0.1:9/v1"})):
        argv = ("purge", "dify", DATASET, "--dry-run", *(["-q"] if quiet else []))
        assert "warning" not in invoke(*argv, environ=environ | given).stderr


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("--rate", "-5/min"), "invalid value for '--rate': must be a rate such as 45/min, 100/s, 600/h or none: '-5/min'"),
    (
        ("--concurrency", "0"),
        "invalid value for '--concurrency': must be a whole number from 1 to 1000, auto, or auto:N: '0'",
    ),
    (("--indexing", "maybe"), "'maybe' is not one of 'wait', 'delete', 'skip'"),
    (("--indexing-timeout", "15"), "invalid value for '--indexing-timeout': must be a duration such as"),
    (("--timeout", "0s"), "invalid value for '--timeout': must be longer than zero: '0s'"),
    (("--deadline", "soon"), "invalid value for '--deadline': must be a duration such as"),
    (("--backoff", "-1s"), "invalid value for '--backoff': must be a duration such as"),
    (("--max-pause", "1w"), "invalid value for '--max-pause': must be a duration such as"),
    (("--created-before", "lately"), "invalid value for '--created-before': must be a date (2026-01-31)"),
    (("--max-delete", "-1"), "invalid value for '--max-delete': -1 is not in the range x>=0"),
    (("--expect", "x"), "invalid value for '--expect': 'x' is not a valid integer"),
    (("--attempts", "0"), "invalid value for '--attempts': 0 is not in the range x>=1"),
    (("--frobnicate",), "no such option"),
    (("--base-url", "ftp://x"), "the base URL must begin with http:// or https://"),
    (("--base-url", "http://u:p@host/v1"), "the base URL holds credentials"),
    (("--api-key-file", "/nonexistent/key"), "cannot read the key file: /nonexistent/key: No such file or directory"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_a_wrong_option_is_one_sentence_and_exit_2(words: tuple[str, ...], message: str) -> None:
    """The option and the value are named, and nothing was opened."""
    client = FakeClient()
    seen = invoke("purge", "dify", DATASET, "-y", *words, client=client)
    assert (seen.status, seen.stdout, client.calls) == (2, "", [])
    assert seen.stderr.startswith("error: ")
    assert message in seen.stderr.splitlines()[0].replace("No such option", "no such option")
    assert not seen.stderr.splitlines()[0].endswith(".")
    assert "Traceback" not in seen.stderr


@pytest.mark.parametrize(
    ("argv", "environ", "message"),
    [
        (("purge", "dify"), ENVIRON, "missing argument 'DATASET...'"),
        (("purge",), ENVIRON, "missing argument 'PROVIDER'"),
        (("purge", "difi", DATASET, "-y"), ENVIRON, "unknown provider: difi"),
        (("purge", "dify", "nonsense", "-y"), ENVIRON, "cannot be a dataset of dify"),
        (("purge", "langdock", "a/b", "-y"), {"LANGDOCK_API_KEY": KEY}, "cannot be a dataset of langdock"),
        (("purge", "dify", DATASET, "-y"), {}, "no key for dify: DIFY_API_KEY is not set"),
        (("purge", "dify", DATASET, "-y"), {"DIFY_API_KEY": "two words"}, "the API key holds a space"),
        (("purge", "dify", DATASET, "-y"), {"DIFY_API_KEY": KEY, "DIFY_BASE_URL": "dify.example.com"}, "the base URL must begin with"),
        (("purge", "dify", DATASET, "-y"), ENVIRON | {"DIFY_BASE_URL": ""}, "the address is empty: DIFY_BASE_URL"),
        (("datasets", "dify"), ENVIRON | {"DIFY_BASE_URL": "  "}, "the address is empty: DIFY_BASE_URL"),
        (("purge", "dify", DATASET, "-y", "--base-url", ""), ENVIRON, "the address is empty: --base-url"),
        (("delete", "langdock", "-y", "--base-url", " "), {"LANGDOCK_API_KEY": KEY}, "the address is empty: --base-url"),
        (("purge", "dify", DATASET, "-y", "--header-file", "/nonexistent"), ENVIRON, "cannot read the header file: /nonexistent"),
        (("delete", "dify", "/nonexistent.csv", "-y"), ENVIRON, "cannot read the target file: /nonexistent.csv: No such file"),
        (("delete", "dify", "-y"), ENVIRON, "the target file is empty: stdin"),
        (("datasets", "nope"), ENVIRON, "unknown provider: nope"),
        (("simulate", "notion"), {}, "'notion' is not one of 'dify', 'langdock'"),
        (("simulate", "dify", "--rate", "0.5/s"), {}, "--rate must be a whole number of requests"),
        (("simulate", "dify", "--documents", "2", "--archived", "3"), {}, "more documents are to be special than there are"),
        (("frobnicate",), {}, "no such command"),
    ],
)  # fmt: skip
def test_a_wrong_command_is_one_sentence_and_exit_2(
    argv: tuple[str, ...], environ: dict[str, str], message: str
) -> None:
    """Each names what is wrong; the key is in none of them."""
    client = FakeClient()
    seen = invoke(*argv, client=client, environ=environ)
    assert (seen.status, seen.stdout, client.calls) == (2, "", [])
    assert message in seen.stderr.splitlines()[0].replace("No such", "no such").replace(
        ": no such file", ": No such file"
    )
    assert KEY not in seen.stderr
    assert "Traceback" not in seen.stderr


def test_delete_at_a_terminal_without_a_file_says_what_to_do() -> None:
    """It does not sit and wait for targets to be typed."""
    seen = invoke("delete", "dify", "-y", terminal=True)
    assert seen.status == 2
    assert "error: no targets: give a FILE, or pipe CSV or JSONL into stdin" in seen.stderr


@pytest.mark.parametrize("file", [(), ("-",)])
def test_delete_reads_stdin(file: tuple[str, ...]) -> None:
    """No FILE and - are both stdin, and the targets are the call's, in order."""
    client = FakeClient()
    seen = invoke("delete", "dify", *file, "-y", client=client, stdin=b"dataset,document\nx,1\nx,2\n")
    assert seen.status == 0
    assert client.calls[1][1] == (Target("dify", "x", "1"), Target("dify", "x", "2"))
    assert client.calls[1][2]["act"] == "delete"


def test_delete_refuses_a_bad_line_before_anything_is_opened() -> None:
    """The line is named by its number."""
    client = FakeClient()
    seen = invoke("delete", "dify", "-y", client=client, stdin=b"dataset,document\nx,1\nx,\n")
    assert (seen.status, client.calls) == (2, [])
    assert seen.stderr.startswith("error: stdin, line 3: the document is empty\nhint: ")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ConfigurationError("it is wrong: 5", hint="make it right"), 2, "error: it is wrong: 5\nhint: make it right\n"),
        (Refused("the guard says no", hint="ask it"), 3, "error: refused: the guard says no\nhint: ask it\n"),
        (BrokenPromise("7 in, 6 out"), 70, "error: bulkdel broke a promise, which is a bug: 7 in, 6 out\nhint: please report it"),
        (KeyError("x"), 70, "error: bulkdel ran into a bug: KeyError: 'x'\nhint: please report it"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (click.UsageError("No good."), 2, "error: no good\n"),
    ],
)  # fmt: skip
def test_each_exception_is_a_sentence_and_an_exit_status(error: BaseException, status: int, words: str) -> None:
    """No traceback is shown, whatever is raised."""

    def fail() -> Any:
        raise error

    seen = invoke("purge", "dify", DATASET, "-y", client=FakeClient(ends=fail))
    assert seen.status == status
    assert words in seen.stderr
    assert "Traceback" not in seen.stderr


def test_under_v_a_traceback_shows_places_and_no_values() -> None:
    """A key in a variable of a frame is not shown, and one in the exception's own words is hidden."""

    def fail() -> Any:
        held = KEY
        raise RuntimeError(f"failed with {held}")

    seen = invoke("purge", "dify", DATASET, "-y", "-v", client=FakeClient(ends=fail))
    assert seen.status == 70
    assert "Traceback" in seen.stderr
    assert KEY not in seen.stderr
    assert "failed with (key)" in seen.stderr


LISTING = (
    Dataset(DATASET, "Manuals\x1b[2J", 120),
    Dataset("att", "[bold]x[/bold]", None, "external knowledge base"),
)


def test_datasets_are_a_table() -> None:
    """The id comes first because it is what is copied; unknown counts say so, and names are made safe."""
    client = FakeClient(listing=DatasetListing(LISTING))
    seen = invoke("datasets", "dify", client=client)
    assert seen.status == 0
    assert client.calls[0][2]["state"] is not None  # where the key's one limit is shared with runs that go now
    assert seen.stdout.splitlines() == [
        "id                                    documents  name",
        f"{DATASET}        120  Manuals",
        "att                                           ?  [bold]x[/bold]  (cannot be purged: external knowledge base)",
    ]


def test_datasets_are_a_json_list() -> None:
    """The same as data; null where the service does not say how many documents."""
    import json

    seen = invoke("datasets", "dify", "--json", client=FakeClient(listing=DatasetListing(LISTING)))
    assert json.loads(seen.stdout) == [
        {"id": DATASET, "name": "Manuals", "documents": 120},
        {"id": "att", "name": "[bold]x[/bold]", "documents": None, "refusal": "external knowledge base"},
    ]


@pytest.mark.parametrize(("status", "exit_status"), [("stopped", 4), ("incomplete", 1), ("complete", 1)])
def test_datasets_not_listed_to_the_end_are_no_success(status: Any, exit_status: int) -> None:
    """What came is shown, and the exit status says that it is not all."""
    listing = DatasetListing(LISTING, status, "the service is unwell", "try later")
    seen = invoke("datasets", "dify", client=FakeClient(listing=listing))
    assert seen.status == exit_status
    assert "the datasets could not be listed to the end; the 2 above came before: the service is unwell" in seen.stderr
    assert "hint: try later" in seen.stderr


def test_no_dataset_says_what_answered() -> None:
    """The address is named, and what makes the answer doubtful; JSON stays an empty list."""
    listing = DatasetListing((), hint="is this a Dify?")
    for options in ((), ("--json",)):
        seen = invoke("datasets", "dify", *options, client=FakeClient(listing=listing))
        assert seen.status == 0
        assert "no dataset is shared with this key: dify at http://127.0.0.1:9/v1" in seen.stderr
        assert "hint: is this a Dify?" in seen.stderr
        assert seen.stdout.strip() == "[]" * len(options)


def test_a_slow_list_of_datasets_is_not_silent() -> None:
    """A service that hangs is asked for minutes: meanwhile the screen says what is done and why it waits."""
    at_the_list = replace(PROGRESS, phase="preflight", total=0, wait="service", in_flight=1)

    class Slow(FakeClient):
        looks = 0
        shown = asyncio.Event()

        def progress(self) -> tuple[Progress, ...]:
            self.looks += 1
            if self.looks == 2:  # what was looked at first is on the screen
                self.shown.set()
            return (at_the_list,)

        async def datasets(self, provider: str) -> DatasetListing:
            await asyncio.wait_for(self.shown.wait(), STUCK_S)
            return DatasetListing(LISTING)

    seen = invoke("datasets", "dify", client=Slow(), terminal=True, environ=ENVIRON | {"TERM": "xterm"})
    assert seen.status == 0
    assert "checking key, address and datasets" in seen.stderr
    assert "waiting for 1 answer" in seen.stderr


def test_datasets_into_a_closed_pipe_are_no_failure() -> None:
    """The reader has seen what it wanted; the listing itself was whole."""
    seen = invoke("datasets", "dify", client=FakeClient(listing=DatasetListing(LISTING)), stdout=Closed())
    assert (seen.status, seen.stderr) == (0, "")
