-- What indexes are beyond their columns. The definition begins at USING, so that those of two
-- tables can be compared. pg_get_indexdef would open the table, and wait for whoever holds it: so
-- it is asked for indexes with conditions, expressions or operator classes of their own alone.
SELECT index.indexrelid AS oid,
    CASE WHEN columns.simple AND index.indpred IS NULL AND index.indexprs IS NULL
        THEN format('USING %I (%s)%s%s', method.amname, columns.key,
            ' INCLUDE (' || columns.include || ')', ' WITH (' || options.list || ')')
        -- Versions differ in what they call the schema of a temporary table, whose name is known.
        WHEN class.relpersistence = 't' THEN substring(
            pg_get_indexdef(index.indexrelid) FROM ' (USING .*)')
        ELSE substr(pg_get_indexdef(index.indexrelid), length(format(
            'CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN index.indisunique THEN 'UNIQUE ' END,
            class.relname, CASE WHEN class.relkind = 'I' THEN 'ONLY ' END, namespace.nspname,
            owner.relname)) + 1)
        END AS definition,
    constraints.conname::text AS constraint,
    index.indisreplident AS replica_identity
FROM unnest($1::oid[]) AS wanted (oid)
JOIN pg_index AS index ON index.indrelid = wanted.oid
JOIN pg_class AS class ON class.oid = index.indexrelid
JOIN pg_am AS method ON method.oid = class.relam
JOIN pg_class AS owner ON owner.oid = index.indrelid
JOIN pg_namespace AS namespace ON namespace.oid = owner.relnamespace
CROSS JOIN LATERAL (
    SELECT string_agg(format('%s=%L', split_part(option, '=', 1),
        substr(option, strpos(option, '=') + 1)), ', ' ORDER BY option) AS list
    FROM unnest(class.reloptions) AS option
) AS options
CROSS JOIN LATERAL (
    SELECT string_agg(quote_ident(attribute.attname)
            || CASE WHEN method.amname <> 'btree' THEN '' ELSE
                CASE index.indoption[key.position - 1] WHEN 1 THEN ' DESC NULLS LAST'
                    WHEN 2 THEN ' NULLS FIRST' WHEN 3 THEN ' DESC' ELSE '' END END,
            ', ' ORDER BY key.position) FILTER (WHERE key.position <= index.indnkeyatts) AS key,
        string_agg(quote_ident(attribute.attname), ', ' ORDER BY key.position)
            FILTER (WHERE key.position > index.indnkeyatts) AS include,
        bool_and(key.position > index.indnkeyatts OR (opclass.opcdefault
            AND own.attoptions IS NULL
            AND index.indcollation[key.position - 1] = attribute.attcollation)) AS simple
    FROM unnest(index.indkey) WITH ORDINALITY AS key (number, position)
    JOIN pg_attribute AS attribute
        ON attribute.attrelid = index.indrelid AND attribute.attnum = key.number
    JOIN pg_attribute AS own ON own.attrelid = index.indexrelid AND own.attnum = key.position
    LEFT JOIN pg_opclass AS opclass ON opclass.oid = index.indclass[key.position - 1]
) AS columns
LEFT JOIN pg_constraint AS constraints ON constraints.conindid = index.indexrelid
    AND constraints.conrelid = index.indrelid AND constraints.contype IN ('p', 'u', 'x')
