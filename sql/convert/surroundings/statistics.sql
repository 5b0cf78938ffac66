SELECT to_jsonb(found) FROM (
    SELECT jsonb_build_object('schema', namespace.nspname, 'name', statistics.stxname) AS name,
        pg_get_statisticsobjdef(statistics.oid) AS definition,
        -- Minus one until PostgreSQL 16, NULL since.
        nullif(statistics.stxstattarget, -1) AS target,
        pg_get_userbyid(statistics.stxowner) AS owner,
        pg_has_role(statistics.stxowner, 'USAGE') AS owned,
        obj_description(statistics.oid, 'pg_statistic_ext') AS comment
    FROM pg_statistic_ext AS statistics
    JOIN pg_namespace AS namespace ON namespace.oid = statistics.stxnamespace
    WHERE statistics.stxrelid = $1::oid
    ORDER BY namespace.nspname, statistics.stxname
) AS found
