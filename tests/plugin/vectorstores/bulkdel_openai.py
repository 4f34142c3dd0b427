"""OpenAI-compatible vector stores: a store is a dataset, a file in it is a document, and a delete takes two requests."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from bulkdel.model import Dataset, Document, Rate, Target
from bulkdel.providers.json_api import JsonApi, get
from bulkdel.providers.parsing import ParsedAnswer, Row, Rows, Unreadable, integer, text, timestamp
from bulkdel.providers.protocol import Answer, Ask, Asked, Failure, Request, Requeue, StopProvider, Verdict


@dataclass(frozen=True, init=False)
class VectorStores(JsonApi):
    """Steps of a delete: ``delete`` takes the file out of its store, ``file`` deletes the file itself; and ``check``."""

    kind = "openai"  # so its key is OPENAI_API_KEY
    title = "OpenAI"
    cloud = "https://api.openai.com/v1"
    cloud_rate = Rate(300, per=60)  # documented for adding files to a store; for deleting them nothing is
    page_size = 100
    dataset_id, document_id = re.compile("vs_[A-Za-z0-9_-]{1,100}"), re.compile("file-[A-Za-z0-9_-]{1,100}")
    wrong_id = "is not that of a vector store (vs_…) or a file (file-…)"
    wrong_address = "check the base URL, which ends in /v1"
    wrong_key = "give a key that may write vector stores and files"
    last_step = "file"

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "OpenAI-Beta": "assistants=v2"}

    def request(self, target: Target, step: str) -> Request:
        if step in ("file", "check"):
            return Request("DELETE" if step == "file" else "GET", f"/files/{target.document}")
        return super().request(target, step)

    def path(self, target: Target) -> str:
        return f"/vector_stores/{target.dataset}/files/{target.document}"

    def preflight(self, dataset: str, cursor: str | None) -> Request:
        return get(f"/vector_stores/{dataset}")

    def listing(self, dataset: str, cursor: str | None) -> Request:
        return self.datasets(cursor, f"/vector_stores/{dataset}/files")

    def datasets(self, cursor: str | None, path: str = "/vector_stores") -> Request:
        return get(f"{path}?limit=100&order=asc" + (f"&after={quote(cursor, safe='')}" if cursor else ""))

    def error_words(self, value: object, answer: Answer) -> tuple[str, str]:
        error = value.get("error") if isinstance(value, dict) else None
        return f"{text(error, 'type')} {text(error, 'code')}".strip(), text(error, "message")

    def is_deleted(self, asked: Asked, answer: ParsedAnswer) -> bool:
        said = answer.fields
        return answer.status == 200 and said.get("deleted") is True and said.get("id") == asked.target.document

    def is_gone(self, asked: Asked, answer: ParsedAnswer) -> bool:
        # Behind a slash, its id is part of an address that this service does not know.
        id = asked.target.document
        return answer.status == 404 and id in answer.message and f"/{id}" not in answer.message

    def read_own(self, asked: Asked, answer: ParsedAnswer) -> Verdict | None:
        if asked.step == "delete" and self.is_deleted(asked, answer):
            return Ask("file")
        if asked.step == "delete" and self.is_gone(asked, answer) and (asked.listed or asked.doubt):
            return Ask("file", answer.reason)  # else it may be another store's file
        if asked.step != "check" and answer.status == 200 and answer.fields:
            return Requeue("unclear", "the service does not say that it is deleted")
        return None

    def is_dataset_gone(self, answer: ParsedAnswer) -> bool:
        return answer.status == 404 and "'vs_" in answer.message and "file-" not in answer.message

    def classify_common(self, answer: ParsedAnswer, *, doubt: bool) -> Failure | None:
        if answer.status == 403:
            return StopProvider(answer.reason, self.wrong_key)
        if answer.status == 404 and "file-" in answer.message:  # a listing's cursor is a file, which may be gone
            return Requeue("unclear", answer.reason)
        if answer.status == 429 and "insufficient_quota" in answer.code:
            return StopProvider(answer.reason, "waiting does not help: see to the account's credit and limits")
        return super().classify_common(answer, doubt=doubt)

    def rows_of(self, value: object, cursor: str | None) -> Rows:
        rows, more = (value.get("data"), value.get("has_more")) if isinstance(value, dict) else (None, None)
        if not isinstance(rows, list) or not isinstance(more, bool) or (more and not rows):
            raise Unreadable("it has no data, or no has_more")
        return rows, text(rows[-1], "id") if more and isinstance(rows[-1], dict) else None, None

    def document_from(self, row: Row) -> Document:
        id, created, status = text(row, "id"), timestamp(row, "created_at"), text(row, "status")
        return Document(id, "", created, status, indexing=status == "in_progress", ready=status == "completed")

    def dataset_from(self, row: Row) -> Dataset:
        return Dataset(text(row, "id"), text(row, "name"), integer(row.get("file_counts"), "total"))
