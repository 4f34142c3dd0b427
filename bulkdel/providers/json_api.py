"""What services with a JSON API have alike: answers taken apart, what they usually mean, pages, and why there is no answer.

A provider derives from ``JsonApi``, declares what is its own (ids, hints), words its requests, and says how its answers
differ from the usual: which one means deleted, which one gone, where its rows stand. ``README.md`` here has a complete one.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar
from urllib.parse import urlsplit

from bulkdel.backoff import reset_after, retry_after
from bulkdel.model import Dataset, Document, Outcome, Target
from bulkdel.providers.bearer import Bearer
from bulkdel.providers.parsing import NOT_JSON, NoPage, ParsedAnswer, Row, Rows, Unreadable, page_text, parse_json, text
from bulkdel.providers.protocol import (
    LISTING_BYTES,
    Answer,
    Ask,
    Asked,
    Deleted,
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
from bulkdel.text import has_invisible, has_outer_quote, sanitize, show_invisible

T = TypeVar("T", Dataset, Document)

REFUSED = (400, 403, 404, 405, 415, 422)
"""The statuses of a request that will be refused however often it is sent."""


@dataclass(frozen=True, init=False)
class JsonApi(Bearer, ABC):
    """A service behind a bearer key that answers in JSON. Every method is pure, and none raises for anything that comes.

    A subclass declares the ``ClassVar`` below, words its requests (``path``, ``preflight``, ``listing``, ``datasets``,
    and ``request`` if it has steps of its own), and reads its own shapes: ``is_deleted``, ``is_gone``, ``rows_of``,
    ``document_from`` and ``dataset_from``. It overrides ``classify_common`` for statuses that mean something else there, and
    ``read_own`` for answers that mean something of their own at one step.
    """

    dataset_id: ClassVar[re.Pattern[str]]  # matches a whole id; one compiled pattern, because every target passes here
    document_id: ClassVar[re.Pattern[str]]
    wrong_id: ClassVar[str]  # "the document's id" … what is wrong if it does not match
    dataset_word: ClassVar[str] = "dataset"  # "the dataset's id", in the service's word
    document_word: ClassVar[str] = "document"
    address_end: ClassVar[str] = ""  # the path of an address, but for ``cloud``, if there is a usual one
    wrong_address: ClassVar[str]  # the hint if something else answers
    wrong_key: ClassVar[str]  # the hint if the key is refused
    after_404: ClassVar[str] = "check"  # the step that decides if a 404 says nothing about the document
    last_step: ClassVar[str] = "delete"  # the step whose success means that the document is deleted
    listing_starts: ClassVar[Sequence[str | None]] = (None,)

    # ------------------------------------------------------------------ ids and steps

    def canonical(self, id: str) -> str:
        """As it is, because most services tell capitals from small letters."""
        return id

    def invalid(self, dataset: str, document: str | None = None) -> str:
        return self._wrong(self.dataset_word, self.dataset_id, dataset) or (
            "" if document is None else self._wrong(self.document_word, self.document_id, document)
        )

    def _wrong(self, word: str, pattern: re.Pattern[str], id: object) -> str:
        if type(id) is not str:
            return "an id must be text"
        if has_invisible(id):
            return f"the {word}'s id holds characters that cannot be seen: {show_invisible(id)}"
        if has_outer_quote(id):
            return f"the {word}'s id stands in quotes"
        return "" if pattern.fullmatch(id) else f"the {word}'s id {self.wrong_id}"

    def lacks_mark(self, answer: Answer) -> bool:
        return False

    def start(self, document: Document, *, unarchive: bool) -> str:
        return "delete"

    def request(self, target: Target, step: str) -> Request:
        if step == "delete":
            return Request("DELETE", self.path(target))
        if step == "check":
            return self.document(target)
        if (together := self.request_together([target], step)) is not None:
            return together
        raise ValueError(f"{self.title} has no such step: {step!r}")

    def request_together(self, targets: Sequence[Target], step: str) -> Request | None:
        return None

    def document(self, target: Target) -> Request:
        return get(self.path(target))

    def pages_ahead(self, cursor: str | None, total: int) -> Iterable[str]:
        """None: most services name only the next page."""
        return ()

    # ------------------------------------------------------------------ what a subclass says of its service

    @abstractmethod
    def path(self, target: Target) -> str:
        """Where a document is looked at and deleted."""

    @abstractmethod
    def is_deleted(self, asked: Asked, answer: ParsedAnswer) -> bool:
        """Whether this is the service's own success for the ``last_step`` of a delete."""

    @abstractmethod
    def is_gone(self, asked: Asked, answer: ParsedAnswer) -> bool:
        """Whether the service itself says that there is no such document; a 404 of a proxy or a route is not that (S12)."""

    @abstractmethod
    def rows_of(self, value: object, cursor: str | None) -> Rows:
        """
        :raises NoPage: if it is nothing that this service answers
        :raises Unreadable: if it is no whole page
        """

    @abstractmethod
    def document_from(self, row: Row) -> Document:
        """A listing's row read; any key but ``id`` may be missing."""

    @abstractmethod
    def dataset_from(self, row: Row) -> Dataset:
        """A dataset read; any key but ``id`` may be missing."""

    def dataset_rows_of(self, value: object, cursor: str | None) -> Rows:
        """``rows_of`` for the list of datasets, if its pages have another shape."""
        return self.rows_of(value, cursor)

    def error_words(self, value: object, answer: Answer) -> tuple[str, str]:
        """An error's ``code`` and ``message`` as they came; empty if it has none. The default reads ``{code, message}``."""
        return text(value, "code"), text(value, "message")

    def is_own_error(self, answer: ParsedAnswer) -> bool:
        """Whether a 4xx is the service's own word, and not that of something in front of it or in its place."""
        return bool(answer.code or answer.message)

    def is_dataset_gone(self, answer: ParsedAnswer) -> bool:
        """Whether the service itself says that there is no such dataset."""
        return False

    def note_on_empty(self, answer: Answer) -> str:
        """What the user should know if the key sees no dataset at all, and this said so."""
        return ""

    def read_own(self, asked: Asked, answer: ParsedAnswer) -> Verdict | None:
        """What only this service says at this step; None if the answer means what it usually does."""
        return None

    # ------------------------------------------------------------------ reading the steps of a delete

    def read(self, asked: Asked, reply: Reply) -> Verdict:
        deletes = self.request(asked.target, asked.step).method == "DELETE"  # raises if there is no such step
        if isinstance(reply, Lost):
            return classify_lost(reply, doubt=deletes)
        answer = self.parse_answer(reply)
        if asked.step == self.last_step and self.is_deleted(asked, answer):
            return Deleted()
        known = self.read_own(asked, answer) or self.classify(asked, answer, doubt=deletes)
        if known is not None:
            return known
        if answer.status == 404 and asked.step != self.after_404:
            return Ask(self.after_404, answer.reason)
        if deletes:
            return self.read_refusal(answer, "refused")
        # Whether it is still there: the last question before a document is given up.
        return self.read_presence(answer, asked.target.document, "still there")

    def read_refusal(self, answer: ParsedAnswer, outcome: Outcome) -> Reject | Requeue | StopProvider:
        """What is left of the answers to a change that was not carried out."""
        if answer.status in REFUSED:
            return Reject(outcome, answer.reason)
        if not 200 <= answer.status < 300:
            return Requeue("unclear", answer.reason)
        if answer.broke_off:
            return Requeue("trouble", f"the answer broke off: {answer.http}", doubt=True)
        return self.unexpected_service(answer)

    def read_presence(self, answer: ParsedAnswer, id: str, reason: str) -> Requeue | StopProvider:
        """The delete is asked again: for ``reason`` if what has this id was shown, else for what came instead."""
        if answer.status == 200 and self.match_id(answer.value, id) is not None:
            return Requeue("unclear", reason, step="delete")
        if 200 <= answer.status < 300 and not isinstance(answer.value, dict):
            return self.unexpected_service(answer)
        return Requeue("unclear", answer.reason, step="delete")

    # ------------------------------------------------------------------ reading questions

    def read_preflight(self, dataset: str, cursor: str | None, reply: Reply) -> Dataset | Next | Failure:
        if isinstance(reply, Lost):
            return classify_lost(reply, doubt=False)
        answer = self.parse_answer(reply)
        if answer.status != 200 or not isinstance(answer.value, dict):
            return self.classify_failure(answer, "the dataset")
        if self.match_id(answer.value, dataset) is not None:
            return self.dataset_from(answer.value)
        other = text(answer.value, "id")
        if not other:
            return self.unexpected_service(answer)
        return StopDataset(f"the dataset could not be read: another one came: {self.sanitize(other)}")

    def read_listing(self, dataset: str, cursor: str | None, reply: Reply) -> Page[Document] | Failure:
        return self._read_page(reply, cursor, "the listing", self.rows_of, self.document_from)

    def read_datasets(self, cursor: str | None, reply: Reply) -> Page[Dataset] | Failure:
        what = f"the list of {self.dataset_word}s"
        found = self._read_page(reply, cursor, what, self.dataset_rows_of, self.dataset_from)
        if isinstance(found, Page) and not found.items and isinstance(reply, Answer):
            return replace(found, note=self.note_on_empty(reply))
        if not isinstance(found, StopDataset):
            return found
        # A cursor that the list itself gave and refuses now says nothing of the address: the list is read anew.
        if cursor is not None and isinstance(reply, Answer) and reply.status == 400:
            return found
        # No dataset was asked for that could be stopped.
        forbidden = isinstance(reply, Answer) and reply.status == 403
        return StopProvider(found.reason, self.wrong_key if forbidden else self.wrong_address)

    def read_document(self, target: Target, reply: Reply) -> Document | Gone | Failure:
        if isinstance(reply, Lost):
            return classify_lost(reply, doubt=False)
        answer = self.parse_answer(reply)
        # It is asked after a good listing of its dataset only.
        known = self.classify(Asked(target, "check", listed=True), answer, doubt=False)
        if known is not None:
            return known
        if answer.status == 403:
            return StopDataset(answer.reason)
        if answer.status == 200 and (found := self.match_id(answer.value, target.document)) is not None:
            return self.document_from(found)
        if 200 <= answer.status < 300 and not isinstance(answer.value, dict):
            return self.classify_failure(answer, "the document")
        # A 404 that does not say what is missing, the document or its dataset: asked again it says the same.
        step = "delete" if answer.status == 404 else None
        return Requeue("unclear", f"the document's state could not be read: {answer.reason}", step=step)

    def _read_page(
        self,
        reply: Reply,
        cursor: str | None,
        what: str,
        rows_of: Callable[[object, str | None], Rows],
        item_from: Callable[[Row], T],
    ) -> Page[T] | Failure:
        """A page that was read whole, or why there is none: never a page with fewer rows (S15)."""
        if isinstance(reply, Lost):
            return classify_lost(reply, doubt=False)
        answer = self.parse_answer(reply)
        if answer.status != 200 or answer.value is NOT_JSON:
            return self.classify_failure(answer, what)
        items: list[T] = []
        try:
            rows, following, total = rows_of(answer.value, cursor)
            for number, row in enumerate(rows, 1):
                if not isinstance(row, dict):
                    raise Unreadable(f"row {number} is no object")
                if not text(row, "id"):
                    raise Unreadable(f"row {number} has no id")
                items.append(item_from(row))
        except NoPage:
            return self.unexpected_service(answer)
        except Unreadable as why:
            return StopDataset(f"{what} could not be read: {why}")
        return Page(tuple(items), following, total)

    # ------------------------------------------------------------------ what an answer means

    def parse_answer(self, answer: Answer) -> ParsedAnswer:
        # Nearly every answer to a delete: looking for words in it costs 5 % of a delete.
        if not answer.body and not answer.proxy:
            return ParsedAnswer(answer, NOT_JSON, "", "", "")
        value = parse_json(answer)
        code, message = self.error_words(value, answer)
        shown = message or code or page_text(answer)
        if answer.proxy and not (code or message):
            shown = f"from the proxy {answer.proxy}, or through it{shown and f': {shown}'}"
        return ParsedAnswer(answer, value, code, message, self.sanitize(shown))

    def classify(self, asked: Asked, answer: ParsedAnswer, *, doubt: bool) -> Gone | Failure | None:
        """What the answer means at any step: the document or its dataset is gone, or it is a common failure."""
        if self.is_gone(asked, answer):
            return Gone(answer.reason)
        common = self.classify_common(answer, doubt=doubt)
        return StopDataset(answer.reason, gone=True) if common is None and self.is_dataset_gone(answer) else common

    def classify_common(self, answer: ParsedAnswer, *, doubt: bool) -> Failure | None:
        """What an answer means whatever was asked; None if that depends on the question.

        :param doubt: it was a delete, which a server error may have carried out all the same
        """
        status = answer.status
        if status == 401:
            return StopProvider(answer.reason, self._hint_at_401(answer))
        if status in (408, 425):
            # One that never ends is no rate limit, and would pause for ever.
            return Pause(answer.reason, after=self.pause_after(answer), slower=False, stop_after=10)
        if status in (429, 529):
            return Pause(answer.reason, after=self.pause_after(answer), slower=True)
        if status == 404 and not self.is_own_error(answer):
            return StopProvider(f"no such route: {answer.reason}", self.wrong_address)
        if 300 <= status < 400:
            # A redirect is never followed: it may lead to a login page, which answers 200 to a DELETE.
            to = self.sanitize(answer.headers.get("location", ""))
            return StopProvider(f"redirected, HTTP {status}: {to}" if to else answer.reason, self.wrong_address)
        if status >= 500 or status < 200:
            # Five minutes at most: a failing service's wish about one document is no limit for the others.
            after = retry_after(answer.headers.get("retry-after"), answer.headers.get("date"))
            return Requeue("trouble", answer.reason, doubt=doubt, after=None if after is None else min(after, 300.0))
        return None

    def _hint_at_401(self, answer: ParsedAnswer) -> str:
        """A key is refused also at an address beside the right one (``/console/api/v1``), where other keys are asked for."""
        usual = self.address_end in ("", urlsplit(self.base_url).path)
        if self.base_url == self.cloud or (usual and self.is_own_error(answer)):
            return self.wrong_key
        return f"{self.wrong_address}; if the address is right, {self.wrong_key}"

    def classify_failure(self, answer: ParsedAnswer, what: str) -> Failure:
        """Why a question (``what`` was asked for) has no answer."""
        common = self.classify_common(answer, doubt=False)
        if common is not None:
            return common
        if 200 <= answer.status < 300:
            if answer.answer.cut:
                return StopDataset(f"{what} could not be read: longer than {len(answer.answer.body)} bytes")
            if answer.broke_off:
                return Requeue("trouble", f"{what} could not be read: it broke off")
        elif answer.status not in REFUSED:
            return Requeue("unclear", answer.reason)
        elif self.is_own_error(answer):
            return StopDataset(answer.reason, gone=self.is_dataset_gone(answer))
        return self.unexpected_service(answer)

    def unexpected_service(self, answer: ParsedAnswer) -> StopProvider:
        """An answer that this service never gives: something else is at the base URL, or in front of it."""
        return StopProvider(f"this is not {self.title}'s answer: {answer.http}", self.wrong_address)

    def pause_after(self, answer: ParsedAnswer) -> float | None:
        """Seconds that a rate limit asks for, None if it does not say: ``Retry-After``, else ``x-ratelimit-reset…``."""
        headers, date = answer.headers, answer.headers.get("date")
        after = retry_after(headers.get("retry-after"), date)
        if after is not None:
            return after
        said = {name.lower(): value for name, value in headers.items() if name.lower().startswith("x-ratelimit-reset")}
        # One that says more than an hour was meant for another clock or unit.
        resets = {name: s for name in said if (s := reset_after(said[name], date)) is not None and s <= 3600}
        # The limit on requests is the one that a delete meets; a limit on tokens beside it is not.
        for name in ("x-ratelimit-reset-requests", "x-ratelimit-reset"):
            if name in resets:
                return resets[name]
        return max(resets.values(), default=None)

    def match_id(self, value: object, wanted: str) -> Row | None:
        """The object with the id asked for, bare or as the ``result``; None if it is another one, or none."""
        if isinstance(value, dict):
            for row in (value, value.get("result")):
                if isinstance(row, dict) and self.canonical(text(row, "id")) == self.canonical(wanted):
                    return row
        return None


def classify_lost(reply: Lost, *, doubt: bool) -> Requeue | StopProvider:
    """What a lost answer means at any service; ``doubt``: it was a delete, which may have been carried out if it was sent."""
    why = {
        "unreachable": "cannot connect",
        "tls": "no trusted TLS connection",
        "timeout": "no whole answer in time",
        "disconnected": "the connection was lost before the whole answer came",
        "garbled": "what came back is not HTTP",
    }[reply.kind]
    detail = sanitize(reply.detail, 300)
    reason = f"{why}: {detail}" if detail else why
    if reply.kind == "tls":
        hint = reply.hint or "name the authority that signed it with --ca-file; checking cannot be switched off"
        return StopProvider(reason, hint)
    return Requeue("trouble", reason, doubt=doubt and reply.sent)


def get(path: str) -> Request:
    """A question whose answer may be as long as a listing."""
    return Request("GET", path, max_body=LISTING_BYTES)
