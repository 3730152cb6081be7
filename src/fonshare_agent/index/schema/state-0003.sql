-- A standing wish: fetch what is new at that place, as long as what it has fetched and
-- fetches takes no more than `budget` bytes. `id` is the place's public id. `ready`: what
-- was there at the beginning has been gone through; until then it is seen, not fetched,
-- unless `wants_all`.
CREATE TABLE follow (
    number     INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    grp        BLOB    NOT NULL,
    member     BLOB    NOT NULL,
    share      TEXT    NOT NULL,
    path       BLOB    NOT NULL,  -- empty: the share's top
    budget     INTEGER NOT NULL,
    wants_all  INTEGER NOT NULL,
    ready      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What is not new there any more: the first 64 bits of a content root or, of a file that
-- was there at the beginning without one, of a hash of its path. `fetched`: that content
-- is, or was, on this disk by a follow.
CREATE TABLE follow_seen (
    follow   INTEGER NOT NULL REFERENCES follow (number) ON DELETE CASCADE,
    tag      INTEGER NOT NULL,
    fetched  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (follow, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX follow_seen_fetched ON follow_seen (tag) WHERE fetched;

-- A file that a follow has brought, oldest first: where its job has put it, below the
-- disk, and as what. The owner's own `get` of it makes it the owner's: the row goes.
CREATE TABLE follow_file (
    number    INTEGER PRIMARY KEY,
    follow    INTEGER NOT NULL REFERENCES follow (number) ON DELETE CASCADE,
    job       TEXT    NOT NULL UNIQUE,
    place     BLOB    NOT NULL,
    size      INTEGER NOT NULL,
    modified  INTEGER NOT NULL
) STRICT;
CREATE INDEX follow_file_follow ON follow_file (follow);

-- The public id of the follow that wants the job; NULL if its owner does.
ALTER TABLE job ADD COLUMN follow TEXT;
CREATE INDEX job_follow ON job (follow) WHERE follow IS NOT NULL;
