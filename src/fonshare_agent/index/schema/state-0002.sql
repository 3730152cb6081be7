-- In which order jobs ended: the list of those is cut by it, not by the clock, which a
-- router without a battery may have wrong. NULL: not ended, or ended before this column.
ALTER TABLE job ADD COLUMN ended INTEGER;
