-- Whether this role may note what a projection was given.
SELECT bool_and(has_table_privilege(format('%I.%I', wanted.schema, wanted.name), privilege)) AS may
FROM unnest($1::text[], $2::text[]) AS wanted (schema, name),
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
