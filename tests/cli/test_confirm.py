"""The question before anything is deleted: what it shows, what it wants typed, and what counts as a yes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdel.cli.confirm import question
from bulkdel.model import Policy
from bulkdel.plan import Plan, PlannedDataset
from bulkdel.render.plan import describe
from tests.cli.outside import DATASET, KEY, OTHER, FakeClient, invoke

FULL = PlannedDataset(
    "dify", DATASET, "Manuals\x1b[31m", listed=1000, selected=998, skipped={"name does not match": 2}, archived=12, indexing=5,
    synced=3, oldest=1_704_153_600.0, newest=1_741_046_400.0,
)  # fmt: skip


def test_the_plan_is_shown_with_all_that_matters() -> None:
    """Names, counts, ages, what is skipped and why, what needs more than a delete, and the time needed."""
    stopped = PlannedDataset("dify", OTHER, stopped="Dataset not found.")
    assert describe(Plan([FULL, stopped], 1330.0), Policy()) == [
        f"  dify / Manuals ({DATASET})",
        "    998 of 1000 documents selected: 986 to delete, 12 archived (will be rejected)",
        "    created: 2024-01-02 to 2025-03-04",
        "    2 skipped: name does not match",
        "    still being indexed: 5, are waited for",
        "    synced from a source: 3, and may come back at its next sync",
        f"  dify / {OTHER}",
        "    nothing can be deleted here: Dataset not found.",
        "  in all, of 2 datasets: 998 of 1000 documents selected: 986 to delete, 12 archived (will be rejected)",
        "  archived documents are deleted only with --unarchive",
        "  time needed at the current limits: about 22 min 10 s",
    ]


def test_a_plan_says_how_much_was_seen() -> None:
    """Of a dataset whose listing never shows all, both numbers are named, the service's own count last."""
    part = PlannedDataset("dify", "ds", listed=248, selected=248, counted=250)
    assert "    seen: 248 of 250, because the listing never shows all that the service counts" in describe(
        Plan([part]), Policy()
    )
    assert not any("seen" in line for line in describe(Plan([FULL]), Policy()))


def test_the_plan_says_what_options_make_of_special_ones() -> None:
    """Un-archiving and deleting what is being indexed are said as they were asked for."""
    shown = "\n".join(describe(Plan([FULL]), Policy(unarchive=True, indexing="delete")))
    assert "archived: 12, will be un-archived first" in shown
    assert "still being indexed: 5, are deleted all the same" in shown
    assert "time needed at the current limits: unknown before the first deletes" in shown


def test_a_plan_of_many_datasets_is_cut_but_counted() -> None:
    """A hundred datasets do not scroll the question away, and none is left out of the count."""
    shown = describe(Plan([PlannedDataset("dify", f"ds{n}", listed=2, selected=2) for n in range(100)]), Policy())
    assert len(shown) < 50
    assert "  and 80 more datasets with 160 documents to delete" in shown
    assert "  in all, of 100 datasets: 200 of 200 documents selected: 200 to delete" in shown


@pytest.mark.parametrize(
    ("datasets", "answer"),
    [
        ([PlannedDataset("dify", DATASET, "Manuals", selected=7)], "Manuals"),
        ([PlannedDataset("dify", DATASET, " \x1b[1mManuals\n", selected=7)], "Manuals"),
        ([PlannedDataset("dify", DATASET, "", selected=7)], "7"),
        ([PlannedDataset("dify", DATASET, "\u3000\xa0", selected=7)], "7"),
        ([PlannedDataset("dify", DATASET, "Manuals", selected=7, explicit=True)], "7"),
        ([PlannedDataset("dify", DATASET, "A", selected=7), PlannedDataset("dify", OTHER, "B", selected=4)], "11"),
    ],
)
def test_one_dataset_is_confirmed_by_name_others_by_number(datasets: list[PlannedDataset], answer: str) -> None:
    """What to type can be typed, and says what is about to go; documents that were named one by one are counted."""
    assert question(Plan(datasets), Policy())[0] == answer


@pytest.mark.parametrize(("unarchive", "answer"), [(False, "8"), (True, "11")])
def test_the_number_to_type_stands_in_the_question(unarchive: bool, answer: str) -> None:
    """What is known to be rejected is not counted as about to go, and the number to type is the one that the lines above it show."""
    archived = PlannedDataset("dify", DATASET, "A", listed=9, selected=7, archived=3)
    plan, policy = (
        Plan([archived, PlannedDataset("dify", OTHER, "B", listed=4, selected=4)]),
        Policy(unarchive=unarchive),
    )
    assert question(plan, policy)[0] == answer
    (in_all,) = [line for line in describe(plan, policy) if line.startswith("  in all")]
    assert f"11 of 13 documents selected: {answer} to delete" in in_all


