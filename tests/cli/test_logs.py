"""What the log says of each event: at which level, how often, and never more than it should."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from bulkdel import events
from bulkdel.cli import logs
from bulkdel.cli.context import AppContext
from bulkdel.cli.options import Options
from bulkdel.model import Outcome, Rate, Settled, Target
from tests.cli.outside import Terminal

WIDE = {"COLUMNS": "120"}
TARGET = Target("dify", "ds", "doc")


def settled(outcome: Outcome) -> events.Settled:
    return events.Settled(Settled(TARGET, outcome, "be \x1b[2Jcause", 2, "na\nme", 0.0))


def logged(work: Callable[[Any], None], **how: Any) -> list[dict[str, Any]]:
    """What ``work`` makes the log say, as JSON lines."""
    err = io.StringIO()
    with logs.configure_logging(AppContext(stderr=err).screen, Options(log_json=True, **how)) as log:
        work(log)
    return [json.loads(line) for line in err.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("event", "level", "words"),
    [
        (events.Listed("dify", "ds", "n", 10, 8), "info", "listed"),
        (settled("deleted"), "debug", "settled"),
        (settled("not_attempted"), "debug", "settled"),
        (settled("archived"), "warning", "rejected"),
        (events.Requeued(TARGET, "trouble", "server error", 1.23456), "debug", "requeued"),
        (events.Paused("dify", "too many", 60.0), "warning", "paused"),
        (events.Resumed("dify"), "info", "resumed"),
        (events.Stopped("dify", "", "key refused", "look"), "error", "provider stopped"),
        (events.Stopped("dify", "ds", "no such dataset"), "error", "dataset stopped"),
        (events.Verified("dify", "ds", 0, 0), "info", "listed again"),
        (events.Verified("dify", "ds", 3, 1), "warning", "listed again"),
        (events.Verified("dify", "ds", 3, 0, 2), "warning", "listed again"),
        (events.Verified("dify", "ds", 3, 0, 3), "info", "listed again"),
        (events.RateLearned("dify", Rate(80.4321, per=60), 7200.0), "info", "rate learned"),
    ],
)
def test_each_event_has_the_level_of_its_consequences(event: events.Event, level: str, words: str) -> None:
    """-q shows what is an error, the default what the user should know, -v everything."""
    (line,) = logged(lambda log: logs.listener(log)(event), verbose=True)
    assert (line["level"], line["event"]) == (level, words)
    assert bool(logged(lambda log: logs.listener(log)(event))) == (level != "debug")
    assert bool(logged(lambda log: logs.listener(log)(event), quiet=True)) == (level == "error")


def test_a_learned_rate_is_logged_with_what_overrides_it() -> None:
    """Where lines are JSON, too, the option is named, and the key of a job file, which has no such option."""
    learned = events.RateLearned("dify", Rate(80, per=60), 7200.0)
    (line,) = logged(lambda log: logs.listener(log)(learned))
    assert line["hint"] == "--rate overrides (in a job file: rate)"


def test_rejected_documents_are_logged_one_by_one_only_at_first() -> None:
    """A hundred thousand rejected documents are twenty lines and one that says why no more come."""

    def reject(log: Any) -> None:
        hear = logs.listener(log)
        for _ in range(1000):
            hear(settled("archived"))

    lines = logged(reject)
    assert len(lines) == 20 + 1
    assert lines[-1]["event"] == "further rejected documents are counted only"
    assert len(logged(reject, verbose=True)) == 1001


def test_words_from_outside_are_made_safe() -> None:
    """A name or reason brings no escapes and no line breaks into the log, JSON or not."""
    (line,) = logged(lambda log: logs.listener(log)(settled("archived")))
    assert (line["name"], line["reason"]) == ("na me", "be cause")
    err = Terminal()
    with logs.configure_logging(AppContext(stderr=err, environ=WIDE).screen, Options()) as log:
        logs.listener(log)(settled("archived"))
    assert err.getvalue().count("\n") == 1
    assert "\x1b" not in err.getvalue()


def test_the_librarys_own_logger_speaks_here_too() -> None:
    """What the engine tells logging.getLogger("bulkdel"), or structlog, comes in the same form."""
    lines = logged(lambda log: logging.getLogger("bulkdel.engine").warning("from the %s", "library"))
    assert [line["event"] for line in lines] == ["from the library"]
    lines = logged(lambda log: structlog.get_logger("bulkdel").warning("on_event raised", error="KeyError"))
    assert [(line["event"], line["error"]) for line in lines] == [("on_event raised", "KeyError")]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_in_the_log_shows_no_values(as_json: bool) -> None:
    """structlog's own display of local variables would show the key."""
    err = Terminal()
    with logs.configure_logging(
        AppContext(stderr=err, environ=WIDE).screen, Options(verbose=True, log_json=as_json)
    ) as log:
        key = "dataset-a-key-in-a-variable"
        try:
            raise ValueError(len(key))
        except ValueError:
            log.exception("it failed")
    assert "ValueError" in err.getvalue()
    assert key not in err.getvalue()


