"""What both simulators share: the wire, rate limits in every style, outages, queues, and serving until it is enough."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from bulkdel.simulator import DifySimulator, Faults, LangdockSimulator, RateStyle, Simulator
from tests import virtual
from tests.simulator.helpers import Answer, Client


async def deletes(client: Client, count: int) -> list[Answer]:
    dataset = client.simulator.dataset_ids[0]
    return [await client.delete(dataset, held.id) for held in client.simulator.documents(dataset)[:count]]


@pytest.mark.parametrize("make", [DifySimulator, LangdockSimulator])
def test_both_are_filled_served_and_looked_at_the_same_way(make: type[Simulator]) -> None:
    """It can be filled before it is started and looked at after it is stopped; its log has every request in order."""

    async def main() -> None:
        simulator = make(documents=(3, 0), seed=5)
        first, second = simulator.dataset_ids
        added = simulator.add_document(second, name="late.md", created_at=1_700_000_000, archived=True)
        async with simulator:
            client = Client(simulator)
            begun = asyncio.get_running_loop().time()
            await asyncio.sleep(10)
            victim = simulator.documents(first)[0].id
            await client.delete(first, victim)
            await client.ask("GET", "/nowhere?x=1")
        assert [(request.method, request.status) for request in simulator.requests][1] == ("GET", 404)
        assert simulator.requests[0].path.endswith(victim)
        assert simulator.requests[1].path.endswith("/nowhere?x=1")
        assert simulator.requests[0].at == pytest.approx(begun + 10, abs=0.1)
        assert simulator.deleted == [victim]
        assert simulator.remaining == 3
        held = simulator.documents(second)[0]
        assert (held.id, held.name, held.created_at, held.archived) == (added, "late.md", 1_700_000_000, True)

    virtual.run(main)


STYLES: list[tuple[RateStyle, int, str]] = [
    ("429", 429, "too_many_requests"),
    ("429-retry-after", 429, "too_many_requests"),
    ("429-date", 429, "too_many_requests"),
    ("429-reset", 429, "too_many_requests"),
    ("403", 403, "forbidden"),
    ("529", 529, "overloaded_error"),
    ("1015", 429, ""),
]


@pytest.mark.parametrize(("style", "status", "code"), STYLES)
def test_the_rate_limit_in_every_style(style: RateStyle, status: int, code: str) -> None:
    """Two pass, the third is refused in the style's own words, says how long to wait if it has words for that, and deletes nothing."""

    async def main() -> None:
        simulator = DifySimulator(documents=9, faults=Faults(rate_limit=2, rate_window=60, rate_style=style))
        async with simulator:
            client = Client(simulator)
            await asyncio.sleep(0.5)
            first, second, third = await deletes(client, 3)
            assert (first.status, second.status, third.status) == (204, 204, status)
            assert (simulator.refused, len(simulator.deleted)) == (1, 2)
            if code:
                assert third.json["code"] == code
                assert "X-Version" in third.headers
            else:
                assert "<html" in third.text
                assert "X-Version" not in third.headers
            assert ("Retry-After" in third.headers) == (style in ("429-retry-after", "429-date"))
            match style:
                case "429-retry-after":
                    assert 59 <= int(third.headers["Retry-After"]) <= 60
                case "429-reset":
                    assert 59 <= int(third.headers["x-ratelimit-reset-requests"]) <= 60
                case "429-date":
                    date, until = (parsedate_to_datetime(third.headers[name]) for name in ("Date", "Retry-After"))
                    assert 60 <= (until - date).total_seconds() <= 62
                case "403":
                    assert "request rate limit" in third.json["message"]
                case _:
                    pass
            # The refused one counts too: when the first two have left the window, one more passes and not two.
            await asyncio.sleep(60.01)
            simulator.refused = 0
            assert [answer.status for answer in await deletes(client, 3)] == [204, 204, status]

    virtual.run(main)


def test_refused_requests_count_against_the_window() -> None:
    """A client that goes on asking stays locked out at Dify Cloud, and gets its share if refused ones do not count."""

    async def passed(*, counted: bool) -> int:
        faults = Faults(rate_limit=10, rate_window=1, rate_style="403", count_refused=counted)
        simulator = DifySimulator(documents=60, faults=faults)
        async with simulator:
            client = Client(simulator)
            dataset = simulator.dataset_ids[0]
            for held in simulator.documents(dataset):
                await client.delete(dataset, held.id)
                await asyncio.sleep(0.09)
        return len(simulator.deleted)

    assert virtual.run(passed(counted=True)) <= 12
    assert virtual.run(passed(counted=False)) >= 50


