"""A Dify and a Langdock that behave like the real ones, on loopback, with faults to switch on.

They are apart from the engine and import nothing of it: what both agree on is what the services really do.

    async with DifySimulator(documents=1230, faults=Faults(error_500=0.05), seed=7) as simulator:
        simulator.base_url, simulator.key, simulator.dataset_ids     # what a client is given
        simulator.documents(dataset), simulator.deleted              # what the server holds, and what it has deleted
        simulator.requests, simulator.refused, simulator.danger      # what it was asked
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bulkdel.simulator.faults import ErrorShape, Faults, Intercept, Mishap, RateStyle

if TYPE_CHECKING:
    from bulkdel.simulator.core import Simulator
    from bulkdel.simulator.dify import DifySimulator
    from bulkdel.simulator.documents import Held
    from bulkdel.simulator.langdock import LangdockSimulator
    from bulkdel.simulator.server import Logged

__all__ = [
    "DifySimulator",
    "ErrorShape",
    "Faults",
    "Held",
    "Intercept",
    "LangdockSimulator",
    "Logged",
    "Mishap",
    "RateStyle",
    "Simulator",
]


def __getattr__(name: str) -> Any:
    """What needs aiohttp is imported when it is first used: the command's options are made from ``Faults`` alone."""
    homes = {
        "DifySimulator": "dify",
        "Held": "documents",
        "LangdockSimulator": "langdock",
        "Logged": "server",
        "Simulator": "core",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{homes[name]}"), name)
