"""The values that the providers' tests share: a Dify, a Langdock, and answers in their forms."""

from __future__ import annotations

import json
from typing import Any

from bulkdel import Dify, Langdock
from bulkdel.model import Target
from bulkdel.providers.protocol import Answer, Asked

KEY = "dataset-AbCdEf0123456789"
DS = "a5316353-8529-42e8-aac2-f8538a59ee86"
DOC = "9c8d750a-9768-42c3-a7da-d45afc12781b"
DIFY = Dify(api_key=KEY, base_url="http://localhost/v1")
TARGET = Target("dify", DS, DOC)

FOLDER, FILE = "folder_abc123", "att_xyz789"
LANGDOCK = Langdock(api_key=KEY)
ATTACHMENT = Target("langdock", FOLDER, FILE)

HTML = b"<!doctype html>\n<html lang=en>\n<title>Sign in</title>\n<h1>Sign in</h1>"
DIFY_HEADERS = {"content-type": "application/json", "x-version": "1.14.2"}


def dify_answer(status: int, body: Any = b"", *, own: bool = True, **headers: str) -> Answer:
    """An answer as Dify sends it: ``body`` is JSON unless it is bytes, ``own`` is whether it carries X-Version."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, (DIFY_HEADERS if own else {}) | named, raw)


def error(status: int, code: str, message: str, *, own: bool = True) -> Answer:
    """An error in Dify's form."""
    return dify_answer(status, {"code": code, "message": message, "status": status}, own=own)


def langdock_answer(status: int, body: Any = b"", **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def asked(target: Target, step: str = "delete", **more: bool) -> Asked:
    return Asked(target, step, **more)
