"""A wrong id is no success: what was not there when first asked for is counted apart, or rejected."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bulkdel import Policy, Report
from bulkdel.plan import Plan
from tests import virtual
from tests.engine.world import Service, client, document_id, targets


@pytest.mark.parametrize("missing", ["ok", "fail"])
def test_what_was_never_there(missing: str) -> None:
    """A wrong id is already gone, or with ``missing="fail"`` rejected; one whose first answer was lost is deleted."""
    service = Service()
    ids = service.fill(2)
    service.script(ids[1], ["lost done"])

    async def main() -> None:
        async with client(service) as c:
            report = await c.delete(targets([*ids, document_id(99)]), policy=Policy(missing=missing))  # type: ignore[arg-type]
        outcomes = [settled.outcome for settled in report.settled]
        assert outcomes == ["deleted", "deleted", "already_gone" if missing == "ok" else "missing"]
        assert report.exit_status == (0 if missing == "ok" else 1)

    virtual.run(main())


@pytest.mark.parametrize("source", ["list", "iterator", "settle", "run file"])
def test_missing_fails_from_every_source(source: str, tmp_path: Path) -> None:
    """Streamed or kept: a wrong id is rejected as ``missing``; a run that goes on with ``missing="ok"`` counts it as gone."""
    service, path, policy = Service(), tmp_path / "a.run", Policy(missing="fail")
    given = targets([*service.fill(3), document_id(99)])

    async def main() -> None:
        async with client(service, policy=policy) as c:
            if source == "settle":
                async with c.settle(iter(given)) as outcomes:
                    assert Counter([one.outcome async for one in outcomes]) == {"deleted": 3, "missing": 1}
                report = outcomes.report
            elif source == "run file":
                report = await c.delete(given, run=path)
            else:
                report = await c.delete(given if source == "list" else iter(given))
            assert report is not None
            assert (report.exit_status, report.deleted, report.reasons) == (1, 3, {"missing": 1})
            if source == "run file":
                again = await c.resume(path, retry_rejected=True)
                assert (again.exit_status, again.deleted, again.reasons) == (1, 3, {"missing": 1})
                again = await c.resume(path, policy=Policy(missing="ok"), retry_rejected=True)
                assert (again.exit_status, again.deleted, again.already_gone) == (0, 3, 1)

    virtual.run(main)


def test_an_id_that_is_never_sent_stands_in_the_plan() -> None:
    """The plan says how many ids are refused, and shows the first of them and why; the others are deleted all the same."""
    service, plans = Service(), list[Plan]()
    given = targets([*service.fill(2), "../datasets", "a/b"])

    async def main() -> Report:
        async with client(service) as c:
            return await c.delete(given, on_plan=plans.append)

    report = virtual.run(main)
    (planned,) = plans[0].datasets
    assert (planned.selected, planned.invalid) == (4, 2)
    assert planned.first_invalid.startswith("../datasets (")
    assert (report.deleted, report.reasons) == (2, {"invalid_id": 2})
