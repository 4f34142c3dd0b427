"""What was asked, into the run file and out of it; never the key."""

from __future__ import annotations

import json
import sqlite3
from typing import cast

from bulkdel.runs.values import (
    Act,
    ProviderHeader,
    RunHeader,
    address,
    limits_from,
    policy_from,
    selection_from,
    to_json,
)


def write_header(connection: sqlite3.Connection, header: RunHeader, now: float) -> None:
    """Into the tables of a new file."""
    connection.execute(
        "INSERT INTO run VALUES (1, ?, ?, ?, ?, ?, ?)",
        (
            header.act,
            header.version,
            now if header.created_at is None else header.created_at,
            to_json(header.policy),
            to_json(header.selection),
            json.dumps(dict(header.more), separators=(",", ":")),
        ),
    )
    connection.executemany(
        "INSERT INTO provider (name, kind, base_url, limits, fingerprint) VALUES (?, ?, ?, ?, ?)",
        [(p.name, p.kind, address(p.base_url), to_json(p.limits), p.fingerprint) for p in header.providers],
    )


def read_header(connection: sqlite3.Connection) -> RunHeader:
    """What was asked, out of the tables; raises SQLite's errors, and ValueError, KeyError, TypeError for what is no header."""
    row = connection.execute("SELECT act, version, created_at, policy, selection, more FROM run").fetchone()
    act, version, created_at, policy, selection, more = row
    providers = connection.execute(
        "SELECT name, kind, base_url, limits, fingerprint FROM provider ORDER BY id"
    ).fetchall()
    return RunHeader(
        act=cast(Act, act),
        providers=tuple(
            ProviderHeader(name, kind, base_url, limits_from(limits), fingerprint)
            for name, kind, base_url, limits, fingerprint in providers
        ),
        version=version,
        policy=policy_from(policy),
        selection=selection_from(selection),
        created_at=created_at,
        more=json.loads(more),
    )
