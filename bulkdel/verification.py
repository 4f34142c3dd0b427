"""A dataset listed again after its deletes: what is still there, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bulkdel import events
from bulkdel.engine.call import Call
from bulkdel.engine.session import ProviderSession
from bulkdel.errors import RunFileError
from bulkdel.listing import Failed, NotWhole, list_documents, preflight, side_by_side
from bulkdel.model import FULFILLED, Dataset, Document
from bulkdel.plan import PlannedDataset
from bulkdel.report import DatasetReport
from bulkdel.store import RunFile
from bulkdel.text import pluralize, sanitize


@dataclass(slots=True)
class Verified:
    """What a listing showed after the deletes.

    ``remaining`` counts every document; ``new`` are those that came after the first listing, ``still_there`` those that
    the service had called deleted; both name at most 20. ``skipped`` counts those that were not selected.
    """

    remaining: int = 0
    skipped: int = 0
    new: list[str] = field(default_factory=list)
    new_count: int = 0
    still_there: list[str] = field(default_factory=list)
    still_there_count: int = 0


async def verify_dataset(
    call: Call,
    store: RunFile,
    report: DatasetReport,
    *,
    explicit: bool = False,
    short: bool = False,
    later: bool = False,
) -> None:
    """List the dataset again, and write what is found into its account.

    :param explicit: its documents were named one by one, and the others are no part of the run
    :param short: its listing never showed as many as the service counts: if it shows none, the dataset's own count decides
    :param later: its deletes are long ago, so that its listing does not lag behind them
    """
    session = call.sessions[report.provider]
    found: Verified | Failed | None
    try:
        found = await _verify(session, store, report.dataset, explicit=explicit, short=short, later=later)
    except RunFileError as error:
        call.sink.lose_journal(error)
        found = Failed(str(error))
    except Exception as error:
        session.bug(error)
        found = None
    match found:
        case None:
            stop = session.stop.reason
            if report.status == "complete":
                report.status = stop.status if stop is not None else "incomplete"
            report.reason = report.reason or "not verified: the run ended before it was listed again"
        case Failed():
            if report.status == "complete":
                report.status = "incomplete"
            report.reason = report.reason or f"could not be verified: {found.reason}"
        case Verified():
            _take(report, found, later=later)
            call.sink.emit(
                events.Verified(
                    report.provider, report.dataset, found.remaining, found.new_count, found.skipped, report.name
                )
            )


async def verify_again(call: Call, store: RunFile, datasets: Sequence[PlannedDataset]) -> str:
    """List the datasets of a run again, at any later time; why the first of them is not as it should be, empty if all are.

    A dataset that did not come to its end keeps its own word and reason.
    """
    call.phase = "verifying"
    why: dict[tuple[str, str], str] = {}

    async def one(planned: PlannedDataset) -> None:
        place = (planned.provider, planned.dataset)
        before = call.account.datasets[place]
        report = call.account.datasets[place] = replace(before, status="complete", reason="")
        short = planned.counted is not None
        await verify_dataset(call, store, report, explicit=planned.explicit, short=short, later=True)
        if report.status != "complete":
            why[place] = report.reason
        unfinished = report.counts.rejected or report.counts.not_attempted
        if unfinished or before.status not in ("complete", "incomplete"):
            report.status, report.reason = before.status, before.reason
        await store.end_dataset(report)

    await side_by_side(one, datasets, 4)
    return next((why[place] for place in call.account.datasets if place in why), "")


def _take(report: DatasetReport, found: Verified, *, later: bool) -> None:
    came_back = later and not report.still_there_count  # the verification before this one did not list them
    report.remaining = found.remaining
    report.new, report.new_count = tuple(found.new), found.new_count
    report.still_there, report.still_there_count = tuple(found.still_there), found.still_there_count
    if found.still_there_count and report.status == "complete":
        report.status = "incomplete"
        what = (
            "came back after they were deleted" if came_back else "still listed, though the service called them deleted"
        )
        report.reason = f"{what}: {pluralize(found.still_there_count, 'document')}"


async def _verify(
    session: ProviderSession, store: RunFile, dataset: str, *, explicit: bool, short: bool, later: bool
) -> Verified | Failed | None:
    """List until what is left is only what was refused, skipped or newly came, for up to a minute; None if a stop came first.

    A listing may lag behind the deletes. One that stays short is looked at for 7 s only, because nothing suggests that it
    becomes whole.
    """
    found, listed = Verified(), None
    # Long after the deletes no listing lags: what shows is there.
    for wait in (1.0, 0.0) if later else (1.0, 2.0, 4.0, 8.0, 16.0, 29.0, 0.0):
        found = Verified()
        listed = await _look(session, store, dataset, found, explicit=explicit)
        if listed is None or (isinstance(listed, Failed) and not isinstance(listed, NotWhole)):
            return listed
        if isinstance(listed, NotWhole) and short and not listed.seen and await _counts_none(session, dataset):
            return found
        if not found.still_there_count and isinstance(listed, int):
            return found
        if not wait or (not found.still_there_count and wait > 4.0):
            break
        still = pluralize(found.still_there_count, "deleted document")
        session.note = f"the listing still shows {still}" if found.still_there_count else "the listing is not whole yet"
        if not await session.stop.sleep(wait):
            return None
    session.note = ""
    # What is missing from the listing may be anything: an incomplete listing is not an empty one (S15).
    return found if found.still_there_count or isinstance(listed, int) else listed


async def _look(
    session: ProviderSession, store: RunFile, dataset: str, found: Verified, *, explicit: bool
) -> int | Failed | None:
    """List it once more, whole, and write what shows into ``found``."""
    seen: set[str] = set()

    async def add(documents: Sequence[Document]) -> int:
        fresh = [document for document in documents if document.id not in seen]
        seen.update(document.id for document in fresh)
        states = await store.states(session.name, dataset, [document.id for document in fresh])
        for document, state in zip(fresh, states, strict=True):
            if state is None and explicit:
                continue
            words = f"{sanitize(document.id)} {sanitize(document.name)}".strip()
            found.remaining += 1
            if state is None:
                found.new_count += 1
                found.new += [words] if found.new_count <= 20 else []
            elif state == "skipped":
                found.skipped += 1
            elif state in FULFILLED:
                found.still_there_count += 1
                found.still_there += [words] if found.still_there_count <= 20 else []
        return len(fresh)

    return await list_documents(session, dataset, add)


async def _counts_none(session: ProviderSession, dataset: str) -> bool:
    """Whether the dataset itself says that it holds no document; its listing, which shows none, counts some."""
    found = await preflight(session, dataset)
    return isinstance(found, Dataset) and found.documents == 0
