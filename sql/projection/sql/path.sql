-- Names mean what is in these schemas, in this order, first the read model, last the store; then what
-- they meant before; those of the system, and the table of the batch, come before all of them anyway.
SELECT set_config('search_path',
    CASE WHEN reset.setting = '' THEN own.path ELSE own.path || ', ' || reset.setting END, false)
FROM (SELECT string_agg(quote_ident(name), ', ' ORDER BY number) AS path
        FROM unnest($1::text[]) WITH ORDINALITY AS schema (name, number)) AS own,
    (SELECT coalesce(reset_val, '') AS setting FROM pg_settings WHERE name = 'search_path') AS reset
