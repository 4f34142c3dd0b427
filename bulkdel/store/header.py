"""What was asked, into the run file and out of it; never the key."""

from __future__ import annotations

import json
import sqlite3
from typing import cast

from bulkdel.errors import ConfigurationError
from bulkdel.store.schema import damaged
from bulkdel.store.values import (
    Act,
    AskedDataset,
    ProviderHeader,
    RunHeader,
    address,
    limits_from,
    pack_id,
    policy_from,
    selection_from,
    to_json,
    unpack_id,
)


def write_header(connection: sqlite3.Connection, header: RunHeader, now: float) -> None:
    """Into the tables of a new file."""
    connection.execute(
        "INSERT INTO run VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        (
            header.act,
            header.version,
            now if header.created_at is None else header.created_at,
            to_json(header.policy),
            to_json(header.selection),
            json.dumps(dict(header.more), separators=(",", ":")),
            "open" if header.targets else "none",
        ),
    )
    connection.executemany(
        "INSERT INTO provider (name, kind, base_url, limits, fingerprint) VALUES (?, ?, ?, ?, ?)",
        [(p.name, p.kind, address(p.base_url), to_json(p.limits), p.fingerprint) for p in header.providers],
    )
    known = {p.name for p in header.providers}
    for asked in header.datasets:
        if asked.provider not in known:
            raise ConfigurationError(f"this run has no provider of that name: {asked.provider!r}")
        connection.execute(
            "INSERT INTO dataset (provider, dataset, name, listing, selection)"
            " SELECT id, ?, '', 'open', ? FROM provider WHERE name = ?",
            (pack_id(asked.dataset), None if asked.selection is None else to_json(asked.selection), asked.provider),
        )


def read_header(connection: sqlite3.Connection, path: str) -> RunHeader:
    """Out of the tables; raises SQLite's errors.

    :raises RunFileError: where what is there is no header
    """
    row = connection.execute("SELECT act, version, created_at, policy, selection, more, targets FROM run").fetchone()
    providers = connection.execute(
        "SELECT name, kind, base_url, limits, fingerprint FROM provider ORDER BY id"
    ).fetchall()
    datasets = connection.execute(
        "SELECT p.name, s.dataset, s.selection FROM dataset s JOIN provider p ON p.id = s.provider"
        " WHERE s.listing <> 'none' ORDER BY s.id"
    ).fetchall()
    try:
        act, version, created_at, policy, selection, more, targets = row
        return RunHeader(
            act=cast(Act, act),
            providers=tuple(
                ProviderHeader(name, kind, base_url, limits_from(limits), fingerprint)
                for name, kind, base_url, limits, fingerprint in providers
            ),
            version=version,
            policy=policy_from(policy),
            selection=selection_from(selection),
            datasets=tuple(
                AskedDataset(provider, unpack_id(dataset), None if own is None else selection_from(own))
                for provider, dataset, own in datasets
            ),
            targets=targets != "none",
            created_at=created_at,
            more=json.loads(more),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f"what was asked cannot be read: {error}") from error
