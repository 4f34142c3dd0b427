"""Dify's PATCH of a document's status: what each action does, when it is refused, and the indexing lock it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bulkdel.simulator.state import Document


@dataclass(frozen=True, slots=True)
class NotNow:
    """The action is refused, and with it those of all other documents of the request."""

    why: str


@dataclass(frozen=True, slots=True)
class Update:
    """What an accepted action does to one document."""

    document: Document
    change: Callable[[Document, int], None]
    """Is given the document and the unix time."""
    locks: bool
    """A worker is sent to take it out of the index or back into it, and holds the lock meanwhile."""
    embeds: bool = False
    """The worker writes to the index: a DELETE that races it leaves orphans."""

    def apply(self, unix: int, until: float) -> None:
        """Change the document, and lock it until the worker will be through."""
        self.change(self.document, unix)
        if self.locks:
            self.document.locked_until = until
        if self.embeds:
            self.document.embedding_until = until


def prepare(document: Document, action: str, now: float) -> Update | NotNow | None:
    """Decide what ``action`` does to ``document``; None when there is nothing to do.

    ``action`` is one of enable, disable, archive, un_archive.
    """
    if now < document.locked_until:
        return NotNow(f"Document:{document.name} is being indexed, please try again later")
    match action:
        case "enable":
            return None if document.enabled else Update(document, _enable, locks=True, embeds=True)
        case "disable":
            if document.status(now) != "completed":
                return NotNow(f"Document: {document.name} is not completed.")
            return Update(document, _disable, locks=True) if document.enabled else None
        case "archive":
            return None if document.archived else Update(document, _archive, locks=document.enabled)
        case "un_archive":
            if not document.archived:
                return None
            # The safe order is disable, then un_archive: a disabled document is not embedded again.
            return Update(document, _unarchive, locks=document.enabled, embeds=document.enabled)
        case _:
            raise ValueError(f"not an action: {action}")


def _enable(document: Document, _: int) -> None:
    document.enabled, document.disabled_at = True, None


def _disable(document: Document, unix: int) -> None:
    document.enabled, document.disabled_at = False, unix


def _archive(document: Document, _: int) -> None:
    document.archived = True


def _unarchive(document: Document, _: int) -> None:
    document.archived = False
