-- The table that each situation has, unless it says otherwise.  It has columns before and after the
-- protected one, a body that is NULL, one that is empty, one that looks as if it were sealed, and one that
-- is stored in the TOAST table.
CREATE TABLE chat (id bigint PRIMARY KEY, topic text NOT NULL);
INSERT INTO chat SELECT c, 'topic ' || c FROM generate_series(1, 3) AS c;
CREATE TABLE t (
	id bigint PRIMARY KEY,
	chat_id bigint NOT NULL REFERENCES chat ON UPDATE CASCADE ON DELETE CASCADE,
	body text,
	n integer NOT NULL DEFAULT 0,
	tag text
);
CREATE INDEX t_by_chat ON t (chat_id, id);

-- About 8 kB of text that do not compress.
CREATE FUNCTION long(seed text) RETURNS text LANGUAGE sql IMMUTABLE
	RETURN (SELECT string_agg(md5(seed || i), '') FROM generate_series(1, 256) AS i);
--: rows
INSERT INTO t SELECT i, 1 + i % 3, 'secret ' || i, i * 10, 'tag ' || i % 4 FROM generate_series(1, 8) AS i;
INSERT INTO t VALUES (9, 1, 'cc1:AQAAAAF7DJ9yIQ==', 90, 'tag 1'), (10, 2, long('ten'), 100, NULL), (11, 3, NULL, 110, 'tag 3'), (12, 1, '', 120, 'tag 0');
--: later
UPDATE t SET body = body || '' WHERE id % 2 = 0;
