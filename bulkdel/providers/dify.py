"""Dify's words: what to ask, what an answer means; the numbers in comments are the rows of Dify's delete contract.

Sources: Dify's service API (releases 0.9 to 1.15) and answers recorded from 1.9.2 and 1.14.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final
from urllib.parse import urlsplit

from bulkdel.model import Dataset, Document, Limits, Rate, Target
from bulkdel.providers import words
from bulkdel.providers.bearer import Bearer
from bulkdel.providers.dify_answers import Said, is_404, is_success, not_dify, take_apart, usual_meaning, why_unanswered
from bulkdel.providers.dify_rows import dataset_of, document_of, next_page, page_rows, the_one
from bulkdel.providers.protocol import (
    LISTING_BYTES,
    Answer,
    Ask,
    Asked,
    Failure,
    Gone,
    Lost,
    Next,
    Page,
    Reject,
    Reply,
    Request,
    Requeue,
    StopDataset,
    StopProvider,
    Verdict,
)

# Written out: a third faster than with a group that repeats, and every target passes here twice.
_UUID = re.compile("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")

_CLOUD_HOST: Final = "api.dify.ai"
# The smallest plan allows 10 requests a minute, shared with the workspace's own apps: 80 % of it.
_UNKNOWN_PLAN: Final = Rate(8, per=60)
_SHARE: Final = 0.8


@dataclass(frozen=True, init=False)
class Dify(Bearer):
    """A Dify workspace: Dify Cloud unless ``base_url`` names a self-hosted one (``http(s)://HOST/v1``).

    Without limits: 8 requests a minute on Dify Cloud, no rate limit elsewhere, concurrency 4 (a self-hosted API serves 10
    connections in all by default). A rate given for Dify Cloud is the plan's own (10, 100 or 1,000 a minute); 80 % of it are
    used, because the workspace's live apps share it and a refused call locks them out too.

    Steps of a delete: ``delete``, ``check``, ``dataset`` (is the dataset there?), ``disable`` and ``un_archive``.
    """

    kind: ClassVar[str] = "dify"
    title: ClassVar[str] = "Dify"
    cloud: ClassVar[str] = "https://api.dify.ai/v1"
    most: ClassVar[int] = 64  # a default Dify 1.14.2 does a third at 64 of what it does at 4, and answers 500 beyond
    page_size: ClassVar[int] = 100  # the service's cap; above it ``has_more`` is wrong

    @property
    def _on_cloud(self) -> bool:
        return (urlsplit(self.base_url).hostname or "").rstrip(".") == _CLOUD_HOST

    def default_limits(self, host: str) -> Limits:
        return Limits(rate=_UNKNOWN_PLAN if host.rstrip(".") == _CLOUD_HOST else None)

    @property
    def pace(self) -> Rate | None:
        """On Dify Cloud 80 % of the plan's rate (the default of 8 a minute is that already); elsewhere the rate given."""
        rate = self.limits.rate
        if rate is None or rate == _UNKNOWN_PLAN or not self._on_cloud:
            return rate
        return Rate(rate.n * _SHARE, per=rate.per)

    @property
    def rate_is_guess(self) -> bool:
        """Whether the pace is for the smallest plan because nobody said which it is: it may be raised while nothing is refused."""
        return self._on_cloud and self.rate_is_default and self.limits.rate is not None

    # ------------------------------------------------------------------ ids and steps

    def invalid(self, dataset: str, document: str | None = None) -> str:
        """Anything but a dashed UUID never reaches the delete route: Dify's router answers it with an HTML 404."""
        try:
            if not _is_dataset(dataset):
                return "the dataset's id is not a dashed UUID"
            if document is not None and _UUID.fullmatch(document) is None:
                return "the document's id is not a dashed UUID"
        except TypeError:
            return "an id must be text"
        return ""

    def start(self, document: Document, *, unarchive: bool) -> str:
        """Un-archiving an enabled document starts an embedding that races the delete, so such a one is disabled first."""
        if not unarchive or not document.archived:
            return "delete"
        # Only a completed document can be disabled; one that is not is not embedded again either.
        return "disable" if document.enabled and document.ready else "un_archive"

    def request(self, target: Target, step: str) -> Request:
        """:raises ValueError: for a step that Dify does not have"""
        if step == "delete":
            return Request("DELETE", f"/datasets/{target.dataset}/documents/{target.document}")
        if step == "check":
            return self.document(target)
        if step == "dataset":
            return self.preflight(target.dataset, None)
        if step in ("disable", "un_archive"):
            ids = {"document_ids": [target.document]}
            return Request("PATCH", f"/datasets/{target.dataset}/documents/status/{step}", json=ids)
        raise ValueError(f"Dify has no such step: {step!r}")

    def read(self, asked: Asked, reply: Reply) -> Verdict:
        """A 404 "Document…" is ``Gone`` even where an earlier attempt is in doubt: the engine, which knows the attempts,
        makes that a delete (13, 21).

        :raises ValueError: for a step that Dify does not have
        """
        step = asked.step
        if step == "delete":
            if isinstance(reply, Lost):
                return words.lost(reply, doubt=True)  # 20, 21
            if reply.status == 204:
                return words.DELETED  # 1: nearly every answer
            return self._read_delete(asked, self._said(reply))
        if isinstance(reply, Lost):
            return words.lost(reply, doubt=False)
        match step:
            case "check":
                return self._read_check(asked.target, self._said(reply))
            case "dataset":
                return self._read_dataset(asked.target, self._said(reply))
            case "disable" | "un_archive":
                return self._read_status(step, self._said(reply))
            case _:
                raise ValueError(f"Dify has no such step: {step!r}")

    # ------------------------------------------------------------------ questions

    def preflight(self, dataset: str, cursor: str | None) -> Request:
        return Request("GET", f"/datasets/{dataset}", max_body=LISTING_BYTES)

    def read_preflight(self, dataset: str, cursor: str | None, reply: Reply) -> Dataset | Next | Failure:
        if isinstance(reply, Lost):
            return words.lost(reply, doubt=False)
        said = self._said(reply)
        if reply.status == 200 and isinstance(said.value, dict):
            found = dataset_of(said.value)
            if found is None:
                return not_dify(said)
            if found.id.casefold() != dataset.casefold():
                return words.unreadable("the dataset", f"another one came: {self.words(found.id)}")
            return found
        return why_unanswered(said, "the dataset")

    def listing(self, dataset: str, cursor: str | None) -> Request:
        return Request("GET", f"/datasets/{dataset}/documents?page={cursor or 1}&limit=100", max_body=LISTING_BYTES)

    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Page[Document] | Failure:
        """The last page is the empty one: ``has_more`` is true on an exactly full last page, and rows shift."""
        if isinstance(reply, Lost):
            return words.lost(reply, doubt=False)
        said = self._said(reply)
        if reply.status != 200 or said.value is words.NOT_JSON:
            return why_unanswered(said, "the listing")
        try:
            rows, total = page_rows(said.value, cursor)
            items = tuple(document_of(row) for row in words.dicts(rows))
        except words.Unreadable as why:
            return words.unreadable("the listing", why)
        return Page(items, next_page(cursor) if items else None, total)

    def document(self, target: Target) -> Request:
        path = f"/datasets/{target.dataset}/documents/{target.document}"
        return Request("GET", path, max_body=LISTING_BYTES)

    def read_document(self, target: Target, reply: Reply) -> Document | Gone | Failure:
        if isinstance(reply, Lost):
            return words.lost(reply, doubt=False)
        said = self._said(reply)
        usual = usual_meaning(said, doubt=False)
        if usual is not None:
            return usual
        if is_404(said, "Document"):
            return Gone(said.reason)
        if is_404(said, "Dataset") or reply.status == 403:
            return StopDataset(said.reason)
        if reply.status == 200 and (found := the_one(said.value, target.document)) is not None:
            return document_of(found)
        if 200 <= reply.status < 300 and not isinstance(said.value, dict):
            return why_unanswered(said, "the document")
        return Requeue("unclear", f"the document's state could not be read: {said.reason}")

    def datasets(self, cursor: str | None) -> Request:
        """The whole workspace, which a dataset key may touch: other members' private ones included."""
        return Request("GET", f"/datasets?page={cursor or 1}&limit=100&include_all=true", max_body=LISTING_BYTES)

    def read_datasets(self, cursor: str | None, reply: Reply) -> Page[Dataset] | Failure:
        if isinstance(reply, Lost):
            return words.lost(reply, doubt=False)
        said = self._said(reply)
        try:
            if reply.status != 200 or said.value is words.NOT_JSON:
                failure = why_unanswered(said, "the list of datasets")
            else:
                rows, total = page_rows(said.value, cursor)
                found = [dataset_of(row) for row in words.dicts(rows)]
                return Page(tuple(d for d in found if d is not None), next_page(cursor) if found else None, total)
        except words.Unreadable as why:
            failure = words.unreadable("the list of datasets", why)
        # There is no dataset here that could be stopped: what stops one stops the question.
        return StopProvider(failure.reason) if isinstance(failure, StopDataset) else failure

    # ------------------------------------------------------------------ reading

    def _said(self, answer: Answer) -> Said:
        return take_apart(answer, self.words)

    def _read_delete(self, asked: Asked, said: Said) -> Verdict:
        status = said.answer.status
        if status == 200 and is_success(said.value):
            return words.DELETED  # 2
        if status == 403 and said.code == "archived_document_immutable":  # 9
            return Ask("disable", said.reason) if asked.unarchive else Reject("archived", said.reason)
        usual = usual_meaning(said, doubt=True)
        if usual is not None:
            return usual
        match status:
            case 400 if said.code == "document_indexing":  # 4
                return Requeue("indexing", said.reason)
            case 400 | 403 | 405 | 415 | 422:  # 7, 12
                return Reject("refused", said.reason)
            case 404 if is_404(said, "Document"):  # 13
                return Gone(said.reason)
            case 404 if is_404(said, "Dataset"):  # 14
                return Ask("dataset", said.reason)
            case 404:  # 15
                return Ask("check", said.reason)
            case _ if 200 <= status < 300:  # 3
                return not_dify(said)
            case _:
                return Requeue("unclear", said.reason)

    def _read_check(self, target: Target, said: Said) -> Verdict:
        """15, and the last question before a document is given up."""
        usual = usual_meaning(said, doubt=False)
        if usual is not None:
            return usual
        status = said.answer.status
        if is_404(said, "Document"):
            return Gone(said.reason)
        if is_404(said, "Dataset"):
            return Ask("dataset", said.reason)
        if status == 200 and the_one(said.value, target.document) is not None:
            return Requeue("unclear", "still there", step="delete")
        if 200 <= status < 300 and not isinstance(said.value, dict):
            return not_dify(said)
        return Requeue("unclear", said.reason, step="delete")

    def _read_dataset(self, target: Target, said: Said) -> Verdict:
        """14: the dataset itself says whether it is there."""
        usual = usual_meaning(said, doubt=False)
        if usual is not None:
            return usual
        status = said.answer.status
        if is_404(said, "Dataset") or status == 403:
            return StopDataset(said.reason)
        if status == 200 and the_one(said.value, target.dataset) is not None:
            return Requeue("unclear", "the service said that the dataset is not there, but it is", step="delete")
        if 200 <= status < 300 and not isinstance(said.value, dict):
            return not_dify(said)
        return Requeue("unclear", said.reason, step="delete")

    def _read_status(self, step: str, said: Said) -> Verdict:
        """Un-archive safely: disable (completed documents only), un_archive until it is accepted, then DELETE."""
        status = said.answer.status
        following = Ask("un_archive" if step == "disable" else "delete")
        if status == 204 or (status == 200 and is_success(said.value)):
            return following
        if status == 404 and not said.code and "x-version" in said.answer.headers:
            # Dify's own router: releases before 1.4 have no such route. The base URL is right.
            return Reject("archived", f"this Dify cannot un-archive: {said.reason}")
        usual = usual_meaning(said, doubt=False)
        if usual is not None:
            return usual
        match status:
            case 400 if "being indexed" in said.message:  # its lock lasts up to 600 s
                return Requeue("indexing", said.reason)
            case 400 if step == "disable" and "not completed" in said.message:
                return following
            case 404 if is_404(said, "Document"):
                return Gone(said.reason)
            case 404 if is_404(said, "Dataset"):
                return Ask("dataset", said.reason)
            case _ if 200 <= status < 300:
                return not_dify(said)
            case 400 | 403 | 404 | 405 | 415 | 422:
                return Reject("archived", said.reason)
            case _:
                return Requeue("unclear", said.reason)


@lru_cache(maxsize=64)  # a thousand documents have one dataset; what is no text is a TypeError here, too
def _is_dataset(id: str) -> bool:
    return _UUID.fullmatch(id) is not None
