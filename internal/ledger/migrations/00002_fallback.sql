-- +goose Up
-- "target; reason" of the attempt before this one, where another target was asked because that one failed.
ALTER TABLE attempts ADD COLUMN fallback TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE attempts DROP COLUMN fallback;
