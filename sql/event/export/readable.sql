SELECT wanted.oid, coalesce(has_table_privilege(wanted.oid, 'SELECT'), false) AS readable
FROM unnest($1::oid[]) AS wanted (oid)
