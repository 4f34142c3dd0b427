"""The services bulkdel can talk to."""

from bulkdel.providers.base import Next, Provider
from bulkdel.providers.bearer import Bearer
from bulkdel.providers.dify import Dify
from bulkdel.providers.langdock import Langdock

__all__ = ["Bearer", "Dify", "Langdock", "Next", "Provider"]
