-- Names mean the tables of the read model first ($1), then those of the store ($2), then what they
-- meant before; those of the system, and the table of the batch, come before all of them anyway.
SELECT set_config('search_path',
    CASE WHEN reset.setting = '' THEN own.path ELSE own.path || ', ' || reset.setting END, false)
FROM (SELECT quote_ident($1::text) || ', ' || quote_ident($2::text) AS path) AS own,
    (SELECT coalesce(reset_val, '') AS setting FROM pg_settings WHERE name = 'search_path') AS reset