def test_the_documents_to_delete_have_a_heading() -> None:
    """Below "skipped" they would read as those that are left; where some will be rejected the heading says selected."""
    kept = {"created too late": 3}
    planned = PlannedDataset(
        "dify", DATASET, listed=8, selected=5, skipped=kept, first=[("d1", "a.md"), ("d2", ""), ("d3", "")]
    )
    shown = describe(Plan([planned]), Policy(), named=2)
    assert shown[2:6] == [
        "    3 skipped: created too late",
        "    the first 2 of 5 to delete:",
        "      d1 (a.md)",
        "      d2",
    ]
    planned.archived = 4
    assert "    the first 2 of 5 selected:" in describe(Plan([planned]), Policy(), named=2)
    assert "    the first 2 of 5 to delete:" in describe(Plan([planned]), Policy(unarchive=True), named=2)


@given(st.text(max_size=40))
def test_the_answer_can_be_typed_and_is_never_empty(name: str) -> None:
    """Whatever a dataset is called: one line without blanks around it, so that an empty line is never a yes."""
    answer, _ = question(Plan([PlannedDataset("dify", DATASET, name, selected=5)]), Policy())
    assert answer.splitlines() == [answer.strip()]


# ------------------------------------------------------------------ at the terminal


def test_the_right_name_deletes() -> None:
    """Typing the dataset's name is the yes."""
    client = FakeClient()
    seen = invoke("purge", "dify", DATASET, client=client, terminal=True, typed="Manuals\n")
    assert seen.status == 0
    assert len(client.deleted) == 3
    assert "cannot be undone" in seen.stderr
    assert "Type the dataset's name to delete for good (Manuals): " in seen.stderr


@pytest.mark.parametrize("typed", ["yes\n", "y\n", "\n", "", "manuals\n", "Manual\n", DATASET + "\n", "3\n"])
def test_anything_else_refuses(typed: str) -> None:
    """Nothing is deleted, the exit status is 3, and the sentence says why."""
    client = FakeClient()
    seen = invoke("purge", "dify", DATASET, client=client, terminal=True, typed=typed)
    assert seen.status == 3
    assert client.deleted == []
    assert "error: refused: not confirmed: " in seen.stderr
    assert "Refused, nothing was deleted: not confirmed: " in seen.stdout


@pytest.mark.parametrize(("typed", "status"), [("2\n", 0), ("1\n", 3), ("Manuals\n", 3)])
def test_explicit_targets_are_confirmed_by_their_number(tmp_path: object, typed: str, status: int) -> None:
    """The list has no name, so its length is what is typed."""
    client = FakeClient()
    file = f"{tmp_path}/targets.csv"
    with open(file, "w") as out:
        out.write(f"dataset,document\n{DATASET},a\n{DATASET},b\n")
    seen = invoke("delete", "dify", file, client=client, terminal=True, typed=typed)
    assert seen.status == status
    assert len(client.deleted) == (2 if status == 0 else 0)
    assert "Type the number of documents to delete for good (2): " in seen.stderr


def test_yes_does_not_ask() -> None:
    """-y deletes without a question, at a terminal too."""
    client = FakeClient()
    seen = invoke("purge", "dify", DATASET, "-y", client=client, terminal=True)
    assert seen.status == 0
    assert client.calls[1][2]["confirm"] is None
    assert "Type" not in seen.stderr


def test_nothing_selected_is_not_asked_about() -> None:
    """There is nothing to say yes to."""
    client = FakeClient(documents=(), planned=PlannedDataset("dify", DATASET, "Manuals"))
    client.documents = ("d1",)  # the fake needs one target for its plan; the plan itself selects none
    seen = invoke("purge", "dify", DATASET, client=client, terminal=True)
    assert seen.status == 0
    assert "Type" not in seen.stderr


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_without_a_terminal_and_yes_nothing_is_opened(json: tuple[str, ...]) -> None:
    """No connection is opened for what cannot be confirmed: exit 3, and how to go on."""
    client = FakeClient()
    seen = invoke("purge", "dify", DATASET, *json, client=client)
    assert seen.status == 3
    assert client.calls == []
    assert "hint: -y (--yes) deletes without asking" in seen.stderr
    assert ('"status": "refused"' in seen.stdout) == bool(json)
    assert KEY not in seen.stdout + seen.stderr


def test_a_dry_run_needs_nobody() -> None:
    """It deletes nothing, so it asks nothing."""
    client = FakeClient()
    seen = invoke("purge", "dify", DATASET, "--dry-run", client=client)
    assert seen.status == 0
    assert client.calls[1][2]["dry_run"] is True
    assert client.deleted == []
    assert seen.stdout.startswith("Dry run, nothing was deleted: 3 of 3 documents selected: 3 to delete")
