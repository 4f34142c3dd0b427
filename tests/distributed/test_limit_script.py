"""The script of the shared limit, in a real Redis that is told the time: any window, pauses, who takes part, clocks that are set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from bulkdel.distributed.script import LUA, Ask, arguments, keys, limit_words, read
from bulkdel.limits.joint import ABSENT_S, ACTIVE_S, joint_bucket
from bulkdel.model import Rate
from tests.distributed.redis_server import RedisServer
from tests.distributed.scripted import World
from tests.limits.departures import worst


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


STEP = st.tuples(
    st.sampled_from(["run", "run", "idle", "clock back", "crash", "flush", "pause", "slower", "join"]),
    st.floats(0, 1.3),
    st.sampled_from([0.001, 0.5, 60.0, 1e6]),
    st.floats(0, 1),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([Rate(8, 60), Rate(0.5), Rate(100, 60), Rate(50), Rate(400), Rate(1000)]),
    processes=st.integers(1, 5),
    steps=st.lists(STEP, max_size=8),
)
def test_no_window_holds_more_than_the_limit_over_all_processes(
    client: Redis, rate: Rate, processes: int, steps: list[tuple[str, float, float, float]]
) -> None:
    """Idle times, crashes, flushes, pauses, a slower wish, a clock set back: the sum keeps the limit, and demand gets 0.95 of it."""
    world = World(client, rate)
    n, per = (math.floor(rate.n), rate.per) if rate.n >= 1 else (1, rate.per / rate.n)
    names = [f"p{place}" for place in range(processes)]
    for what, share, offset, late in steps:
        match what:
            case "idle":
                world.time += share * per
            case "clock back":
                world.skew -= offset
            case "crash":  # another one in its place; what it held is lost
                names[0] = f"again {world.time} {share}"
            case "flush":
                client.flushall()
            case "pause":
                world.say(names[0], rate, pause_s=share * per / 4, own=True)
            case "slower":
                world.say("slow", Rate(rate.n / 2, rate.per))
            case "join":
                names.append(f"p{len(names)}")
        world.run(share * per, names, late)
    world.say("slow", None, act="leave")
    world.run(1.0, names)  # who takes part is looked at once a second
    world.times.sort()
    assert worst(world.times, per) <= n
    before = len(world.times)
    world.run(2 * per, names)
    lease = joint_bucket(rate).lease
    assert len(world.times) - before >= 0.95 * 2 * n - 2 * lease - 1


@pytest.mark.parametrize("processes", [2, 5, 40])
@pytest.mark.parametrize("rate", [Rate(10), Rate(200), Rate(2000)], ids=str)
def test_processes_come_one_after_another_and_share_alike(rate: Rate, processes: int, client: Redis) -> None:
    """They are told turns, so a lease costs little more than one look, however many wait; each gets its share."""
    world = World(client, rate)
    world.run(2000 / rate.per_second, [f"p{place}" for place in range(processes)])
    leases = len(world.times) / joint_bucket(rate).lease
    assert world.looks <= 1.2 * leases + 2 * processes
    fair = len(world.times) / processes
    assert all(0.8 * fair <= got <= 1.2 * fair for got in world.by.values())
    assert len(world.by) == processes


def test_those_who_leave_take_their_turns_with_them(client: Redis) -> None:
    """Most of those who wait end at once: the others have the whole limit with the next looks, not when the queue has passed."""
    world = World(client, Rate(200))
    names = [f"p{place}" for place in range(100)]
    world.run(5, names)
    for name in names[10:]:
        world.say(name, None, act="leave")
        world.next.pop(name)
    before = len(world.times)
    world.run(3, names[:10])
    assert len(world.times) - before >= 0.9 * 3 * 200


def test_first_use_and_a_flush_begin_with_an_empty_bucket(client: Redis) -> None:
    """What left before is not known, so nothing is granted until it came in; the next look is told when."""
    world = World(client, Rate(100, 60))
    for _ in range(2):
        first = world.look("a")
        assert (first.granted, first.fresh) == (0, True)
        assert first.wait_s == pytest.approx(1 / joint_bucket(Rate(100, 60)).per_second, abs=1e-5)
        world.time += first.wait_s
        second = world.look("a")
        assert (second.granted, second.fresh) == (1, False)
        client.flushall()


def test_the_slowest_limit_is_in_force_until_its_process_is_gone(client: Redis) -> None:
    """Two that want different limits keep the slower; it ends when its process leaves, or is silent for a minute."""
    world, fast, slow = World(client), Rate(100, 60), Rate(10, 60)
    world.say("a", fast)
    assert world.say("b", slow).rate == slow
    assert world.say("a", fast).rate == slow
    world.say("b", slow, act="leave")
    world.time += 1
    assert world.say("a", fast).rate == fast
    world.say("b", slow)
    world.time += ABSENT_S - 1
    assert world.say("a", fast).rate == slow
    world.time += 3
    heard = world.say("a", fast)
    assert (heard.rate, heard.active) == (fast, 1)


def test_who_is_silent_for_a_while_wants_nothing(client: Redis) -> None:
    """A process counts among those that share the rate while it looks, and its limit is kept longer than that."""
    world = World(client)
    world.say("a", Rate(10))
    assert world.say("b", None).active == 2
    world.time += ACTIVE_S + 2
    heard = world.say("b", None)
    assert (heard.active, heard.rate) == (1, Rate(10))


def test_a_change_of_the_limit_grants_no_burst(client: Redis) -> None:
    """What the bucket held goes over as far as it fits; where no limit was in force it begins empty."""
    world = World(client, Rate(1000))
    world.run(2, ["a"])
    world.time += 10  # full
    assert world.say("b", Rate(100)).rate == Rate(100)
    b, granted = joint_bucket(Rate(100)), 0
    while (look := world.look("a")).granted:
        granted += look.granted
    assert granted <= b.size
    world.rate = None
    world.say("b", None)
    assert world.say("a", None).rate is None
    world.time += 10
    world.rate = Rate(100)
    assert world.look("a").granted == 0


@given(pauses=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pause_only_lengthens(client: Redis, pauses: list[tuple[float, float]]) -> None:
    """Whatever is told, the pause ends at the latest end that was told; and nothing is granted before."""
    world = World(client, Rate(100))
    ends = 0.0
    for seconds, later in pauses:
        ends = max(ends, world.time + seconds)
        look = world.say("a", Rate(100), pause_s=seconds)
        assert look.paused_s == pytest.approx(max(0.0, ends - world.time), abs=1e-5)
        world.time += later
        if world.time < ends - 1e-3:
            assert world.look("b").granted == 0


def test_what_many_complain_of_at_once_is_one_complaint(client: Redis) -> None:
    """Eight processes are refused together: one strike; the next complaint is one when it is of what was sent since."""
    world = World(client, Rate(100))
    heard = [world.say(f"p{place}", Rate(100)).pauses for place in range(8)]
    assert heard == [0] * 8
    for place in range(8):
        look = world.say(f"p{place}", Rate(100), pause_s=1.0, own=True, heard=0)
        assert (look.before, look.pauses) == (min(place, 1), 1)
    world.time += 5  # the pause is over, and one answer to an old request comes in
    assert world.say("p9", Rate(100), pause_s=1.0, own=True, heard=0).pauses == 1
    world.time += 5
    assert world.say("p1", Rate(100), pause_s=1.0, own=True, heard=1).pauses == 2


@pytest.mark.parametrize("back", [0.5, 3600.0, 86_400.0 * 400])
def test_a_clock_that_is_set_back_stalls_nobody(back: float, client: Redis) -> None:
    """Redis' host sets its clock back: the pause does not grow, members are kept, and permits come as after an empty bucket."""
    world = World(client, Rate(100))
    world.run(1, ["a", "b"])
    world.say("a", Rate(100), pause_s=30.0)
    world.skew -= back
    look = world.look("b")
    assert look.paused_s == pytest.approx(30.0, abs=1e-5)
    assert look.active == 2
    world.time += 30.001
    assert world.look("a").paused_s == 0
    before = len(world.times)
    world.run(5, ["a", "b"])
    assert len(world.times) - before >= 0.93 * 500


