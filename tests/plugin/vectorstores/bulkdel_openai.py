"""OpenAI-compatible vector stores: a store is a dataset, a file in it is a document, and a delete takes two requests."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from bulkdel.backoff import reset_after, retry_after
from bulkdel.model import Dataset, Document, Limits, Rate, Target
from bulkdel.providers import Bearer, words
from bulkdel.providers import protocol as ex

Row = dict[str, object]
T = TypeVar("T", Dataset, Document)
STORE, FILE = re.compile("vs_[A-Za-z0-9_-]{1,100}"), re.compile("file-[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, init=False)
class VectorStores(Bearer):
    """Steps of a delete: ``delete`` takes the file out of its store, ``file`` deletes the file itself; and ``check``."""

    kind = "openai"  # so its key is OPENAI_API_KEY
    title = "OpenAI vector stores"
    cloud = "https://api.openai.com/v1"
    page_size = 100

    def default_limits(self, host: str) -> Limits:
        # 300 a minute is documented for adding files to a store; for deleting them nothing is.
        return Limits(rate=Rate(300, per=60) if host == "api.openai.com" else None)

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "OpenAI-Beta": "assistants=v2"}

    def invalid(self, dataset: str, document: str | None = None) -> str:
        good = STORE.fullmatch(str(dataset)) and (document is None or FILE.fullmatch(str(document)))
        return "" if good else "not the ids of a vector store (vs_…) and a file (file-…)"

    def start(self, document: Document, *, unarchive: bool) -> str:
        return "delete"

    def request(self, target: Target, step: str) -> ex.Request:
        if step == "delete":
            return ex.Request("DELETE", self.document(target).path)
        if step in ("file", "check"):
            return ex.Request("DELETE" if step == "file" else "GET", f"/files/{target.document}")
        raise ValueError(f"no such step: {step!r}")

    def read(self, asked: ex.Asked, reply: ex.Reply) -> ex.Verdict:
        deletes = self.request(asked.target, asked.step).method == "DELETE"
        said = self._said(reply, asked.target.dataset, asked.target.document, doubt=deletes)
        match asked.step, self._gone(reply, asked.target) or said:
            case "delete", ex.Gone(reason) if asked.listed or asked.doubt:  # else it may be another store's file
                return ex.Ask("file", reason)
            case "delete", {"deleted": True}:
                return ex.Ask("file")
            case "file", {"deleted": True}:
                return words.DELETED
            case "check", dict():
                return ex.Requeue("unclear", "the file is still there", step="delete")
            case _, dict():
                return ex.Requeue("unclear", "the service does not say that it is deleted")
            case _, ex.Requeue("unclear", reason) if isinstance(reply, ex.Answer) and reply.status in (400, 422):
                return ex.Reject("refused", reason)
            case _, verdict:
                return verdict

    def document(self, target: Target) -> ex.Request:
        return ex.Request("GET", f"/vector_stores/{target.dataset}/files/{target.document}")

    def read_document(self, target: Target, reply: ex.Reply) -> Document | ex.Gone | ex.Failure:
        said = self._said(reply, target.dataset, target.document)
        return self._gone(reply, target) or (file_of(said) if isinstance(said, dict) else said)

    def preflight(self, dataset: str, cursor: str | None) -> ex.Request:
        return ex.Request("GET", f"/vector_stores/{dataset}")

    def read_preflight(self, dataset: str, cursor: str | None, reply: ex.Reply) -> Dataset | ex.Failure:
        said = self._said(reply, dataset, dataset)
        return store_of(said) if isinstance(said, dict) else said

    def listing(self, dataset: str, cursor: str | None) -> ex.Request:
        return page_request(f"/vector_stores/{dataset}/files", cursor)

    def read_listing(self, dataset: str, cursor: str | None, reply: ex.Reply) -> ex.Page[Document] | ex.Failure:
        said = self._said(reply, dataset)
        return page_of(said, file_of) if isinstance(said, dict) else said

    def datasets(self, cursor: str | None) -> ex.Request:
        return page_request("/vector_stores", cursor)

    def read_datasets(self, cursor: str | None, reply: ex.Reply) -> ex.Page[Dataset] | ex.Failure:
        said = self._said(reply)
        return page_of(said, store_of) if isinstance(said, dict) else said

    def _gone(self, reply: ex.Reply, target: Target) -> ex.Gone | None:
        return ex.Gone(self.words(error_of(reply)[0])) if not_found(reply, target.document) else None

    def _said(self, reply: ex.Reply, dataset: str = "", id: str = "", *, doubt: bool = False) -> Row | ex.Failure:
        """The object that came (with this ``id``, where one is given), or what it means that none did."""
        if isinstance(reply, ex.Lost):
            return words.lost(reply, doubt=doubt)
        value, headers, (message, kind) = words.parse(reply), reply.headers, error_of(reply)
        reason = self.words(message) or words.http(reply.status, self.words(words.page(reply)))
        match reply.status:
            case 200 if isinstance(value, dict) and id in ("", value.get("id")):
                return value
            case 401 | 403:
                return ex.StopProvider(reason, "give a key that may write vector stores and files")
            case 404 if dataset and not_found(reply, dataset) and not FILE.search(message):  # a cursor may be a file
                return ex.StopDataset(reason)
            case 429 if "insufficient_quota" in kind:
                return ex.StopProvider(reason, "waiting does not help: see to the account's credit and limits")
            case 429:
                asked = retry_after(headers.get("retry-after"), headers.get("date"))
                reset = reset_after(headers.get("x-ratelimit-reset-requests"), headers.get("date"))
                return ex.Pause(reason, after=reset if asked is None else asked)
            case status if status >= 500 or (status == 200 and words.broken_off(reply)):
                return ex.Requeue("trouble", reason, doubt=doubt)
            case status if message or status in (408, 409):  # 409: another request holds the store's lock
                return ex.Requeue("unclear", reason)
            case _:
                return ex.StopProvider(f"this is not an OpenAI API: {reason}", "check the base URL, which ends in /v1")


def error_of(reply: ex.Reply) -> tuple[str, str]:
    """The message, and type and code, of what every refusal holds: ``{"error": {"message": …, "type": …, "code": …}}``."""
    value = words.parse(reply) if isinstance(reply, ex.Answer) else None
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return "", ""
    return words.text(error, "message", "code"), f"{error.get('type')} {error.get('code')}"


def not_found(reply: ex.Reply, id: str) -> bool:
    """Whether it is a 404 about this object: behind a slash, its id is part of an address that nobody knows."""
    message = error_of(reply)[0]
    return isinstance(reply, ex.Answer) and reply.status == 404 and id in message and f"/{id}" not in message


def page_request(path: str, cursor: str | None) -> ex.Request:
    after = f"&after={quote(cursor, safe='')}" if cursor else ""
    return ex.Request("GET", f"{path}?limit=100&order=asc{after}", max_body=ex.LISTING_BYTES)


def page_of(said: Row, one_of: Callable[[Row], T]) -> ex.Page[T] | ex.StopProvider:
    """A page is read whole or not at all; its last row's id is the next page's cursor."""
    rows, more = said.get("data"), said.get("has_more")
    try:
        if not isinstance(rows, list) or not isinstance(more, bool) or (more and not rows):
            raise words.Unreadable("it has no data, or no has_more")
        items = tuple(one_of(row) for row in words.dicts(rows))
    except words.Unreadable as why:
        return ex.StopProvider(f"the listing could not be read: {why}")
    return ex.Page(items, items[-1].id if more else None)


def file_of(row: Row) -> Document:
    id, status, at = words.text(row, "id"), words.text(row, "status"), words.moment(row, "created_at")
    return Document(id, "", at, status, indexing=status == "in_progress", ready=status == "completed")


def store_of(row: Row) -> Dataset:
    counts = row.get("file_counts")
    total = words.whole(counts, "total") if isinstance(counts, dict) else None
    return Dataset(words.text(row, "id"), words.text(row, "name"), total)
