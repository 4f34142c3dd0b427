"""When the next request may leave: the limiter, the rate, how many are in flight, and when a service is left alone."""

from bulkdel.limits.breaker import Breaker, GiveUp, Open
from bulkdel.limits.bucket import Bucket, bucket, shared_bucket
from bulkdel.limits.concurrency import ConcurrencySearch, Kind, Sample
from bulkdel.limits.limiter import Limiter, LimiterUnavailable, MakeLimiter, TokenStore
from bulkdel.limits.memory_store import MemoryStore
from bulkdel.limits.pace import Pace, RateMemory, Remembered
from bulkdel.limits.rate import Known, RateSearch

__all__ = [
    "Breaker",
    "Bucket",
    "ConcurrencySearch",
    "GiveUp",
    "Kind",
    "Known",
    "Limiter",
    "LimiterUnavailable",
    "MakeLimiter",
    "MemoryStore",
    "Open",
    "Pace",
    "RateMemory",
    "RateSearch",
    "Remembered",
    "Sample",
    "TokenStore",
    "bucket",
    "shared_bucket",
]