def test_a_clock_that_is_set_forward_gives_one_bucket_at_most(client: Redis) -> None:
    """A day forward at once: what leaves in the window around it is at most one full bucket above the limit's own."""
    world = World(client, Rate(100))
    world.run(1, ["a"])
    world.skew += 86_400
    world.run(1, ["a"])
    assert worst(sorted(world.times), 1.0) <= 100 + joint_bucket(Rate(100)).size


def test_all_that_is_kept_is_forgotten_in_the_end(client: Redis) -> None:
    """Both keys of a scope have one tag and a time to live, after the last look and after a leave too."""
    world = World(client, Rate(100))
    world.say("late", None, act="leave")
    assert client.keys() == []
    world.look("a")
    state, members = keys("scope")
    assert set(client.keys()) == {state, members}
    assert state.partition("}")[0] == members.partition("}")[0] == "{bulkdel:scope"
    assert min(client.pttl(state), client.pttl(members)) > 0
    world.say("a", None, act="leave")
    assert client.pttl(state) > 0


def test_without_a_time_given_the_clock_is_redis_own(client: Redis) -> None:
    """Production tells no time: what a look writes is what TIME said around it."""
    world = World(client, Rate(100))
    script = client.register_script(LUA)
    first = client.time()
    read(script(keys=keys("own"), args=arguments(Ask("a", Rate(100)))))
    second = client.time()
    seen = float(str(client.hget(keys("own")[1], "a")).split()[0])
    assert first[0] * 1e6 + first[1] <= seen <= second[0] * 1e6 + second[1]
    assert world.looks == 0


@pytest.mark.parametrize("rate", [None, Rate(0.1), Rate(1 / 3, 7.7), Rate(8, 60), Rate(123456.789)])
def test_a_limit_survives_being_written(rate: Rate | None) -> None:
    """The limit that is heard is the one that was said, to the last digit."""
    assert read([0, 0, 0, 0, 0, 1, 0, limit_words(rate).encode()]).rate == rate


@pytest.mark.parametrize("reply", [[], None, 7, [0] * 7, [0, 0, 0, 0, 0, 1, 0, "1"], [None] * 8, ["x"] * 8])
def test_a_reply_that_is_none_is_refused(reply: Any) -> None:
    """Anything else than what the script returns is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        read(reply)
