-- Of a place that is kept: where its files go, below the disk, and are offered on from.
-- NULL: it is only followed.
ALTER TABLE follow ADD COLUMN folder BLOB;
