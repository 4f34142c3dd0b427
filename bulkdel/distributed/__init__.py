"""Beyond one process: the one limit of a key, kept by all workers on all machines together."""

from bulkdel.distributed.limit import RedisPacer, redis_pacer

__all__ = ["RedisPacer", "redis_pacer"]
