-- Whether this role has privileges on tables.
SELECT bool_and(has_table_privilege(format('%I.%I', schema, name), privilege)) AS may
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (schema, name, privilege)
