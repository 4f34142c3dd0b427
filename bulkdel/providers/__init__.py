"""The services bulkdel can talk to."""

from bulkdel.providers.bearer import Bearer
from bulkdel.providers.dify import Dify
from bulkdel.providers.langdock import Langdock
from bulkdel.providers.protocol import Next, Provider

__all__ = ["Bearer", "Dify", "Langdock", "Next", "Provider"]
