-- +goose Up
CREATE TABLE attempts (
  id             TEXT PRIMARY KEY,
  request_id     TEXT NOT NULL,
  time           INTEGER NOT NULL, -- ns since 1970, when the attempt was opened
  day            INTEGER NOT NULL, -- s since 1970: the cell of the roll-up that holds this row
  day_end        INTEGER NOT NULL,
  provider       TEXT NOT NULL,
  model          TEXT NOT NULL,
  agent          TEXT NOT NULL,
  key            TEXT NOT NULL,
  session        TEXT NOT NULL,
  state          TEXT NOT NULL,
  outcome        TEXT NOT NULL DEFAULT '',
  input          INTEGER NOT NULL DEFAULT 0,
  output         INTEGER NOT NULL DEFAULT 0,
  thinking       INTEGER NOT NULL DEFAULT 0,
  cache_read     INTEGER NOT NULL DEFAULT 0,
  cache_write_5m INTEGER NOT NULL DEFAULT 0,
  cache_write_1h INTEGER NOT NULL DEFAULT 0,
  web_searches   INTEGER NOT NULL DEFAULT 0,
  tier           TEXT NOT NULL DEFAULT '',
  cost           INTEGER,          -- nano-USD; NULL while open, and where no price is known
  price          TEXT NOT NULL DEFAULT '',
  free           INTEGER NOT NULL, -- the provider's kind says that nothing is charged
  journal        TEXT NOT NULL,    -- whose row it is while it is open
  settled        INTEGER           -- ns since 1970
) WITHOUT ROWID;
CREATE INDEX attempts_time ON attempts (time);
CREATE INDEX attempts_request ON attempts (request_id);
CREATE INDEX attempts_open ON attempts (journal) WHERE state = 'open';

-- One cell for each day, in the zone of the gateway that wrote it, and each combination that reports group by. singles counts
-- requests that had one attempt; those with more are in retried, so that a request is never counted twice.
CREATE TABLE daily (
  day INTEGER NOT NULL, day_end INTEGER NOT NULL,
  agent TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, key TEXT NOT NULL,
  singles     INTEGER NOT NULL DEFAULT 0,
  attempts    INTEGER NOT NULL DEFAULT 0,
  input       INTEGER NOT NULL DEFAULT 0,
  output      INTEGER NOT NULL DEFAULT 0,
  thinking    INTEGER NOT NULL DEFAULT 0,
  cache_read  INTEGER NOT NULL DEFAULT 0,
  cache_write INTEGER NOT NULL DEFAULT 0,
  cost        INTEGER NOT NULL DEFAULT 0,
  estimated   INTEGER NOT NULL DEFAULT 0,
  unpriced    INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (day, day_end, agent, provider, model, key)
) WITHOUT ROWID;

CREATE TABLE retried (
  id TEXT PRIMARY KEY, request_id TEXT NOT NULL, first INTEGER NOT NULL,
  time INTEGER NOT NULL, day INTEGER NOT NULL, day_end INTEGER NOT NULL,
  agent TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, key TEXT NOT NULL, session TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX retried_time ON retried (time);

-- How far each journal file is in the book, moved in the same transaction as the rows.
CREATE TABLE positions (file TEXT PRIMARY KEY, offset INTEGER NOT NULL) WITHOUT ROWID;

-- Where costs --reset began to count anew.
CREATE TABLE marks (time INTEGER PRIMARY KEY);

-- +goose Down
DROP TABLE marks;
DROP TABLE positions;
DROP TABLE retried;
DROP TABLE daily;
DROP TABLE attempts;
