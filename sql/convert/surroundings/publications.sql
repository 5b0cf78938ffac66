-- Publications that send the changes of a table. The view of all published tables has the filters,
-- and knows of whole schemas; before PostgreSQL 15 there is neither, nor lists of columns.
SELECT to_jsonb(found) FROM (
    SELECT publication.pubname AS name, pg_get_userbyid(publication.pubowner) AS owner,
        pg_has_role(publication.pubowner, 'USAGE') AS owned,
        CASE WHEN publication.puballtables THEN 'all' WHEN member.prrelid IS NOT NULL THEN 'table'
            ELSE 'schema' END AS scope,
        publication.pubviaroot AS via_root,
        publication.pubupdate OR publication.pubdelete AS changes,
        (SELECT array_agg(attribute.attname ORDER BY attribute.attnum)
            FROM pg_attribute AS attribute
            WHERE attribute.attrelid = member.prrelid
                AND to_jsonb(member) -> 'prattrs' @> to_jsonb(attribute.attnum)) AS columns,
        to_jsonb(shown) ->> 'rowfilter' AS filter
    FROM pg_publication AS publication
    LEFT JOIN pg_publication_rel AS member
        ON member.prpubid = publication.oid AND member.prrelid = $1::oid
    LEFT JOIN pg_class AS class ON class.oid = $1::oid
    LEFT JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN pg_publication_tables AS shown ON shown.pubname = publication.pubname
        AND shown.schemaname = namespace.nspname AND shown.tablename = class.relname
    WHERE publication.puballtables OR member.prrelid IS NOT NULL OR shown.pubname IS NOT NULL
    ORDER BY publication.pubname
) AS found
