"""Langdock's words: what to ask, what an answer means. A knowledge folder is a dataset, an attachment a document.

Sources: Langdock's Knowledge Folder API pages, and what its clients meet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple
from urllib.parse import quote

from bulkdel.backoff import reset_after, retry_after, seconds_to_next_minute
from bulkdel.model import Dataset, Document, Limits, Rate, Target
from bulkdel.providers import words
from bulkdel.providers.bearer import Bearer
from bulkdel.providers.langdock_rows import dataset_of, document_of, file_rows, folder_rows, the_file
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
    Pause,
    Reject,
    Reply,
    Request,
    Requeue,
    StopDataset,
    StopProvider,
    Verdict,
)

# These words, dots and slashes reach other routes: ``DELETE /knowledge/{folder}/access`` revokes sharing. A router may
# ignore case and blanks at the ends; control characters and halves of surrogate pairs are in no id.
_ID = re.compile(
    r"(?!\s)(?!(?:access|list|folder|search|upload-async|\.\.?)$)[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,512}(?<!\s)",
    re.IGNORECASE,
)
_BARE_404 = re.compile("attachment not found[.]?", re.IGNORECASE)
_UNESCAPED = re.compile("[A-Za-z0-9_.~-]+")

_SUCCESS: Final = b'{"status":"success","message":"Attachment deleted"}'

# 50 a minute is the last documented limit, per workspace; 45 leaves room for what a proxy repeats.
_DEFAULT_RATE: Final = Rate(45, per=60)

_TIMEOUT_PAUSES: Final = 10  # a 408 that never ends is no rate limit, and would pause for ever
_LONGEST_REQUEUE: Final = 300.0  # seconds that a Retry-After on a server error may hold one document
_LONGEST_RESET: Final = 3600.0  # seconds; an x-ratelimit-reset that says more was meant for another clock or unit

_WRONG_ADDRESS: Final = "check the base URL: a dedicated deployment's ends in /api/public"
_WRONG_KEY: Final = "give an API key of this workspace with the scope KNOWLEDGE_FOLDER_API"
_NOT_SHARED: Final = "no knowledge folder with this id is shared with this key: share it with the key, as Editor"


class _Said(NamedTuple):
    """An answer taken apart: its JSON value, the service's own message (raw, empty for a page) and the words to show."""

    answer: Answer
    value: object
    message: str
    shown: str

    @property
    def reason(self) -> str:
        """What people are told: the service's own words, or the status with whatever was said instead."""
        return self.shown if self.message else words.http(self.answer.status, self.shown)


