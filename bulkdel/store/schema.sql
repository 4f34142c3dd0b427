-- A run file: what was asked, every document and how it ended, who worked on it and what that cost.
--
-- One process writes it, any number read it. Times are Unix seconds, durations seconds; words from a service are kept on one
-- line and without anything that a terminal would obey. A key is never kept, only its fingerprint.

-- What was asked: one row.
CREATE TABLE run (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    asked     TEXT NOT NULL,                -- JSON: what to do where, with which policy and selection (RunHeader)
    targets   TEXT NOT NULL CHECK (targets IN ('none', 'open', 'complete')),  -- explicit ones; open: not yet read to the end
    agreed    INTEGER,                      -- the guards and the user agreed to delete so many; null: nobody was asked yet
    estimate  TEXT NOT NULL DEFAULT '{}'    -- JSON: how long the deletes of a plan will take, and which learned rates that counts with
);

CREATE TABLE provider (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE,
    cost  TEXT NOT NULL DEFAULT '{}'        -- JSON: requests, pauses, requeues and seconds by cause, over all sessions that wrote them down
);

-- One process that worked on the run, from opening the file to closing it.
CREATE TABLE session (
    id           INTEGER PRIMARY KEY,
    act          TEXT NOT NULL,
    version      TEXT NOT NULL,
    pid          INTEGER NOT NULL,
    host         TEXT NOT NULL,
    started_at   REAL NOT NULL,
    ended_at     REAL,                      -- null: it works on it now, or it was killed
    elapsed_s    REAL,
    status       TEXT,                      -- a report's word; null: it was broken off
    exit_status  INTEGER,
    reason       TEXT NOT NULL DEFAULT '',
    clean        INTEGER NOT NULL DEFAULT 0,  -- 1: nothing that it had claimed was in flight at its end
    retried      INTEGER NOT NULL DEFAULT 0   -- rejected documents that it was asked to try again
);

CREATE TABLE dataset (
    id         INTEGER PRIMARY KEY,
    provider   INTEGER NOT NULL REFERENCES provider,
    dataset    TEXT NOT NULL,
    name       TEXT NOT NULL DEFAULT '',
    listing    TEXT NOT NULL CHECK (listing IN ('none', 'open', 'complete', 'incomplete')),  -- none: explicit targets
    listed     INTEGER NOT NULL DEFAULT 0,  -- rows of document; fewer there means that the file lost some
    counted    INTEGER,                     -- the service's own count, if its listing never shows as many; else null
    status     TEXT NOT NULL DEFAULT '',    -- a report's word; empty: it has not come to its end
    reason     TEXT NOT NULL DEFAULT '',
    UNIQUE (provider, dataset)
);

-- What a listing after the deletes showed, each time; the last one of a dataset counts.
CREATE TABLE verification (
    id                 INTEGER PRIMARY KEY,
    dataset            INTEGER NOT NULL REFERENCES dataset,
    verified_at        REAL NOT NULL,
    remaining          INTEGER NOT NULL,
    new_count          INTEGER NOT NULL,    -- came after the listing
    still_there_count  INTEGER NOT NULL,    -- called deleted, and listed all the same
    new                TEXT NOT NULL,       -- JSON: up to 20 of them by id and name, for people
    still_there        TEXT NOT NULL
);

-- One row for each place in the input: a row of a listing, or a line of explicit targets.
CREATE TABLE document (
    row         INTEGER PRIMARY KEY,        -- the place in the input
    dataset     INTEGER NOT NULL REFERENCES dataset,
    document    TEXT NOT NULL,              -- its id, in the spelling of its service; a blob if that is not Unicode
    given       TEXT NOT NULL DEFAULT '',   -- JSON: dataset and document as the caller spelled them, if otherwise
    occurrence  INTEGER NOT NULL DEFAULT 1, -- the how many-th line with this id; the first stands for all and they end together
    -- What a listing said of it. No status: no listing showed it.
    name        TEXT NOT NULL DEFAULT '',
    created_at  REAL,
    status      TEXT,
    indexing    INTEGER NOT NULL DEFAULT 0,
    ready       INTEGER NOT NULL DEFAULT 1,
    archived    INTEGER NOT NULL DEFAULT 0,
    enabled     INTEGER NOT NULL DEFAULT 1,
    synced      INTEGER NOT NULL DEFAULT 0,
    skipped     TEXT,                       -- why it is left; null: it is selected
    invalid     TEXT,                       -- why its id is never sent; null: it may be
    -- What became of it.
    claimed     INTEGER REFERENCES session, -- the last session that gave it to workers
    in_doubt    INTEGER NOT NULL DEFAULT 0, -- 1: an attempt may have been carried out without our hearing of it
    outcome     TEXT,                       -- null: it has not settled
    reason      TEXT NOT NULL DEFAULT '',
    attempts    INTEGER NOT NULL DEFAULT 0,
    settled_at  REAL,
    UNIQUE (dataset, document, occurrence)
);

-- Rejections that the user asked to try again.
CREATE TABLE history (
    row         INTEGER NOT NULL REFERENCES document,
    session     INTEGER NOT NULL REFERENCES session,  -- the session that tried again
    outcome     TEXT NOT NULL,
    reason      TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    settled_at  REAL NOT NULL,
    PRIMARY KEY (row, session)
);

-- How a provider's time went in a session, for plots; a session that was killed left none.
CREATE TABLE timeline (
    session   INTEGER NOT NULL REFERENCES session,
    provider  INTEGER NOT NULL REFERENCES provider,
    samples   TEXT NOT NULL,                -- JSON: stretches of it (bulkdel.engine.timeline.Sample)
    PRIMARY KEY (session, provider)
);

-- What is written as settled stays so (S9), whoever writes SQL to this file. A rejection is opened again only once it is in
-- the history.
CREATE TRIGGER an_ending_never_changes BEFORE UPDATE OF outcome, reason, attempts, settled_at ON document
WHEN OLD.outcome IS NOT NULL AND (NEW.outcome IS NOT NULL OR OLD.outcome IN ('deleted', 'already_gone') OR NOT EXISTS (
    SELECT 1 FROM history h WHERE h.row = OLD.row AND h.outcome = OLD.outcome AND h.settled_at = OLD.settled_at))
BEGIN
    SELECT RAISE(ABORT, 'a document that has settled cannot settle again');
END;

CREATE TRIGGER a_claim_is_kept BEFORE DELETE ON document
WHEN OLD.claimed IS NOT NULL OR OLD.outcome IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a document that was given to workers cannot be forgotten');
END;

CREATE TRIGGER history_never_changes BEFORE UPDATE ON history
BEGIN
    SELECT RAISE(ABORT, 'history never changes');
END;

CREATE TRIGGER history_is_kept BEFORE DELETE ON history
BEGIN
    SELECT RAISE(ABORT, 'history is never forgotten');
END;
