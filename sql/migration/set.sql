SELECT pg_catalog.set_config($1::text, $2::text, false)
