"""The wire: one request out, one reply back, and every failure a value; the only package that imports aiohttp."""

from bulkdel.wire.http import HttpWire

__all__ = ["HttpWire"]
