"""What a command wants done, as one value that the runner carries out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bulkdel.cli.options import Options
from bulkdel.model import Policy, Target

if TYPE_CHECKING:
    from bulkdel.cli.broker import RemoteWorkers
    from bulkdel.model import PurgeRequest
    from bulkdel.providers.protocol import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done, once everything that was given is found good.

    ``purges`` are whole datasets and ``targets`` explicit documents; of a resumed run ``run`` holds both. ``label`` is what a new run file is called, ``more`` is kept in its header. ``resume_options`` stand in the
    command that goes on with it. ``agreed``: nothing has to be confirmed. ``workers`` make the deletes, None if this process does.
    ``keeps_state``: learned rates are remembered, and limits shared with other processes. ``quiet_log``: only errors are logged, though progress is shown.
    """

    act: Literal["purge", "delete", "plan", "resume", "job", "verify"]
    options: Options
    providers: tuple[Provider, ...]
    policy: Policy
    label: str = ""
    purges: Sequence[PurgeRequest] = ()
    targets: Iterable[Target] | None = None
    run: Path | None = None
    more: Mapping[str, Any] | None = None
    resume_options: Sequence[str] = ()
    confirm_by_name: bool = True
    from_stdin: bool = False
    agreed: bool = False
    workers: RemoteWorkers | None = None
    keeps_state: bool = True
    quiet_log: bool = False

    @property
    def deletes(self) -> bool:
        return not self.options.dry_run and self.act not in ("plan", "verify")
