"""The broker's address, the variables, and what the command says where something is missing."""

from __future__ import annotations

import sys

import pytest

from bulkdel.distributed.app import create_app, redis_url, seconds, without_password
from bulkdel.errors import ConfigurationError
from tests.cli.outside import invoke


@pytest.mark.parametrize(
    ("given", "password", "url", "shown"),
    [
        ("redis://h:6379/0", "", "redis://h:6379/0", "redis://h:6379/0"),
        ("celery://h:6379/1", "", "redis://h:6379/1", "celery://h:6379/1"),
        ("rediss://u:p@h/0", "", "rediss://u:p@h/0", "rediss://h/0"),
        ("rediss://u:p@h/0", "q", "rediss://u:p@h/0", "rediss://h/0"),
        ("redis://h/0", "p/w@", "redis://:p%2Fw%40@h/0", "redis://h/0"),
        ("redis://h/0?password=p", "", "redis://h/0?password=p", "redis://h/0"),
    ],
)
def test_the_address_of_the_broker(given: str, password: str, url: str, shown: str) -> None:
    """celery:// is redis://, the environment's password is put in where there is none, and none is ever shown."""
    assert redis_url(given, {"BULKDEL_BROKER_PASSWORD": password}) == url
    assert without_password(given) == shown


@pytest.mark.parametrize("given", ["", "h:6379", "amqp://u:secret@h", "redis://", "http://h"])
def test_another_broker_is_refused(given: str) -> None:
    """What is not a Redis is refused, and not repeated: it may hold a password."""
    with pytest.raises(ConfigurationError, match="must be a Redis") as refused:
        redis_url(given)
    assert "secret" not in str(refused.value)


def test_durations_of_the_environment() -> None:
    """A number of seconds above 0, or the default."""
    assert seconds("X", 3.0, {}) == 3.0
    assert seconds("X", 3.0, {"X": " 0.5 "}) == 0.5
    for wrong in ("0", "-1", "inf", "nan", "1m"):
        with pytest.raises(ConfigurationError, match="must be a number of seconds"):
            seconds("X", 3.0, {"X": wrong})


def test_the_settings_under_which_nothing_is_lost() -> None:
    """Acknowledged late, redelivered after a lost worker, one at a time, JSON alone, and logs left alone."""
    with create_app("redis://127.0.0.1:1/0") as app:
        conf = app.conf
        assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (
            True,
            True,
            1,
        )
        assert (conf.task_serializer, conf.accept_content, conf.worker_hijack_root_logger) == ("json", ["json"], False)
        assert conf.broker_transport_options["visibility_timeout"] == 100
        assert "bulkdel.purge_shard" in app.tasks


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, with what is missing and what installs it; nothing is sent."""
    for name in [name for name in sys.modules if name.split(".")[0] == "celery"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("bulkdel.cli.broker.find_spec", lambda name: None)
    seen = invoke("worker", "--broker", "redis://127.0.0.1:1/0")
    assert seen.status == 2
    assert seen.stderr.splitlines() == [
        "error: work on several machines needs packages that are not installed: celery",
        "hint: in bulkdel's checkout: pip install '.[celery]'",
    ]


def test_wrong_words() -> None:
    """No broker, a wrong one, and a job that keeps no run file: exit 2, each with its sentence."""
    assert "no broker was given" in invoke("worker").stderr
    wrong = invoke("worker", "--broker", "amqp://h")
    assert (wrong.status, "must be a Redis" in wrong.stderr) == (2, True)
