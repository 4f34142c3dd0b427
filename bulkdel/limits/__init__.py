"""When the next request may leave: the limiter, the rate, how many are in flight, and when a service is left alone.

What a caller does with it, for one provider (all times are the event loop's, in seconds):

``Limiter(store, rate)``
    ``try_acquire()`` or else ``await acquire()`` before each request (raises ``LimiterUnavailable``);
    ``pause(seconds, sent_at)`` says whether that is a new complaint, ``paused_since(sent_at)`` whether one is answered already;
    ``paused_s``, ``rate``, ``allowed_per_second``, ``processes``, ``rate_is_anothers``, ``trouble`` and ``waiting`` to show;
    ``set_rate(rate)``; ``await aclose()``.
``MemoryStore()``, ``file_store.FileStore(folder, fingerprint)``, ``redis_store.redis_limiter(url)``
    where the tokens are: in this process, between the processes of a machine, between machines.
``RateSearch``
    what rate to keep when the service refuses one: ``passed``, ``refused``, ``rate``.
``Concurrency``, ``Slots``, ``Breaker``
    how many requests may be in flight, the slots themselves, and when to leave a failing service alone.
"""

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
