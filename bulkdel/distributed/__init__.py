"""The same deletes over several machines: a submitter, workers behind a broker, and one limit for all."""

from bulkdel.limits.redis_store import redis_limiter

__all__ = ["redis_limiter"]
