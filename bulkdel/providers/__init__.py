"""The services bulkdel can talk to, and what a provider of one's own is made from."""

from bulkdel.providers.bearer import Bearer
from bulkdel.providers.dify import Dify
from bulkdel.providers.json_api import JsonApi
from bulkdel.providers.langdock import Langdock
from bulkdel.providers.protocol import Next, Provider

__all__ = ["Bearer", "Dify", "JsonApi", "Langdock", "Next", "Provider"]
