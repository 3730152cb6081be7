-- index.db: what is on this node's shares, and what the members of its groups offer.
-- A cache: everything here is found again by a scan or by asking the members.
-- Names are raw bytes, as the disks have them; text folded for searching is kept only
-- as the trigrams of `search`. Rows are kept small: there may be millions.

-- One own share. `files` and `bytes` are kept with each change, since counting a
-- million rows for a status line would stall the store. `listed`: still in the
-- settings; else its rows are being removed, a batch at a time.
CREATE TABLE share (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,
    listed  INTEGER NOT NULL DEFAULT 1,
    files   INTEGER NOT NULL DEFAULT 0,
    bytes   INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A folder of an own share; the share's top has no row: its children have parent 0.
-- A folder's id is higher than its parent's. `gone`: a scan found it missing.
CREATE TABLE own_folder (
    id      INTEGER PRIMARY KEY,
    share   INTEGER NOT NULL,
    parent  INTEGER NOT NULL,
    name    BLOB    NOT NULL,
    gone    INTEGER,
    UNIQUE (share, parent, name)
) STRICT;
CREATE INDEX own_folder_gone ON own_folder (share, id) WHERE gone IS NOT NULL;

-- A file of an own share. (inode, size, mtime_ns) tell whether its content is still
-- what `root` says, also under a new path; inode is 0 where the file system makes
-- inode numbers up (FAT). `gone` is set when a scan finds the file missing; the row is
-- dropped when that scan is complete, so that until then a moved file can take over
-- its root. `queued`: see `hash_queue`.
CREATE TABLE own_file (
    id       INTEGER PRIMARY KEY,
    share    INTEGER NOT NULL,
    folder   INTEGER NOT NULL,  -- 0: the share's top
    name     BLOB    NOT NULL,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode    INTEGER NOT NULL,
    root     BLOB,
    queued   INTEGER,
    gone     INTEGER,
    UNIQUE (share, folder, name)
) STRICT;
-- Whose content is known is asked for by inode, when a file is new at its place.
CREATE INDEX own_file_inode ON own_file (inode) WHERE root IS NOT NULL;
-- Folder by folder and, as ids were given so, in each in the order of inode numbers,
-- which is near to that of the disk: the heads move less.
CREATE INDEX own_file_unhashed ON own_file (folder)
    WHERE queued IS NOT NULL AND root IS NULL AND gone IS NULL;
CREATE INDEX own_file_gone ON own_file (share, id) WHERE gone IS NOT NULL;
CREATE INDEX own_file_root ON own_file (substr(root, 1, 4)) WHERE root IS NOT NULL;

-- One row. Files without a root wait in `own_file_unhashed` if their ids are not beyond
-- `upto`; the others are put there before hashing goes on (index/unhashed.py), which is
-- cheaper than while they are found.
CREATE TABLE hash_queue (
    upto  INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO hash_queue DEFAULT VALUES;

-- The block hashes behind the root of an own file, 256 to a page.
CREATE TABLE block_page (
    id      INTEGER PRIMARY KEY,
    root    BLOB    NOT NULL,
    page    INTEGER NOT NULL,
    hashes  BLOB    NOT NULL,
    UNIQUE (root, page)
) STRICT;

-- What one member offers to one group. `own`: the member is this node, and `head` is
-- the last number given out. Otherwise `head` is how far the copy has come. `state`:
-- 'shown'; 'coming' (a newer index, not yet complete, beside the one shown);
-- 'dropped' (its rows are being removed, a batch at a time).
CREATE TABLE catalogue (
    id        INTEGER PRIMARY KEY,
    grp       BLOB    NOT NULL,
    member    BLOB    NOT NULL,
    own       INTEGER NOT NULL,
    index_id  BLOB    NOT NULL,
    head      INTEGER NOT NULL DEFAULT 0,
    entries   INTEGER NOT NULL DEFAULT 0,
    state     TEXT    NOT NULL CHECK (state IN ('shown', 'coming', 'dropped'))
) STRICT;
CREATE UNIQUE INDEX catalogue_current ON catalogue (grp, member, state)
    WHERE state != 'dropped';

-- Which own share is offered in which own catalogue. 'adding': the files up to
-- `upto` have their entries, the others follow; 'removing': their entries are being
-- withdrawn, and the share counts as not published already.
CREATE TABLE publication (
    share      INTEGER NOT NULL,
    catalogue  INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('adding', 'published', 'removing')),
    upto       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (share, catalogue)
) STRICT, WITHOUT ROWID;

-- A folder of a catalogue; parent 0: a share, whose name is its UTF-8. `tag` is the
-- first 48 bits of the public id, which is computed from the path and not stored. The
-- public id of a file tells some bits of its folder's tag, so files have no tag.
CREATE TABLE folder (
    id         INTEGER PRIMARY KEY,
    catalogue  INTEGER NOT NULL,
    parent     INTEGER NOT NULL,
    name       BLOB    NOT NULL,
    tag        INTEGER NOT NULL,
    UNIQUE (catalogue, parent, name)
) STRICT;
CREATE INDEX folder_tag ON folder (tag);

-- A file as the group sees it. `seq` numbers the changes of an own catalogue, unless the
-- entry came with many others (`entry_run`); copies of others' need none. `modified` is in seconds since 1970. No id is given twice:
-- `search_state` counts on it.
CREATE TABLE entry (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    catalogue  INTEGER NOT NULL,
    folder     INTEGER NOT NULL,
    name       BLOB    NOT NULL,
    size       INTEGER NOT NULL,
    modified   INTEGER NOT NULL,
    root       BLOB,
    seq        INTEGER,
    UNIQUE (folder, name)
) STRICT;
CREATE INDEX entry_root ON entry (substr(root, 1, 4)) WHERE root IS NOT NULL;
CREATE INDEX entry_seq ON entry (catalogue, seq) WHERE seq IS NOT NULL;

-- Entries of an own catalogue that came together: the one with the id `entry` has the
-- number `seq`, the `count` - 1 ids and numbers after them go on from there. It holds for
-- those of them that are still there and have no `seq` of their own.
CREATE TABLE entry_run (
    catalogue  INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    entry      INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (catalogue, seq)
) STRICT, WITHOUT ROWID;

-- An entry that was deleted from an own catalogue. They are dropped only together
-- with the index id, because a member who was away still needs them.
CREATE TABLE tombstone (
    catalogue  INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    share      TEXT    NOT NULL,
    path       BLOB    NOT NULL,
    PRIMARY KEY (catalogue, seq)
) STRICT, WITHOUT ROWID;

-- The trigrams of each entry's share, folders and name, folded by index/text.py;
-- rowid = entry.id. Contentless and without positions: hits are checked against the
-- name itself, which keeps this table as small as the names.
CREATE VIRTUAL TABLE search USING fts5 (
    text, content = '', columnsize = 0, detail = none,
    tokenize = 'trigram case_sensitive 1'
);

-- A file whose hashing has begun, and the hashes of its first blocks, 256 to a page:
-- a restart goes on behind them while (inode, size, mtime_ns) are the same.
CREATE TABLE hashing (
    id        INTEGER PRIMARY KEY,
    share     TEXT    NOT NULL,
    path      BLOB    NOT NULL,
    inode     INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    mtime_ns  INTEGER NOT NULL,
    UNIQUE (share, path)
) STRICT;
CREATE TABLE hashing_page (
    hashing  INTEGER NOT NULL,
    page     INTEGER NOT NULL,
    hashes   BLOB    NOT NULL,
    PRIMARY KEY (hashing, page)
) STRICT;

-- One row. Every entry whose id is not beyond `upto` has its trigrams; the others get
-- theirs later (index/trigrams.py) and are gone through by a search meanwhile. `merged`:
-- `upto` when all segments of `search` were last put together; `is_merging`: that goes
-- on.
CREATE TABLE search_state (
    upto        INTEGER NOT NULL DEFAULT 0,
    merged      INTEGER NOT NULL DEFAULT 0,
    is_merging  INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO search_state DEFAULT VALUES;