@dataclass(frozen=True, init=False)
class Langdock(Bearer):
    """A Langdock workspace; a dedicated deployment's ``base_url`` is ``<deployment-url>/api/public``.

    Without limits: 45 requests a minute for all folders of the workspace, concurrency 4.

    Steps of a delete: ``delete``, ``check`` and ``listing`` (does the folder's list still hold the document?).
    """

    kind: ClassVar[str] = "langdock"
    title: ClassVar[str] = "Langdock"
    cloud: ClassVar[str] = "https://api.langdock.com"
    page_size: ClassVar[int] = 1_000  # one call lists the whole folder, which holds at most so many

    def default_limits(self, host: str) -> Limits:
        return Limits(rate=_DEFAULT_RATE)

    # ------------------------------------------------------------------ ids and steps

    def invalid(self, dataset: str, document: str | None = None) -> str:
        try:
            if _ID.fullmatch(dataset) is None:
                return "the folder's id would reach another route"
            if document is not None and _ID.fullmatch(document) is None:
                return "the attachment's id would reach another route"
        except TypeError:
            return "an id must be text"
        return ""

    def start(self, document: Document, *, unarchive: bool) -> str:
        return "delete"

    def request(self, target: Target, step: str) -> Request:
        """:raises ValueError: for a step that Langdock does not have"""
        if step == "delete":
            return Request("DELETE", f"/knowledge/{_quoted(target.dataset)}/{_quoted(target.document)}")
        if step == "check":
            return self.document(target)
        if step == "listing":
            return self.listing(target.dataset, None)
        raise ValueError(f"Langdock has no such step: {step!r}")

    def read(self, asked: Asked, reply: Reply) -> Verdict:
        """A 404 is ``Gone`` even where an earlier attempt is in doubt: the engine, which knows the attempts, makes that a
        delete.

        :raises ValueError: for a step that Langdock does not have
        """
        if isinstance(reply, Lost):
            return words.lost(reply, doubt=asked.step == "delete")
        match asked.step:
            case "delete":
                if reply.status == 200 and reply.body == _SUCCESS:
                    return words.DELETED  # nearly every answer
                return self._read_delete(asked, self._said(reply))
            case "check":
                return self._read_check(asked, self._said(reply))
            case "listing":
                return self._read_folder(asked.target, self._said(reply))
            case _:
                raise ValueError(f"Langdock has no such step: {asked.step!r}")

    # ------------------------------------------------------------------ questions

    def preflight(self, dataset: str, cursor: str | None) -> Request:
        return self.datasets(cursor)

    def read_preflight(self, dataset: str, cursor: str | None, reply: Reply) -> Dataset | Next | Failure:
        page = self.read_datasets(cursor, reply)
        if not isinstance(page, Page):
            return page
        for found in page.items:
            if found.id == dataset:
                return found
        return StopDataset(_NOT_SHARED) if page.next is None else Next(page.next)

    def listing(self, dataset: str, cursor: str | None) -> Request:
        return Request("GET", f"/knowledge/{_quoted(dataset)}/list", max_body=LISTING_BYTES)

    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Page[Document] | Failure:
        if isinstance(reply, Lost):
            return words.lost(reply, doubt=False)
        said = self._said(reply)
        if reply.status != 200 or said.value is words.NOT_JSON:
            return self._failure(said, "the listing")
        try:
            items = tuple(document_of(row) for row in words.dicts(file_rows(said.value)))
        except words.Unreadable as why:
            return words.unreadable("the listing", why)
        return Page(items, None, len(items))

    def document(self, target: Target) -> Request:
        path = f"/knowledge/{_quoted(target.dataset)}/{_quoted(target.document)}"
        return Request("GET", path, max_body=LISTING_BYTES)

    def read_document(self, target: Target, reply: Reply) -> Document | Gone | Failure:
        """The folder was listed before anybody asks this, so a 404 about the attachment is ``Gone``."""
        if isinstance(reply, Lost):
            return words.lost(reply, doubt=False)
        said = self._said(reply)
        if _not_found(said) or (reply.status == 404 and _is_attachments(said)):
            return Gone(said.reason)
        if reply.status == 200 and (found := the_file(said.value, target.document)) is not None:
            return document_of(found)
        usual = self._usual(said, doubt=False)
        if usual is not None:
            return usual
        if 200 <= reply.status < 300 and not isinstance(said.value, dict):
            return self._failure(said, "the document")
        return Requeue("unclear", f"the document's state could not be read: {said.reason}")

    def datasets(self, cursor: str | None) -> Request:
        _, own = words.counted(cursor)
        path = "/knowledge?limit=100" if own is None else f"/knowledge?limit=100&cursor={_quoted(own)}"
        return Request("GET", path, max_body=LISTING_BYTES)

    def read_datasets(self, cursor: str | None, reply: Reply) -> Page[Dataset] | Failure:
        if isinstance(reply, Lost):
            return words.lost(reply, doubt=False)
        said = self._said(reply)
        if reply.status == 200 and said.value is not words.NOT_JSON:
            try:
                rows, following = folder_rows(said.value)
                items = tuple(dataset_of(row) for row in words.dicts(rows))
            except words.Unreadable as why:
                return StopProvider(words.unreadable("the list of knowledge folders", why).reason, _WRONG_ADDRESS)
            return Page(items, words.count_on(cursor, following))
        failure = self._failure(said, "the list of knowledge folders")
        # There is no folder here that could be stopped: what stops one stops the question.
        if isinstance(failure, StopDataset):
            return StopProvider(failure.reason, _WRONG_KEY if reply.status == 403 else _WRONG_ADDRESS)
        return failure

    # ------------------------------------------------------------------ reading

    def _said(self, answer: Answer) -> _Said:
        value = words.parse(answer)
        message = _message(value) if value is not words.NOT_JSON else words.plain(answer)
        return _Said(answer, value, message, self.words(message or words.page(answer)))

    def _read_delete(self, asked: Asked, said: _Said) -> Verdict:
        status = said.answer.status
        if status == 200 and _is_success(said.value):
            return words.DELETED
        if _not_found(said):
            return Gone(said.reason)
        usual = self._usual(said, doubt=True)
        if usual is not None:
            return usual
        match status:
            case 404:
                return _absent(asked, said)
            case 400 | 405 | 415 | 422:
                return Reject("refused", said.reason)
            case _ if 200 <= status < 300:
                return self._not_langdock(said)
            case _:
                return Requeue("unclear", said.reason)

    def _read_check(self, asked: Asked, said: _Said) -> Verdict:
        """The last question before a document is given up."""
        status = said.answer.status
        if _not_found(said):
            return Gone(said.reason)
        usual = self._usual(said, doubt=False)
        if usual is not None:
            return usual
        if status == 404:
            return _absent(asked, said)
        if status == 200 and the_file(said.value, asked.target.document) is not None:
            return Requeue("unclear", "still there", step="delete")
        if 200 <= status < 300 and not isinstance(said.value, dict):
            return self._not_langdock(said)
        return Requeue("unclear", said.reason, step="delete")

    def _read_folder(self, target: Target, said: _Said) -> Verdict:
        """A 404 is confirmed by the folder's own list: without it, there is no folder."""
        if said.answer.status == 404:
            return StopDataset(said.reason)
        found = self.read_listing(target.dataset, None, said.answer)
        if not isinstance(found, Page):
            return found
        if any(document.id == target.document for document in found.items):
            return Requeue("unclear", "the service said that it is not there, but lists it", step="delete")
        return Gone("the folder's list does not hold it", listed=True)

    def _usual(self, said: _Said, *, doubt: bool) -> Failure | None:
        """What an answer means whatever was asked; None where that depends on the question.

        ``doubt``: it was a delete, which a server error may have carried out all the same.
        """
        status, headers = said.answer.status, said.answer.headers
        date = headers.get("date")
        if status == 401:
            return StopProvider(said.reason, _WRONG_KEY)
        if status == 403:
            return StopDataset(said.reason)
        if status in (408, 429, 529):
            if status == 408:
                return Pause(said.reason, after=_after(said.answer), slower=False, stop_after=_TIMEOUT_PAUSES)
            return Pause(said.reason, after=_after(said.answer), slower=True)
        if 300 <= status < 400:
            where = self.words(headers.get("location", ""))
            return StopProvider(f"redirected, HTTP {status}: {where}" if where else said.reason, _WRONG_ADDRESS)
        if status >= 500 or status < 200:
            wait = retry_after(headers.get("retry-after"), date)
            after = None if wait is None else min(wait, _LONGEST_REQUEUE)
            return Requeue("trouble", said.reason, doubt=doubt, after=after)
        return None

    def _failure(self, said: _Said, what: str) -> Failure:
        """Why a question (``what`` was asked for) has no answer."""
        usual = self._usual(said, doubt=False)
        if usual is not None:
            return usual
        answer = said.answer
        if 200 <= answer.status < 300:
            if answer.cut:
                return words.unreadable(what, f"longer than {len(answer.body)} bytes")
            if said.value is words.NOT_JSON and words.broken_off(answer):
                return Requeue("trouble", f"{what} could not be read: it broke off")
            return self._not_langdock(said)
        if answer.status in (400, 404, 405, 415, 422):
            return self._not_langdock(said) if words.is_markup(answer) else StopDataset(said.reason)
        return Requeue("unclear", said.reason)

    def _not_langdock(self, said: _Said) -> StopProvider:
        return StopProvider(
            f"this is not Langdock's answer: {words.http(said.answer.status, said.shown)}", _WRONG_ADDRESS
        )


