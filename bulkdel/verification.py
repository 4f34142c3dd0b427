"""A dataset listed again after its deletes: what is still there, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bulkdel import events
from bulkdel.engine.call import Call
from bulkdel.engine.questions import side_by_side
from bulkdel.errors import RunFileError
from bulkdel.listing import Failed, NotWhole, list_documents, preflight
from bulkdel.model import Dataset, Document
from bulkdel.plan import PlannedDataset
from bulkdel.report import CAME_BACK, RunEnd
from bulkdel.store import DocumentState, RunFile
from bulkdel.text import pluralize, sanitize

Kind = Literal["new", "deleted", "rejected", "not attempted", "skipped"]
"""What a listed document is to the run; ``new`` ones came after its listing."""

KINDS: Mapping[DocumentState | None, Kind] = {
    None: "new", "skipped": "skipped", "selected": "not attempted", "deleted": "deleted", "already_gone": "deleted",
}  # fmt: skip
"""What a document is by its state in the run; any other state is a rejection."""


NOT_LISTED_AGAIN = ("could not be verified: ", "not verified: ")
"""How the reason of a dataset begins that was not listed again after its deletes."""


@dataclass(slots=True)
class Shown:
    """What a listing showed after the deletes: how many documents of each kind, and the first 20 of them (``id name``)."""

    counts: Counter[Kind] = field(default_factory=Counter)
    hidden: int = 0  # documents that the service counts and never lists, as before the deletes
    short: str = ""  # that, in words
    names: dict[Kind, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, document: Document, state: DocumentState | None) -> None:
        """Count a document, of which the run says ``state``, None if it is not in the run."""
        kind = KINDS.get(state, "rejected")
        self.counts[kind] += 1
        if self.counts[kind] <= 20:
            self.names[kind].append(f"{sanitize(document.id)} {sanitize(document.name)}".strip())


async def verify_dataset(call: Call, store: RunFile, planned: PlannedDataset, *, later: bool = False) -> Shown | None:
    """List the dataset again, and write what is found into its account; None if that is not known.

    :param later: it was listed again before, so that what shows now is no listing that lags behind the deletes
    """
    session, report = call.sessions[planned.provider], call.account.dataset(planned.provider, planned.dataset)
    found: Shown | Failed | None
    try:
        found = await _list_until_settled(call, store, planned, later=later)
    except RunFileError as error:
        call.sink.lose_journal(error)
        found = Failed(str(error))
    except Exception as error:
        session.bug(error)
        found = None
    if isinstance(found, Shown):
        came_back = later and not report.still_there_count  # the verification before this one did not list them
        n = found.counts
        report.remaining = n.total()
        report.new, report.new_count = tuple(found.names["new"]), n["new"]
        report.still_there, report.still_there_count = tuple(found.names["deleted"]), n["deleted"]
        report.reason = report.reason or found.short
        if report.still_there_count and report.status == "complete":
            what = CAME_BACK if came_back else "still listed, though the service called them deleted"
            report.status, report.reason = "incomplete", f"{what}: {pluralize(n['deleted'], 'document')}"
        call.sink.emit(events.Verified(report.provider, report.dataset, n.total(), n["new"], n["skipped"], report.name))
        return found
    stop, status = session.stop.reason, report.status
    if found is not None:
        # An outage says nothing of the dataset: a resume lists it again.
        status, why = "stopped" if found.outage else "incomplete", f"{NOT_LISTED_AGAIN[0]}{found.reason}"
    else:
        status = "incomplete" if stop is None else stop.status
        why = f"{NOT_LISTED_AGAIN[1]}the run ended before it was listed again"
    # What kept it from being listed again passes, and what was rejected is said all the same: a resume goes on.
    if report.status == "complete" or (report.status == "incomplete" and status != "incomplete"):
        report.status = status
    report.reason = report.reason or why
    return None


async def verify_again(call: Call, store: RunFile, datasets: Sequence[PlannedDataset]) -> tuple[str, RunEnd]:
    """List the datasets of a run again, at any later time.

    Returns what was found, in one sentence, empty if one could not be listed; and how the first of them that is not as it should be
    came out: stopped, if an outage kept any from being listed. A dataset that did not come to its end keeps its own word and reason.
    """
    call.phase = "verifying"
    account = call.account.datasets
    why: dict[tuple[str, str], RunEnd] = {}

    async def one(planned: PlannedDataset) -> Shown | None:
        place = (planned.provider, planned.dataset)
        before = account[place]
        # What was found to have come back is not yet called still there by the next verification.
        still_there = 0 if before.came_back else before.still_there_count
        report = account[place] = replace(before, status="complete", reason="", still_there_count=still_there)
        # Named documents that were just deleted: this is the first listing of them, and it may lag.
        shown = await verify_dataset(call, store, planned, later=before.remaining is not None)
        if report.status != "complete":
            why[place] = RunEnd(report.status, report.reason)
        if shown is None:
            account[place] = before  # nothing was found
            return None
        if report.counts.rejected or report.counts.not_attempted:
            report.status = before.status
            report.reason = "" if before.reason.startswith(NOT_LISTED_AGAIN) else before.reason
        elif planned.counted is not None and report.status == "complete" and (shown.hidden or report.new_count):
            # What the listing hid when the run was carried out is hidden still, or shows: the run is as whole as it was (S15).
            report.status, report.reason = before.status, report.reason or before.reason
        await store.end_dataset(report)
        return shown

    found = await side_by_side(one, datasets, 4)
    ends = [why[place] for place in account if place in why]
    first = min(ends, key=lambda end: end.status != "stopped", default=RunEnd())
    counts = sum((shown.counts for shown in found if shown is not None), Counter[Kind]())
    deleted = sum(report.counts.deleted for report in account.values())
    already_gone = sum(report.counts.already_gone for report in account.values())
    whole = all(planned.counted is None for planned in datasets)
    what = "target" if any(report.repeated for report in account.values()) else "document"
    return ("" if None in found else in_words(counts, deleted, already_gone, what, whole=whole)), first


def in_words(
    counts: Counter[Kind], deleted: int, already_gone: int = 0, what: str = "document", *, whole: bool = True
) -> str:
    """What showed of a run that has deleted so many documents, or ``what`` is counted, and found so many gone; whether its listings
    were whole."""
    gone = f"{deleted} deleted and {already_gone} already gone" if already_gone else f"{deleted} deleted"
    of = f"1 deleted {what}" if gone == "1 deleted" else f"the {gone} {what}s"
    if back := counts["deleted"]:
        # What is listed are documents, and several targets may be one.
        shown = str(back) if what == "document" else pluralize(back, "document")
        parts = [f"Not everything is gone: {shown} of {of} {_is(back)} listed again"]
    else:
        parts = [f"Verified: none of {of} came back"]
    kept = {kind: counts[kind] for kind in ("rejected", "not attempted", "skipped") if counts[kind]}
    if kept:
        why = ", ".join(f"{n} {kind}" if len(kept) > 1 else kind for kind, n in kept.items())
        n = sum(kept.values())
        parts.append(f"{n} of the run's documents {_is(n)} still there ({why})")
    if counts["new"]:
        came = "came newly" if whole else "came newly, or had been hidden from the listing"
        parts.append(f"{pluralize(counts['new'], 'document')} {came}")
    return "; ".join(parts)


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


async def _list_until_settled(
    call: Call, store: RunFile, planned: PlannedDataset, *, later: bool
) -> Shown | Failed | None:
    """List until what is left is only what was refused, skipped or newly came, for up to a minute; None if a stop came first.

    A listing may lag behind the deletes. One that stays short is looked at for 7 s only, because nothing suggests that it
    becomes whole.
    """
    session, short = call.sessions[planned.provider], planned.counted is not None
    # A selection or a plan was carried out because the user accepted that so many are hidden; rounds leave less than none.
    every = call.account.dataset(planned.provider, planned.dataset).counts.listed
    hidden = -1 if planned.counted is None else planned.counted - every
    found, listed = Shown(), None
    # After an earlier verification no listing lags: what shows is there.
    for wait in (1.0, 0.0) if later else (1.0, 2.0, 4.0, 8.0, 16.0, 29.0, 0.0):
        found = Shown()
        listed = await _list(call, store, planned, found)
        if listed is None or (isinstance(listed, Failed) and not isinstance(listed, NotWhole)):
            return listed
        if isinstance(listed, NotWhole) and short and not listed.seen:
            # It never showed as many as the service counts: now that it shows none, the dataset's own count decides.
            dataset = await preflight(session, planned.dataset)
            if isinstance(dataset, Dataset) and dataset.documents == 0:
                found.short = f"the service counts {listed.counted} and lists none"
                return found
        deleted = found.counts["deleted"]
        if isinstance(listed, NotWhole) and not deleted and listed.counted - listed.seen <= hidden:
            found.hidden = listed.counted - listed.seen
            found.short = f"{listed.seen} of {pluralize(listed.counted, 'document')} seen: its listing never shows all that the service counts"
            return found
        if not deleted and isinstance(listed, int):
            return found
        if not wait or (not deleted and wait > 4.0):
            break
        still = f"the listing still shows {pluralize(deleted, 'deleted document')}"
        if not await session.stop.sleep(wait, still if deleted else "the listing is not whole yet"):
            return None
    # What is missing from the listing may be anything: an incomplete listing is not an empty one (S15).
    return found if found.counts["deleted"] or isinstance(listed, int) else listed


async def _list(call: Call, store: RunFile, planned: PlannedDataset, found: Shown) -> int | Failed | None:
    """List it once more, whole, and write what shows into ``found``."""
    seen: set[str] = set()

    async def add(documents: Sequence[Document]) -> int:
        fresh = [document for document in documents if document.id not in seen]
        seen.update(document.id for document in fresh)
        states = await store.states(planned.provider, planned.dataset, [document.id for document in fresh])
        for document, state in zip(fresh, states, strict=True):
            # If documents were named one by one, the others are no part of the run.
            if state is not None or not planned.explicit:
                found.add(document, state)
        return len(fresh)

    return await list_documents(call.sessions[planned.provider], planned.dataset, add)
