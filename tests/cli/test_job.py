"""Job files: every wrong word is named with its path, and a right one is carried out, planned and resumed as one run."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from bulkdel import Limits, Policy, Rate, Selection
from bulkdel.cli.jobfile import ProviderTable, read
from bulkdel.errors import ConfigurationError
from bulkdel.store import Run
from tests.cli.inside import interrupt, last
from tests.cli.outside import Seen, invoke
from tests.engine.world import DATASET, Service, client, document_id

NOW = 1_800_000_000.0
OTHER = "22222222-2222-4222-8222-222222222222"
KEYS = {"EAST_KEY": "dataset-east-0123456789", "WEST_KEY": "dataset-west-0123456789"}

PROVIDERS = """
[policy]
backoff = "10ms"

[[provider]]
name = "east"
kind = "dify"
base_url = "http://east.localhost/v1"
api_key_env = "EAST_KEY"

[[provider]]
name = "west"
kind = "dify"
base_url = "http://west.localhost/v1"
api_key_env = "WEST_KEY"
"""
EMPTY_EAST = f"""
[[purge]]
provider = "east"
datasets = ["{DATASET}"]
"""
LIST_WEST = """
[[delete]]
provider = "west"
from = "targets.csv"
"""
LETTERS = "abcdefab-cdef-4abc-8def-abcdefabcdef"
IN_LETTERS = EMPTY_EAST.replace(DATASET, LETTERS)
LIST_EAST = LIST_WEST.replace("west", "east")
ONE = '[[provider]]\nkind = "dify"\n'
WORK = '[[purge]]\nprovider = "dify"\ndatasets = ["a"]\n'


# ------------------------------------------------------------------ reading


def test_every_key_becomes_its_value() -> None:
    """The example of the design, whole: policy, provider, selection and targets are what the words say."""
    job = read(
        """
[policy]
attempts = 9
backoff = "100s"
deadline = "2h"
expect = 3
indexing = "skip"
indexing_timeout = "20m"
max_delete = 10
max_pause = "10m"
timeout = "5s"
unarchive = true

[[provider]]
name = "prod"
kind = "dify"
base_url = "https://dify.example.com/v1"
api_key_env = "PROD_DIFY_KEY"
rate = "80/min"
concurrency = 8

[[provider]]
kind = "langdock"
api_key_file = "keys/langdock"
rate = "none"
concurrency = "auto"

[[purge]]
provider = "prod"
datasets = ["one", "two", "one"]
name = ["tmp-*", "*.old"]
created_before = [2026-01-31, "2025-06-01"]
status = "error"

[[delete]]
provider = "prod"
from = "targets.csv"

[[delete]]
from = "mixed.csv"
""",
        NOW,
    )
    assert job.policy.policy() == Policy(
        attempts=9, backoff=100, backoff_cap=100, indexing_backoff=100, indexing_backoff_cap=100, deadline=7200,
        expect=3, indexing="skip", indexing_timeout=1200, max_delete=10, max_pause=600, timeout=5, unarchive=True,
    )  # fmt: skip
    assert job.provider == [
        ProviderTable(
            name="prod", kind="dify", base_url="https://dify.example.com/v1", api_key_env="PROD_DIFY_KEY", rate="80/min",
            concurrency=8,
        ),
        ProviderTable(kind="langdock", api_key_file="keys/langdock", rate="none", concurrency="auto"),
    ]  # fmt: skip
    assert (job.provider[0].rate, job.provider[0].concurrency) == (Rate(80, per=60), 8)
    (purge,) = job.purge
    assert (purge.provider, purge.datasets) == ("prod", ["one", "two", "one"])
    assert purge.selection() == Selection(("tmp-*", "*.old"), 1_748_736_000.0, ("error",))
    assert [(one.provider, one.source) for one in job.delete] == [("prod", "targets.csv"), ("", "mixed.csv")]


def test_what_is_left_out_is_the_default() -> None:
    """The shortest job: the name is the kind, the policy the engine's, and an age counts back from now."""
    job = read(
        ONE + '[[purge]]\nprovider = "dify"\ndatasets = "a"\ncreated_before = "90d"\n[[delete]]\nfrom = "t"', NOW
    )
    assert (job.policy.policy(), job.provider) == (Policy(), [ProviderTable(kind="dify")])
    assert job.provider[0].called == "dify"
    assert job.purge[0].selection() == Selection(created_before=NOW - 90 * 86_400)
    assert [(one.provider, one.source) for one in job.delete] == [("dify", "t")]