def test_the_servers_clock_can_be_wrong() -> None:
    """Its Date and its Retry-After are then wrong together."""

    async def main() -> float:
        faults = Faults(rate_limit=1, rate_style="429-date", clock_skew=-7200)
        async with DifySimulator(documents=3, faults=faults, epoch=1.8e9) as simulator:
            client = Client(simulator)
            answer = (await deletes(client, 2))[1]
            until = parsedate_to_datetime(answer.headers["Retry-After"]).timestamp()
            assert until - parsedate_to_datetime(answer.headers["Date"]).timestamp() == pytest.approx(61, abs=1)
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()

    assert virtual.run(main) == pytest.approx(1.8e9 - 7200, abs=2)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_restart_lasts_its_time(status: Any) -> None:
    """From the n-th delete on everything is the proxy's page without X-Version; then all is well again, and it does not come back."""

    async def main() -> None:
        faults = Faults(outage_after=2, outage_for=30, outage_status=status)
        async with DifySimulator(documents=9, faults=faults) as simulator:
            client = Client(simulator)
            answers = await deletes(client, 4)
            assert [answer.status for answer in answers] == [204, 204, status, status]
            assert "X-Version" not in answers[3].headers
            assert "<html" in answers[3].text
            await asyncio.sleep(31)
            assert [answer.status for answer in await deletes(client, 4)] == [204] * 4

    virtual.run(main)


@pytest.mark.parametrize(("intercept", "status"), [("login", 200), ("redirect", 302), ("forbidden", 403)])
def test_a_proxy_in_front_answers_for_the_service(intercept: Any, status: int) -> None:
    """What it answers is no JSON, has no X-Version, and deletes nothing."""

    async def main() -> None:
        faults = Faults(intercept=intercept, intercept_after=1)
        async with DifySimulator(documents=3, faults=faults) as simulator:
            client = Client(simulator)
            good, answer = await deletes(client, 2)
            assert (good.status, answer.status) == (204, status)
            assert "X-Version" not in answer.headers
            assert answer.headers["Content-Type"].startswith("text/html")
            assert ("Location" in answer.headers) == (intercept == "redirect")
            assert len(simulator.deleted) == 1

    virtual.run(main)


def test_idle_connections_are_closed() -> None:
    """A connection that is idle for longer than the server keeps it is gone; the next request needs a new one."""

    async def main() -> list[int]:
        made = 0

        async def count(*_: object) -> None:
            nonlocal made
            made += 1

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(count)
        simulator = DifySimulator(documents=3, faults=Faults(keepalive=2))
        seen = []
        async with simulator, aiohttp.ClientSession(trace_configs=[trace]) as session:
            for wait in (0, 1, 3):
                await asyncio.sleep(wait)
                async with session.get(simulator.base_url + "/datasets") as response:
                    assert response.status == 401
                    await response.read()
                seen.append(made)
        return seen

    assert virtual.run(main) == [1, 1, 2]


def test_a_delete_whose_client_has_gone_still_runs() -> None:
    """The work goes on after the client's timeout, as it does in the real one."""

    async def main() -> None:
        async with DifySimulator(documents=3, faults=Faults(latency=60)) as simulator:
            client = Client(simulator)
            dataset = simulator.dataset_ids[0]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await client.delete(dataset, simulator.documents(dataset)[0].id)
            assert simulator.deleted == []
            await asyncio.sleep(31)
            assert len(simulator.deleted) == 1

    virtual.run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_it_listens_on_loopback(host: str) -> None:
    """Each word for loopback works, and the base URL leads there."""

    async def main() -> None:
        async with LangdockSimulator(documents=1, host=host) as simulator:
            client = Client(simulator)
            assert host in simulator.base_url
            assert (await client.ask("GET", "/knowledge")).status == 200

    asyncio.run(main())


def test_a_port_can_be_chosen_once() -> None:
    """A second simulator on a taken port says so, and leaves nothing open."""

    async def main() -> None:
        async with DifySimulator(documents=0) as simulator:
            with pytest.raises(OSError, match="address already in use"):
                await DifySimulator(documents=0, port=simulator.port).start()

    asyncio.run(main())
