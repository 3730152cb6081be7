-- state.db: what this node must not forget, nor ever do twice. Small and durable.
-- Lost or damaged it is brought back from a backup, and the incarnation rises.
-- Names are raw bytes, as the disks have them.

-- One row. `life` names the incarnation (nodekeys.py) that this file belongs to; it
-- counts only while the file lies at `place`. Backups carry no life. `backup` counts
-- the backups made: of two, the one with the higher number is newer.
CREATE TABLE meta (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    life    BLOB,
    place   TEXT,
    backup  INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO meta (one) VALUES (1);

-- The next envelope counter not yet leased, by group and channel. Rows outlive the
-- group: who comes back to it must not begin at 1 again.
CREATE TABLE counter (
    grp      BLOB    NOT NULL,
    channel  INTEGER NOT NULL,
    next     INTEGER NOT NULL,
    PRIMARY KEY (grp, channel)
) STRICT, WITHOUT ROWID;

-- Small things of one kind each, as JSON.
CREATE TABLE document (
    name  TEXT NOT NULL PRIMARY KEY,
    body  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The wish to have an entry, which may be a folder of many files. `position` is the
-- order in the queue. The sums over its files are kept with each change, since a
-- folder may have a hundred thousand of them.
CREATE TABLE job (
    number      INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    grp         BLOB    NOT NULL,
    member      BLOB    NOT NULL,
    share       TEXT    NOT NULL,
    path        BLOB    NOT NULL,  -- empty: the share's top
    kind        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    target      BLOB    NOT NULL,  -- absolute folder
    state       TEXT    NOT NULL,
    error_code  TEXT    NOT NULL,
    error_text  TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    position    INTEGER NOT NULL UNIQUE,
    files       INTEGER NOT NULL DEFAULT 0,
    files_done  INTEGER NOT NULL DEFAULT 0,
    size        INTEGER NOT NULL DEFAULT 0,
    done_bytes  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX job_entry ON job (grp, member, share, path);
CREATE INDEX job_state ON job (state);

CREATE TABLE job_file (
    job         INTEGER NOT NULL REFERENCES job (number) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    path        BLOB    NOT NULL,  -- inside the share
    size        INTEGER NOT NULL,
    modified    INTEGER NOT NULL,
    root        BLOB,
    state       TEXT    NOT NULL,
    error_code  TEXT    NOT NULL,
    final_name  BLOB,
    done_bytes  INTEGER NOT NULL,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_file_state ON job_file (job, state, number);

-- A search that the owner keeps. `words` is JSON; where the others are NULL nothing is
-- narrowed. Ages are in seconds. `floor`: entries of index.db with ids up to it count
-- as seen (index/news.py).
CREATE TABLE saved_search (
    number    INTEGER PRIMARY KEY,
    name      TEXT    NOT NULL UNIQUE,
    words     TEXT    NOT NULL,
    grp       BLOB,
    member    BLOB,
    medium    TEXT,
    size_min  INTEGER,
    size_max  INTEGER,
    newer_s   INTEGER,
    older_s   INTEGER,
    online    INTEGER NOT NULL,
    floor     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What of it was seen: the tag of the public id, the id in index.db as it was, and the
-- beginning of the root.
CREATE TABLE seen_hit (
    search  INTEGER NOT NULL REFERENCES saved_search (number) ON DELETE CASCADE,
    tag     INTEGER NOT NULL,
    entry   INTEGER NOT NULL,
    root    BLOB,
    PRIMARY KEY (search, tag)
) STRICT, WITHOUT ROWID;