def _quoted(text: str) -> str:
    return text if _UNESCAPED.fullmatch(text) else quote(text, safe="")


def _is_success(value: object) -> bool:
    return isinstance(value, dict) and (value.get("status"), value.get("message")) == ("success", "Attachment deleted")


def _message(value: object) -> str:
    """The forms that error bodies come in, in this order: ``{message}``, ``{error: "…"}``, ``{error: {message}}``,
    ``{errors: […]}``."""
    if not isinstance(value, dict):
        return value if isinstance(value, str) else ""
    if found := words.text(value, "message", "error"):
        return found
    nested = [value.get("error")]
    errors = value.get("errors")
    nested += errors[:3] if isinstance(errors, list) else []
    for item in nested:
        if isinstance(item, dict) and (found := words.text(item, "message", "type")):
            return found
        if isinstance(item, str) and item:
            return item
    return ""


def _is_attachments(said: _Said) -> bool:
    """Whether a 404's words are about the attachment alone; "Knowledge folder or attachment not found" may be either.

    Bare text must say nothing else: "File not found." is what a web server without the route says.
    """
    if said.value is words.NOT_JSON:
        return not said.answer.cut and _BARE_404.fullmatch(said.message) is not None
    lower = said.message.casefold()
    return ("attachment" in lower or "file" in lower) and "folder" not in lower


def _not_found(said: _Said) -> bool:
    """A 500 that says so is the one server error that is a plain 404."""
    if said.answer.status != 500:
        return False
    if said.value is words.NOT_JSON:
        return _is_attachments(said)
    return "attachment not found" in said.message.casefold()


def _absent(asked: Asked, said: _Said) -> Gone | Ask:
    """A 404 is the document's where the folder was listed and the service's words are about it; else its folder is asked.

    A gateway says "Not Found" in JSON for a route that it does not have, which is no document that is gone (S12).
    """
    return Gone(said.reason) if asked.listed and _is_attachments(said) else Ask("listing", said.reason)


def _after(answer: Answer) -> float:
    """Seconds to pause: what the service asks for, else until the next full minute, when its window is new."""
    headers = answer.headers
    date = headers.get("date")
    asked = retry_after(headers.get("retry-after"), date)
    if asked is not None:
        return asked
    resets: dict[str, float] = {}
    for name, value in headers.items():
        if name.lower().startswith("x-ratelimit-reset"):
            seconds = reset_after(value, date)
            if seconds is not None and seconds <= _LONGEST_RESET:
                resets[name.lower()] = seconds
    # The limit on requests is the one that a delete meets; a limit on tokens beside it is not.
    for name in ("x-ratelimit-reset-requests", "x-ratelimit-reset"):
        if name in resets:
            return resets[name]
    return max(resets.values()) if resets else seconds_to_next_minute(date)
