"""Notices a proxy that takes a service's own mark away, and says so with each answer (a provider itself has no memory)."""

from __future__ import annotations

from bulkdel.providers.protocol import Answer, Provider, Reply, Request, Wire


class MarkAwareWire:
    """A wire whose answers know whether the absence of the service's mark says anything: ``Answer.mark_stripped``."""

    def __init__(self, wire: Wire, provider: Provider) -> None:
        self._wire = wire
        self._provider = provider
        self._stripped = False

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        """One attempt; only cancellation is raised."""
        reply = await self._wire.send(request, timeout=timeout, connect_timeout=connect_timeout)
        if not isinstance(reply, Answer):
            return reply
        self._stripped = self._stripped or self._provider.lacks_mark(reply)
        return reply._replace(mark_stripped=True) if self._stripped else reply
