"""When the next request may leave: the rate, the shared pause, how many are in flight, and when a service is left alone."""

from bulkdel.limits.boundary import MakePacer, Pacer, PacerLost
from bulkdel.limits.breaker import Breaker, GiveUp, Open
from bulkdel.limits.bucket import Bucket, bucket, lower
from bulkdel.limits.concurrency import Concurrency
from bulkdel.limits.pace import Pacing
from bulkdel.limits.rate import RateControl
from bulkdel.limits.slots import Slots
from bulkdel.limits.window import Kind, Sample

__all__ = [
    "Breaker",
    "Bucket",
    "Concurrency",
    "GiveUp",
    "Kind",
    "MakePacer",
    "Open",
    "Pacer",
    "PacerLost",
    "Pacing",
    "RateControl",
    "Sample",
    "Slots",
    "bucket",
    "lower",
]
