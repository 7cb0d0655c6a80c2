-- The table and the functions of PostgresLimiter. Safe to run again, and by several at once; `await limiter.create()`
-- runs this very text, with its own table in the place of belvo_limits. By hand: psql -1 -f postgres.sql
--
-- Times are this server's, taken once the lock is held. Nothing here needs to outlive a crash of the server by more
-- than its processes can tell it again, so that no commit waits for the disk.

SELECT pg_advisory_xact_lock(5500267142263042656);

CREATE TABLE IF NOT EXISTS belvo_limits (
    name text COLLATE "C" NOT NULL,     -- the limiter, or the limiter and what it counts of one kind of call
    ticket text COLLATE "C" NOT NULL,
    arrival bigint GENERATED ALWAYS AS IDENTITY,
    lane integer,                       -- of a request that waits; null once it is counted
    ends timestamptz NOT NULL,          -- until when it counts, or keeps its place
    PRIMARY KEY (name, ticket)
);

-- Begin: one at a time for each name, and return the moment. The statements after it must see what others have done
-- until then, which they do in READ COMMITTED alone.
CREATE OR REPLACE FUNCTION belvo_limits_enter(of_name text) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'needs READ COMMITTED' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(hashtextextended('belvo_limits ' || of_name, 0));
    RETURN clock_timestamp();
END
$$;

-- Forget what is over. If the server's clock was set back, what ends too late ends a whole window from now.
CREATE OR REPLACE FUNCTION belvo_limits_refresh(of_name text, moment timestamptz, length interval, patience interval)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM belvo_limits
    WHERE name = of_name AND (ends <= moment OR lane IS NOT NULL AND ends > moment + patience);
    UPDATE belvo_limits SET ends = moment + length WHERE name = of_name AND lane IS NULL AND ends > moment + length;
END
$$;

-- Return the microseconds until one request fewer than `excess` more is counted.
CREATE OR REPLACE FUNCTION belvo_limits_until_room(of_name text, moment timestamptz, length interval, excess bigint)
RETURNS bigint LANGUAGE sql AS $$
    SELECT (extract(epoch FROM coalesce(
        (SELECT ends FROM belvo_limits WHERE name = of_name AND lane IS NULL ORDER BY ends OFFSET excess LIMIT 1) - moment,
        length
    )) * 1000000)::bigint
$$;

-- Count a request if it is its turn, or keep its place: 0, or microseconds until it may be its turn.
CREATE OR REPLACE FUNCTION belvo_limits_ask(
    of_name text, of_ticket text, of_lane integer, allowance integer, length interval, patience interval
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := belvo_limits_enter(of_name);
    mine bigint;
    excess bigint;
BEGIN
    PERFORM belvo_limits_refresh(of_name, moment, length, patience);
    UPDATE belvo_limits SET ends = moment + length WHERE name = of_name AND ticket = of_ticket AND lane IS NULL;
    IF FOUND THEN
        RETURN 0;
    END IF;
    SELECT arrival INTO mine FROM belvo_limits WHERE name = of_name AND ticket = of_ticket;
    SELECT count(*) - allowance INTO excess FROM belvo_limits
    WHERE name = of_name
        AND (lane IS NULL OR lane < of_lane OR lane = of_lane AND (mine IS NULL OR arrival < mine));
    INSERT INTO belvo_limits AS entry (name, ticket, lane, ends)
    VALUES (
        of_name, of_ticket, CASE WHEN excess >= 0 THEN of_lane END,
        moment + CASE WHEN excess >= 0 THEN patience ELSE length END
    )
    ON CONFLICT (name, ticket) DO UPDATE SET lane = excluded.lane, ends = excluded.ends;
    IF excess < 0 THEN
        RETURN 0;
    END IF;
    RETURN belvo_limits_until_room(of_name, moment, length, excess);
END
$$;

-- Count requests that were let in so many seconds ago, unless they are known.
CREATE OR REPLACE FUNCTION belvo_limits_report(
    of_name text, tickets text[], ages double precision[], length interval, patience interval
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := belvo_limits_enter(of_name);
BEGIN
    PERFORM belvo_limits_refresh(of_name, moment, length, patience);
    DELETE FROM belvo_limits WHERE name = of_name AND ticket = ANY(tickets) AND lane IS NOT NULL;
    INSERT INTO belvo_limits (name, ticket, ends)
    SELECT of_name, told.ticket, moment + length - make_interval(secs => told.age)
    FROM unnest(tickets, ages) AS told (ticket, age)
    WHERE make_interval(secs => told.age) < length
    ON CONFLICT (name, ticket) DO NOTHING;
    RETURN 0;
END
$$;

-- Count a call of one kind if there is room: 0, or microseconds until there may be. What is over of others is removed,
-- unless somebody is at it.
CREATE OR REPLACE FUNCTION belvo_limits_reserve(of_name text, of_ticket text, requests integer, length interval)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := belvo_limits_enter(of_name);
    excess bigint;
BEGIN
    PERFORM belvo_limits_refresh(of_name, moment, length, length);
    DELETE FROM belvo_limits WHERE (name, ticket) IN (
        SELECT name, ticket FROM belvo_limits WHERE ends <= moment LIMIT 100 FOR UPDATE SKIP LOCKED
    );
    SELECT count(*) - requests INTO excess FROM belvo_limits WHERE name = of_name AND ticket <> of_ticket;
    IF excess >= 0 THEN
        RETURN belvo_limits_until_room(of_name, moment, length, excess);
    END IF;
    INSERT INTO belvo_limits (name, ticket, ends) VALUES (of_name, of_ticket, moment + length)
    ON CONFLICT (name, ticket) DO UPDATE SET ends = excluded.ends;
    RETURN 0;
END
$$;

-- Forget a request or a call, whether it waits or is counted.
CREATE OR REPLACE FUNCTION belvo_limits_withdraw(of_name text, of_ticket text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM belvo_limits_enter(of_name);
    DELETE FROM belvo_limits WHERE name = of_name AND ticket = of_ticket;
    RETURN 0;
END
$$;
