-- Whether a type is known by this name; format_type gave it, with its schema.
SELECT to_regtype($1::text) IS NOT NULL AS there
