-- The settings that matter to a store, as numbers and words without units.
SELECT name, setting FROM pg_settings WHERE name = ANY ($1::text[])
