"""Dify's answers taken apart, and what one means whatever was asked; the numbers are rows of Dify's delete contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from bulkdel.backoff import retry_after
from bulkdel.providers import words
from bulkdel.providers.protocol import Answer, Failure, Pause, Requeue, StopDataset, StopProvider

# A refused call counts against the same window, so nothing is asked before the whole window has passed.
_CLOUD_WINDOW: Final = 60.0

_PROXY_PAUSES: Final = 3  # a proxy that blocks three times in a row, with nothing else in between, means it
_EARLY_PAUSES: Final = 10  # a 408 or 425 that never ends is no rate limit, and would pause for ever
# Seconds that a Retry-After on a server error may hold one document: its own wish is no limit on the others.
_LONGEST_REQUEUE: Final = 300.0

_WRONG_ADDRESS: Final = "check the base URL: a self-hosted Dify's ends in /v1, and no login page may stand before it"
_WRONG_KEY: Final = "give a dataset API key of this workspace (dataset-…), from Knowledge > Service API"


class Said(NamedTuple):
    """An answer taken apart: its JSON value, Dify's ``code`` and ``message`` (raw), the words to show, and where it redirects to."""

    answer: Answer
    value: object
    code: str
    message: str
    shown: str
    location: str

    @property
    def reason(self) -> str:
        """What people are told: the service's own words, or the status with whatever was said instead."""
        return self.shown if self.message else words.http(self.answer.status, self.shown)


def take_apart(answer: Answer, clean: Callable[[str], str]) -> Said:
    """``clean`` makes the service's words safe to show."""
    value = words.parse(answer)
    code = message = ""
    if isinstance(value, dict):
        code, message = words.text(value, "code"), words.text(value, "message")
    shown = clean(message or code or words.page(answer))
    return Said(answer, value, code, message, shown, clean(answer.headers.get("location", "")))


def is_success(value: object) -> bool:
    """The two bodies of a 200 that mean success: up to 1.3.0 an object, from 1.4.0 to 1.12.1 a number."""
    return value == {"result": "success"} or (type(value) is int and value == 204)


def is_404(said: Said, whose: str) -> bool:
    """Whether Dify itself says that a ``Document`` or ``Dataset`` is not there."""
    # A suffix may follow ("… You have requested this URI … but did you mean …").
    return said.answer.status == 404 and said.code == "not_found" and said.message.startswith(whose)


def usual_meaning(said: Said, *, doubt: bool) -> Failure | None:
    """What an answer means whatever was asked; None where that depends on the question.

    ``doubt``: it was a delete, which a server error may have carried out all the same.
    """
    answer, message = said.answer, said.message
    status, headers = answer.status, answer.headers
    if status == 400 and said.code == "invalid_param":
        if message.startswith(("Dataset does not exist", "Dataset is not exist")):  # 5
            return StopDataset(said.reason)
        if message.startswith("Unable to retrieve billing information"):  # 6: asked before anything is deleted
            return Requeue("trouble", said.reason)
    elif status == 401:  # 8
        return StopProvider(said.reason, _WRONG_KEY)
    elif status == 403:
        if said.code == "forbidden" and "request rate limit" in message:  # 10
            return Pause(said.reason, after=_CLOUD_WINDOW, slower=True)
        if said.code == "forbidden" and message.startswith("Dataset api access is not enabled"):  # 11
            return StopDataset(said.reason)
        if not isinstance(said.value, dict) or "x-version" not in headers:  # 12: a proxy, not Dify
            return Pause(f"blocked before Dify: {said.reason}", slower=False, stop_after=_PROXY_PAUSES)
    elif status == 404 and not said.code:  # 16
        return StopProvider(f"no such route: {said.reason}", _WRONG_ADDRESS)
    elif status in (408, 425, 429):  # 17
        after = retry_after(headers.get("retry-after"), headers.get("date"))
        if status == 429:
            return Pause(said.reason, after=after, slower=True)
        return Pause(said.reason, after=after, slower=False, stop_after=_EARLY_PAUSES)
    elif 300 <= status < 400:  # 22
        where = said.location
        return StopProvider(f"redirected, HTTP {status}: {where}" if where else said.reason, _WRONG_ADDRESS)
    elif status >= 500 or status < 200:  # 18, 19, and what is no HTTP status at all
        wait = retry_after(headers.get("retry-after"), headers.get("date"))
        after = None if wait is None else min(wait, _LONGEST_REQUEUE)
        return Requeue("trouble", said.reason, doubt=doubt, after=after)
    return None


def why_unanswered(said: Said, what: str) -> Failure:
    """Why a question (``what`` was asked for) has no answer."""
    usual = usual_meaning(said, doubt=False)
    if usual is not None:
        return usual
    answer = said.answer
    if 200 <= answer.status < 300:
        if answer.cut:
            return words.unreadable(what, f"longer than {len(answer.body)} bytes")
        if said.value is words.NOT_JSON and words.broken_off(answer):
            return Requeue("trouble", f"{what} could not be read: it broke off")
        return not_dify(said)
    if answer.status in (400, 403, 404, 405, 415, 422):
        return StopDataset(said.reason) if said.code else not_dify(said)
    return Requeue("unclear", said.reason)


def not_dify(said: Said) -> StopProvider:
    """An answer that no Dify gives: something else is at the base URL, or stands before it."""
    return StopProvider(f"this is not Dify's answer: {words.http(said.answer.status, said.shown)}", _WRONG_ADDRESS)
