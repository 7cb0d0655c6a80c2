-- The table of PostgresStore. Safe to run again, and by several at once; `await store.create()` runs this very text,
-- with its own table in the place of belvo_pending. By hand: psql -f postgres.sql
DO $$
BEGIN
    PERFORM pg_advisory_xact_lock(5500267142263042655);
    IF to_regclass('belvo_pending') IS NULL THEN
        CREATE TABLE belvo_pending (
            id text COLLATE "C" PRIMARY KEY,
            state text NOT NULL,
            round integer NOT NULL,
            revision integer NOT NULL,
            claim text,
            lease_until timestamptz,
            expires_at timestamptz NOT NULL,
            keep_until timestamptz NOT NULL,
            record text NOT NULL
        );
        CREATE INDEX ON belvo_pending (state, id);
        CREATE INDEX ON belvo_pending (keep_until);
    END IF;
END
$$;
