-- What tables of a schema ($1) have that those of the same name in another ($2) lack: owner, comments,
-- publications, replica identity.
WITH pairs AS (
    SELECT new.oid AS new, old.oid AS old, new.relname::text AS name, old.relkind AS kind,
        old.relowner AS owner, old.relowner <> new.relowner AS other_owner, old.relreplident AS identity,
        old.relreplident <> new.relreplident AS other_identity
    FROM pg_class AS new
    JOIN pg_class AS old ON old.relname = new.relname AND old.relkind = new.relkind
    WHERE new.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2)
        AND old.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
        AND new.relkind IN ('r', 'p', 'v', 'S')
)
SELECT 1 AS turn, 'comment' AS what, name, kind::text, NULL::text AS part, obj_description(old, 'pg_class') AS text
FROM pairs
WHERE obj_description(old, 'pg_class') IS NOT NULL AND obj_description(new, 'pg_class') IS NULL
UNION ALL
SELECT 2, 'column comment', name, kind::text, own.attname::text, col_description(old, own.attnum)
FROM pairs JOIN pg_attribute AS own ON own.attrelid = old AND own.attnum > 0 AND NOT own.attisdropped
JOIN pg_attribute AS same ON same.attrelid = new AND same.attname = own.attname
WHERE col_description(old, own.attnum) IS NOT NULL AND col_description(new, same.attnum) IS NULL
UNION ALL
SELECT 3, CASE WHEN identity = 'i' THEN 'identity index' ELSE 'identity' END, name, kind::text,
    (SELECT class.relname::text FROM pg_index AS index JOIN pg_class AS class
        ON class.oid = index.indexrelid WHERE index.indrelid = old AND index.indisreplident),
    identity::text
FROM pairs WHERE other_identity AND identity IN ('f', 'n', 'i')
UNION ALL
SELECT 4, CASE WHEN coalesce(to_jsonb(member) ->> 'prqual', to_jsonb(member) ->> 'prattrs') IS NOT NULL
        OR NOT pg_has_role(publication.pubowner, 'USAGE')
    THEN 'partial publication' ELSE 'publication' END, name, kind::text,
    publication.pubname::text, NULL
FROM pairs JOIN pg_publication_rel AS member ON member.prrelid = old
JOIN pg_publication AS publication ON publication.oid = member.prpubid
WHERE NOT EXISTS (SELECT FROM pg_publication_rel AS same
    WHERE same.prrelid = new AND same.prpubid = member.prpubid)
UNION ALL
-- Last, since the rest is for the owner to do.
SELECT 5, 'owner', name, kind::text, pg_get_userbyid(owner)::text, NULL FROM pairs WHERE other_owner
ORDER BY 1, 3, 5
