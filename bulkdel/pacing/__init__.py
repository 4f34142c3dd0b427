"""When the next request may leave: the rate, the shared pause, how many are in flight, and when a service is left alone."""

from bulkdel.pacing.boundary import MakePacer, Pacer, PacerLost
from bulkdel.pacing.breaker import Breaker, GiveUp, Open
from bulkdel.pacing.bucket import Bucket, bucket, lower
from bulkdel.pacing.concurrency import Concurrency
from bulkdel.pacing.pace import Pacing
from bulkdel.pacing.rate import RateControl
from bulkdel.pacing.slots import Slots
from bulkdel.pacing.window import Kind, Sample

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
