-- What somebody might do by hand: the newest month of one context is gone.
DO $$
DECLARE newest text;
BEGIN
    SELECT max(inhrelid::regclass::text) INTO newest
    FROM pg_inherits WHERE inhparent = 'events_core'::regclass;
    EXECUTE 'DROP TABLE ' || newest;
END $$
