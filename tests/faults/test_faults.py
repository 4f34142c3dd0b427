"""Each promise holds with sound parts, and its check fails with a faulty one: a check that cannot fail is worth nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdel.errors import BrokenPromise
from tests import virtual
from tests.faults.checks import CHECKS, Check
from tests.faults.faults import FAULTS, Fault
from tests.faults.parts import Parts


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_sound_parts_keep_the_promise(check: Check, tmp_path: Path) -> None:
    virtual.run(check(Parts(), tmp_path))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.words)
def test_a_fault_is_noticed(fault: Fault, tmp_path: Path) -> None:
    """The check of the promise that this fault breaks fails, or bulkdel notices by itself that its counts do not add up."""
    with pytest.raises((AssertionError, BrokenPromise)):
        virtual.run(fault.check(fault.parts, tmp_path))