def test_nothing_of_it_is_left_behind() -> None:
    """A program that calls the command inside itself keeps its own logging."""
    before = (
        list(logging.getLogger("bulkdel").handlers),
        logging.getLogger("bulkdel").propagate,
        structlog.is_configured(),
    )
    logged(lambda log: None)
    after = (
        list(logging.getLogger("bulkdel").handlers),
        logging.getLogger("bulkdel").propagate,
        structlog.is_configured(),
    )
    assert after == before


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (events.Listed("dify", "ds", "Manuals", 10, 8), "listed Manuals: 10 documents, 8 selected"),
        (events.Listed("dify", "ds", "", 10, 8), "listed ds: 10 documents, 8 selected"),
        (settled("deleted"), "deleted: na me (doc): be cause"),
        (settled("archived"), "warning: rejected na me (doc): be cause"),
        (events.Requeued(TARGET, "trouble", "server error", 2.0), "asked again in 2 s (trouble): doc: server error"),
        (events.Paused("dify", "too many", 60.0), "warning: nothing is sent to dify for 1 min: too many"),
        (events.Resumed("dify"), "dify goes on"),
        (events.Stopped("dify", "", "key refused", "look"), "error: dify stopped: key refused; look"),
        (events.Stopped("dify", "ds", "no such dataset"), "error: dify / ds stopped: no such dataset"),
        (events.Verified("dify", "ds", 0, 0), "listed again ds: empty"),
        (
            events.Verified("dify", "ds", 3, 1, name="na\nme"),
            "warning: listed again na me: 3 still there, 1 of them new",
        ),
        (events.Verified("dify", "ds", 16, 0, 16), "listed again ds: 16 still there, all of them skipped"),
        (
            events.Verified("dify", "ds", 3, 1, 1),
            "warning: listed again ds: 3 still there, 1 of them new, 1 of them skipped",
        ),
    ],
)
def test_people_read_sentences(event: events.Event, words: str) -> None:
    """On a terminal each event is one sentence behind the time, and only what is grave is named so."""
    err = Terminal()
    with logs.configure_logging(AppContext(stderr=err, environ=WIDE).screen, Options(verbose=True)) as log:
        logs.listener(log)(event)
    when, _, said = err.getvalue().removesuffix("\n").partition(" ")
    assert len(when.split(":")) == 3
    assert said == words


@pytest.mark.parametrize("fields", [{"provider": "x"}, {"reason": None}, {}])
def test_another_programs_event_is_logged_as_it_is(fields: dict[str, Any]) -> None:
    """An event of a name that we use, without our fields, and one that is not known, are named with their fields."""
    err = Terminal()
    with logs.configure_logging(AppContext(stderr=err, environ=WIDE).screen, Options(verbose=True)) as log:
        log.warning("paused", **fields)
        log.info("something else", **fields)
    first, second = err.getvalue().splitlines()
    assert "warning: paused" in first
    assert "something else" in second
