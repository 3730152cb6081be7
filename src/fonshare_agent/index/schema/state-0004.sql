-- Whose ratings of what a group offers are here: this node's own, and what members have
-- told of theirs. A member's `log` names its numbering, all of which is here up to
-- `head`. Of the own ones `log` is empty: it follows from the life of this file and from
-- `renewed`, how often numbers have begun anew in it.
CREATE TABLE rater (
    number   INTEGER PRIMARY KEY,
    grp      BLOB    NOT NULL,
    member   BLOB    NOT NULL,
    log      BLOB    NOT NULL,
    head     INTEGER NOT NULL,
    renewed  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (grp, member)
) STRICT;

-- One rating of one content: 1 to 5 stars; 0 is an own one that was taken back, which
-- members may still have to hear of. `sequence` numbers the own ones.
CREATE TABLE rating (
    root      BLOB    NOT NULL,
    rater     INTEGER NOT NULL REFERENCES rater (number) ON DELETE CASCADE,
    stars     INTEGER NOT NULL CHECK (stars BETWEEN 0 AND 5),
    sequence  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (root, rater)
) STRICT, WITHOUT ROWID;
CREATE INDEX rating_rater ON rating (rater, sequence);