@pytest.mark.parametrize(
    ("text", "shown", "hint"),
    [
        ("a = [1", "not TOML: unclosed array (at end of document)", ""),
        ("[policy]\nattempts = 6\nattempts = 7\n\n", "not TOML: cannot overwrite a value (at line 3, column 13)", ""),
        ("[policy]\ndeadline = 5m # short", "not TOML: expected newline or end of document after a statement (at line 2, column 13)", 'strings stand in quotes: deadline = "5m"'),
        ("[policy]\nindexing = wait", "not TOML: invalid value (at line 2, column 12)", 'strings stand in quotes: indexing = "wait"'),
        ("[[provider]]\nrate = 80/min\n", "not TOML: expected newline or end of document after a statement (at line 2, column 10)", 'strings stand in quotes: rate = "80/min"'),
        ("a = 1 2", "not TOML: expected newline or end of document after a statement (at line 1, column 7)", ""),
        ("", "provider: there is none", "begin one with [[provider]]"),
        (ONE, "there is nothing to do", "add a [[purge]] or a [[delete]]"),
        ("porvider = 1", "porvider: there is no such key; did you mean provider?", ""),
        ("zzz = 1", "zzz: there is no such key; there are: policy, provider, purge, delete", ""),
        ("policy = 1", "policy: must be a table, written [policy]", ""),
        ('[policy]\nindexing = "never"', "policy.indexing: must be 'wait', 'delete' or 'skip': 'never'", ""),
        ("[policy]\nattempts = 0", "policy.attempts: must be at least 1: 0", ""),
        ("[policy]\nattempts = true", "policy.attempts: must be a whole number: True", ""),
        ("[policy]\nexpect = -1", "policy.expect: must be at least 0: -1", ""),
        ("[policy]\nmax_delete = 1.5", "policy.max_delete: must be a whole number: 1.5", ""),
        ("[policy]\ntimeout = 5", "policy.timeout: must be a duration such as 500ms, 0.5s, 90s, 15m, 2h or 3d: '5'", ""),
        ("[policy]\nunarchive = 1", "policy.unarchive: must be true or false: 1", ""),
        ('[policy]\nindexing-timeout = "1s"', "policy.indexing-timeout: there is no such key; did you mean indexing_timeout?", ""),
        ("[provider]\nkind = 1", "provider: must be a list of tables, each begun with [[provider]]", ""),
        ("[[provider]]", "provider[0].kind: is missing", ""),
        ("[[provider]]\nkind = 1", "provider[0].kind: must be a string: 1", ""),
        ('[[provider]]\nkind = " "', "provider[0].kind: must not be empty", ""),
        (ONE + 'base_url = ""', "provider[0].base_url: must not be empty", ""),
        ('[policy]\nmissing = "maybe"', "policy.missing: must be 'ok' or 'fail': 'maybe'", ""),
        (ONE + 'rate = "fast"', "provider[0].rate: must be a rate such as 45/min, 100/s, 600/h or none: 'fast'", ""),
        (ONE + "concurrency = 0", "provider[0].concurrency: must be a whole number from 1 to 1000, auto, or auto:N: '0'", ""),
        (ONE + "concurrency = false", "provider[0].concurrency: must be a string: False", ""),
        (ONE + 'api_key_env = "A=B"', "provider[0].api_key_env: must be the name of a variable", ""),
        (ONE + 'api_key_env = "A"\napi_key_file = "b"', "provider[0].api_key_file: the key comes from api_key_env already", ""),
        (ONE + 'retries = "a"', "provider[0].retries: there is no such key; there are: name, kind", ""),
        (ONE + ONE, "provider[1].name: two providers have one name: 'dify'", ""),
        (ONE + "[[purge]]", "purge[0].provider: is missing", ""),
        (ONE + WORK.replace('"dify"', '"prod"'), "purge[0].provider: no [[provider]] has this name: 'prod'", "there are: dify"),
        (ONE + '[[purge]]\nprovider = "dify"', "purge[0].datasets: is missing", ""),
        (ONE + '[[purge]]\nprovider = "dify"\ndatasets = []', "purge[0].datasets: must not be empty", ""),
        (ONE + '[[purge]]\nprovider = "dify"\ndatasets = ["a", 5]', "purge[0].datasets[1]: must be a string: 5", ""),
        (ONE + '[[purge]]\nprovider = "dify"\ndatasets = ["a", ""]', "purge[0].datasets[1]: must not be empty", ""),
        (ONE + WORK + "name = []", "purge[0].name: must not be empty; leave it out to select all", ""),
        (ONE + WORK + "status = []", "purge[0].status: must not be empty; leave it out to select all", ""),
        (ONE + WORK + "created_before = []", "purge[0].created_before: must not be empty; leave it out", ""),
        (ONE + WORK + 'created_before = "soon"', "purge[0].created_before: must be a date", ""),
        (ONE + WORK + WORK + 'created_before = ["1d", "x"]', "purge[1].created_before[1]: must be a date", ""),
        (ONE + "[[delete]]", "delete[0].from: is missing", ""),
        (ONE + '[[delete]]\nfrom = "a"\nprovider = "b"', "delete[0].provider: no [[provider]] has this name: 'b'", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_path(text: str, shown: str, hint: str) -> None:
    """The first wrong thing is named with its key's path, or with its line if it is no TOML."""
    with pytest.raises(ConfigurationError) as raised:
        read(text, NOW)
    assert str(raised.value).startswith(shown)
    assert raised.value.hint.startswith(hint)
    assert not str(raised.value).endswith(".")


def test_unknown_keys_are_named_all_at_once() -> None:
    """Three mistaken keys are corrected at once: each is named with its path and what it may have been."""
    text = "porvider = 1\n[policy]\natempts = 6\nattempts = 0\n" + ONE + "zzz = 1\n[[delete]]\nfile = 'a'\n"
    with pytest.raises(ConfigurationError) as raised:
        read(text, NOW)
    assert str(raised.value) == (
        "policy.attempts: must be at least 1: 0; policy.atempts: there is no such key; did you mean attempts?;"
        " provider[0].zzz: there is no such key; there are: name, kind,"
        " base_url, api_key_env, api_key_file, header_file, rate, concurrency; delete[0].from: is missing;"
        " delete[0].file: there is no such key; there are: provider, from; porvider: there is no such key; did you mean provider?"
    )
    with pytest.raises(ConfigurationError, match=r"; and 2 more$"):
        read("\n".join(f"{key} = 1" for key in "abcdefghijkl"), NOW)


def test_a_key_in_the_file_is_refused_and_not_repeated() -> None:
    """api_key is the one slip that must not be echoed into a log."""
    with pytest.raises(ConfigurationError, match="api_key: a key does not belong") as raised:
        read(ONE + 'api_key = "dataset-never-show-this"', NOW)
    assert "never-show" not in str(raised.value) + raised.value.hint


# ------------------------------------------------------------------ carrying out


class Folder:
    """A job file in a folder, and the services in memory that it speaks of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.east = Service("east")
        self.west = Service("west")
        self.providers: list[Any] = []

    def write(self, *parts: str, targets: str = "") -> None:
        (self.path / "nightly.toml").write_text("".join(parts))
        if targets:
            (self.path / "targets.csv").write_text(targets)

    def command(self, *argv: str, environ: dict[str, str] | None = None) -> Seen:
        def make(*providers: Any, **_: Any) -> Any:
            self.providers = list(providers)
            return client(self.east, self.west, providers=providers)

        return invoke(*argv, client=make, environ=KEYS if environ is None else environ)

    def job(self, *argv: str, **how: Any) -> Seen:
        return self.command("job", str(self.path / "nightly.toml"), *argv, **how)

    @property
    def sent(self) -> int:
        return len(self.east.sent) + len(self.west.sent)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def csv(ids: list[str], dataset: str = OTHER) -> str:
    return "dataset,document\n" + "".join(f"{dataset},{one}\n" for one in ids)


def test_a_job_is_one_run_with_one_account(folder: Folder, state: Path) -> None:
    """Two providers, a purge and a list of targets beside the job file: all gone, one JSON object, one run file."""
    folder.east.fill(5)
    listed = folder.west.fill(4)[:3]
    folder.write(PROVIDERS, EMPTY_EAST, LIST_WEST, targets=csv(listed))
    seen = folder.job("-y", "--json")
    shown = json.loads(seen.stdout)
    assert (seen.status, shown["status"], shown["deleted"], shown["remaining"]) == (0, "complete", 8, 0)
    assert [(d["provider"], d["dataset"], d["deleted"]) for d in shown["datasets"]] == [
        ("east", DATASET, 5),
        ("west", OTHER, 3),
    ]
    assert (len(folder.east.held), len(folder.west.held)) == (0, 1)
    (run,) = state.glob("*-nightly-*.run")
    assert shown["run"] == str(run)
    text = folder.command("report", str(run)).stdout
    assert "east" in text
    assert "west" in text
    for file in state.iterdir():
        assert not any(key.encode() in file.read_bytes() for key in KEYS.values())


def test_each_provider_has_its_own_limits_and_key(folder: Folder) -> None:
    """rate and concurrency reach the provider that they are written at, and the key is that provider's."""
    folder.write(PROVIDERS + 'rate = "600/min"\nconcurrency = 2\n', EMPTY_EAST, LIST_WEST, targets=csv(["d"]))
    assert folder.job("--dry-run").status == 0
    east, west = folder.providers
    assert (east.name, east.limits) == ("east", Limits(None, 4))
    assert (west.name, west.limits) == ("west", Limits(Rate(600, per=60), 2))
    assert (KEYS["EAST_KEY"] in str(east.headers()), KEYS["WEST_KEY"] in str(west.headers())) == (True, True)


def test_a_dry_run_deletes_nothing_and_keeps_nothing(folder: Folder, state: Path) -> None:
    """$ bulkdel job JOB.toml --dry-run: GET only, what would go, no run file, exit 0 without a yes."""
    folder.east.fill(5)
    folder.west.fill(2)
    folder.write(PROVIDERS, EMPTY_EAST, LIST_WEST, targets=csv([document_id(0)]))
    seen = folder.job("--dry-run")
    assert (seen.status, len(folder.east.held), len(folder.west.held)) == (0, 5, 2)
    assert {sent.method for sent in folder.east.sent + folder.west.sent} <= {"GET"}
    assert seen.stdout.startswith("Dry run, nothing was deleted: 6 of 6 documents selected: 6 to delete\n")
    assert not list(state.glob("*.run"))


def test_without_a_yes_and_a_terminal_a_job_is_refused(folder: Folder) -> None:
    """As everywhere: exit 3, nothing sent."""
    folder.write(PROVIDERS, EMPTY_EAST)
    assert (folder.job().status, folder.sent) == (3, 0)


def test_a_guard_counts_the_whole_job(folder: Folder) -> None:
    """max_delete of [policy] is for everything together: one more is refused, nothing deleted, exit 3."""
    folder.east.fill(3)
    folder.west.fill(2)
    text = PROVIDERS.replace("[policy]", "[policy]\nmax_delete = 4")
    folder.write(text, EMPTY_EAST, LIST_WEST, targets=csv([document_id(0), document_id(1)]))
    assert (folder.job("-y").status, len(folder.east.held), len(folder.west.held)) == (3, 3, 2)


@pytest.mark.parametrize("work", [EMPTY_EAST, LIST_WEST, EMPTY_EAST + LIST_WEST])
def test_a_job_is_planned_and_carried_out(folder: Folder, work: str) -> None:
    """$ bulkdel job JOB.toml --plan -o RUN, then resume: the keys come from the variables that the job named."""
    folder.east.fill(5)
    ids = folder.west.fill(4)
    folder.write(PROVIDERS, work, targets=csv(ids))
    run = folder.path / "a plan.run"
    planned = folder.job("--plan", "-o", str(run))
    assert (planned.status, len(folder.east.held), len(folder.west.held)) == (0, 5, 4)
    assert last(planned) == ["resume", str(run)]
    (folder.path / "nightly.toml").unlink()
    assert folder.command("resume", str(run), "-y", environ={}).status == 2
    # The kind's own variables are another service's, and say nothing of this run.
    more = {"DIFY_API_KEY": "dataset-another-0123", "DIFY_BASE_URL": "http://elsewhere.localhost/v1"}
    done = folder.command("resume", str(run), "-y", environ=KEYS | more)
    assert done.status == 0, done.stderr
    assert not folder.east.held or work == LIST_WEST
    assert not folder.west.held or work == EMPTY_EAST


def test_an_interrupted_job_goes_on_by_its_last_line(folder: Folder) -> None:
    """SIGTERM: exit 143, and the command on the last line does the rest with each provider's own key, from a file too."""
    folder.east.fill(30)
    ids = folder.west.fill(30)
    (folder.path / "west.key").write_text(KEYS["WEST_KEY"])
    (folder.path / "west.key").chmod(0o600)
    text = PROVIDERS.replace('api_key_env = "WEST_KEY"', 'api_key_file = "west.key"')
    folder.write(text, EMPTY_EAST, LIST_WEST, targets=csv(ids))
    folder.west.when[10] = interrupt(signal.SIGTERM)
    environ = {"EAST_KEY": KEYS["EAST_KEY"]}
    seen = folder.job("-y", environ=environ)
    assert (seen.status, bool(folder.west.held)) == (143, True)
    done = folder.command(*last(seen), environ=environ)
    assert (done.status, len(folder.east.held), len(folder.west.held)) == (0, 0, 0)
    assert done.stdout.startswith("Complete: 60 deleted of 60\n")


def test_the_run_keeps_the_places_of_the_keys_and_no_key(folder: Folder) -> None:
    """A variable's name or an absolute path, by provider; the file holds neither key."""
    (folder.path / "west.key").write_text(KEYS["WEST_KEY"])
    text = PROVIDERS.replace('api_key_env = "WEST_KEY"', 'api_key_file = "west.key"')
    folder.write(text, EMPTY_EAST)
    run = folder.path / "plan.run"
    assert folder.job("--plan", "-o", str(run), "-q").status == 0
    with Run.open(run) as there:
        places = {"east": {"env": "EAST_KEY"}, "west": {"file": str(folder.path / "west.key")}}
        assert there.header.more == {"keys": places}


@pytest.mark.parametrize("option", ["--api-key-file=k", "--base-url=http://h/v1", "--rate=1/s", "--concurrency=2"])
def test_what_means_one_provider_is_refused_for_several(folder: Folder, option: str) -> None:
    """resume of a run with two providers: an option that would be given to both is refused with nothing sent."""
    folder.east.fill(2)
    folder.write(PROVIDERS, EMPTY_EAST, LIST_WEST, targets=csv(["d"]))
    run = folder.path / "plan.run"
    assert folder.job("--plan", "-o", str(run)).status == 0
    sent = folder.sent
    seen = folder.command("resume", str(run), "-y", option)
    assert (seen.status, folder.sent) == (2, sent)
    assert f"{option.partition('=')[0]} means one provider, and this run has 2: east, west" in seen.stderr


@pytest.mark.parametrize(
    ("work", "targets", "shown"),
    [
        (EMPTY_EAST + EMPTY_EAST, "", f"purge[1].datasets: names a dataset that purge[0].datasets names already: {DATASET}"),
        (IN_LETTERS + IN_LETTERS.replace(LETTERS, LETTERS.upper()), "",
         f"purge[1].datasets: names a dataset that purge[0].datasets names already: {LETTERS}"),
        (IN_LETTERS + LIST_EAST, csv([document_id(0)], LETTERS.upper()),
         f"delete[0].from: has targets in a dataset that a [[purge]] empties: {LETTERS}"),
        ('[[purge]]\nprovider = "east"\ndatasets = ["a/b"]', "", "purge[0].datasets: cannot be a dataset of dify"),
        (EMPTY_EAST + LIST_WEST.replace("west", "east"), csv(["d"], DATASET),
         f"delete[0].from: has targets in a dataset that a [[purge]] empties: {DATASET}"),
        (LIST_WEST, "", "delete[0].from: cannot read the target file"),
        (LIST_WEST, "dataset,document\na,b\nc\n", "delete[0].from: targets.csv, line 3: no "),
        (LIST_WEST, "dataset,document,provider\na,b,east\n", "delete[0].from: targets.csv, line 2: for another provider"),
        ('[[delete]]\nfrom = "targets.csv"', csv(["d"]), "delete[0].from: targets.csv, line 2: the provider is missing"),
        ('[[delete]]\nfrom = "targets.csv"', "dataset,document,provider\na,b,north\n",
         "delete[0].from: targets.csv, line 2: for a provider that the job does not have: north"),
    ],
)  # fmt: skip
def test_work_without_sense_is_refused_before_it_is_sent(folder: Folder, work: str, targets: str, shown: str) -> None:
    """Exit 2, the job file and the key's path first, nothing sent."""
    folder.write(PROVIDERS, work, targets=targets)
    seen = folder.job("-y")
    assert (seen.status, folder.sent) == (2, 0)
    assert seen.stderr.startswith(f"error: {folder.path}/nightly.toml: {shown}")


@pytest.mark.parametrize(
    ("work", "targets", "hint"),
    [
        (LIST_WEST, "dataset,document,provider\na,b,dify\n",
         "leave the provider out of the file, or write west there, if the targets are its"),
        ('[[delete]]\nfrom = "targets.csv"', "dataset,document,provider\na,b,north\n",
         "write the name of one of the job's providers into each line, or give the [[delete]] a provider"),
    ],
)  # fmt: skip
def test_a_list_of_another_provider_is_refused_with_a_hint(folder: Folder, work: str, targets: str, hint: str) -> None:
    """A plan's CSV names the provider as the plan called it; the hint is about that column, and what it says helps."""
    folder.write(PROVIDERS, work, targets=targets)
    assert f"hint: {hint}" in folder.job("-y").stderr.splitlines()
    named = targets.replace("north", "west") if "north" in targets else targets.replace("dify", "west")
    folder.write(PROVIDERS, work, targets=named)
    assert folder.job("--dry-run").status == 0


@pytest.mark.parametrize(
    ("was", "now", "shown"),
    [
        ('kind = "dify"', 'kind = "unheard-of"', "provider[0]: unknown provider: unheard-of"),
        ('"EAST_KEY"', '"NO_KEY"', "provider[0]: no key for dify: NO_KEY is not set"),
        ('api_key_env = "EAST_KEY"', 'api_key_file = "no.key"', "provider[0]: cannot read the key file"),
        ('"http://east.localhost/v1"', '"ftp://east"', "provider[0]: "),
        ("//west.", "//east.", "provider[1]: has the address and the key of another provider: east"),
    ],
)
def test_a_provider_that_cannot_be_is_named(folder: Folder, was: str, now: str, shown: str) -> None:
    """Kind, key and address are checked before anything is sent, each named by its place."""
    folder.write(PROVIDERS.replace("WEST_KEY", "EAST_KEY").replace(was, now, 1), EMPTY_EAST)
    seen = folder.job("-y")
    assert (seen.status, folder.sent) == (2, 0)
    assert seen.stderr.startswith(f"error: {folder.path}/nightly.toml: {shown}")


def test_a_job_that_stops_says_whose_key_it_was(folder: Folder) -> None:
    """Of two providers the one that refused its key is named, once; where both did, both are."""
    east, west = folder.east.fill(3), folder.west.fill(3)
    folder.write(PROVIDERS, EMPTY_EAST, LIST_WEST, targets=csv(west))
    folder.west.script(west[0], ["401"])
    seen = folder.job("-y", "--no-run")
    assert (seen.status, folder.east.held) == (4, {})
    assert ": west: Access token is invalid" in seen.stderr.partition("error: stopped: ")[2].splitlines()[0]
    folder.east.fill(3)
    for service in (folder.east, folder.west):
        for document in service.held:
            service.script(document, ["401"])
    shown = json.loads(folder.job("-y", "--no-run", "--json").stdout)
    assert shown["reason"] == "east, west: Access token is invalid"
    assert len(east) == 3


def test_a_job_that_is_interrupted_blames_no_provider(folder: Folder) -> None:
    """A signal and a deadline are the whole job's."""
    folder.east.fill(30)
    ids = folder.west.fill(30)
    folder.write(PROVIDERS, EMPTY_EAST, LIST_WEST, targets=csv(ids))
    folder.west.when[10] = interrupt(signal.SIGTERM)
    assert json.loads(folder.job("-y", "--json").stdout)["reason"] == "interrupted by SIGTERM"


def test_a_dataset_that_is_not_there_is_named_in_the_error(folder: Folder) -> None:
    """Of several datasets the one that could not be emptied is named with its provider and its id."""
    folder.east.fill(3)
    folder.west.dataset_gone = True
    folder.write(PROVIDERS, EMPTY_EAST, EMPTY_EAST.replace("east", "west"))
    seen = folder.job("-y", "--no-run")
    assert seen.status == 1
    assert f"error: incomplete: 3 deleted of 3 listed: west / {DATASET}: Dataset not found." in seen.stderr


def test_a_key_that_is_missing_ends_in_the_metrics(folder: Folder) -> None:
    """$ bulkdel job … --metrics-file FILE without a key: exit 2 is in the file, where yesterday's success was."""
    folder.write(PROVIDERS, EMPTY_EAST)
    file = folder.path / "bulkdel.prom"
    file.write_text("bulkdel_run_exit_status 0\n")
    assert folder.job("-y", "--metrics-file", str(file), environ={}).status == 2
    assert "bulkdel_run_exit_status 2.0\n" in file.read_text()


def test_lines_name_their_provider_where_the_job_does_not(folder: Folder) -> None:
    """One list for both providers: each line goes to the one it names."""
    east, west = folder.east.fill(2), folder.west.fill(2)
    rows = [f"{OTHER},{east[0]},east", f"{OTHER},{west[1]},west"]
    folder.write(PROVIDERS, '[[delete]]\nfrom = "targets.csv"', targets="\n".join(["dataset,document,provider", *rows]))
    assert folder.job("-y", "--no-run").status == 0
    assert (set(folder.east.held), set(folder.west.held)) == ({east[1]}, {west[0]})


@pytest.mark.parametrize("option", ["--dry-run", "--no-run"])
def test_a_plan_is_kept(folder: Folder, option: str) -> None:
    """--plan keeps a plan; with an option that keeps nothing it is refused."""
    folder.write(PROVIDERS, EMPTY_EAST)
    assert (folder.job("--plan", option).status, folder.sent) == (2, 0)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\xff = 1", "line 1: not UTF-8 text"),
        (b"a = 1\nb", "not TOML: expected '=' after a key in a key/value pair (at line 2, column 2)"),
    ],
)
def test_what_is_no_toml_is_named_with_its_line(folder: Folder, raw: bytes, shown: str) -> None:
    """The file and the line, exit 2."""
    path = folder.path / "nightly.toml"
    path.write_bytes(raw)
    seen = folder.job("-y")
    assert (seen.status, seen.stderr.startswith(f"error: {path}: {shown}")) == (2, True), seen.stderr


def test_a_job_file_that_is_not_there_is_said_so(folder: Folder) -> None:
    """Exit 2, with the path and the system's reason."""
    seen = folder.job("-y")
    assert seen.status == 2
    assert "cannot read the job file" in seen.stderr


def test_a_key_file_that_has_gone_is_asked_for(folder: Folder) -> None:
    """Of several providers no option can name another file: it has to be where the job found it."""
    folder.east.fill(1)
    key = folder.path / "east.key"
    key.write_text(KEYS["EAST_KEY"])
    key.chmod(0o600)
    there = PROVIDERS.replace('api_key_env = "EAST_KEY"', 'api_key_file = "east.key"')
    folder.write(there, EMPTY_EAST, LIST_WEST, targets=csv(folder.west.fill(1)))
    run = folder.path / "a.run"
    assert folder.job("--plan", "-o", str(run)).status == 0
    key.unlink()
    seen = folder.command("resume", str(run), "-y")
    assert seen.status == 2
    assert seen.stderr.splitlines() == [
        f"error: a file that this run reads is not there any more: {key}",
        "hint: put it there again",
    ]
