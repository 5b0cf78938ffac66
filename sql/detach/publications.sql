-- The publications that would go on to publish a partition as a table of its own.
SELECT publication.pubname::text AS name
FROM pg_publication AS publication
WHERE publication.puballtables OR EXISTS (
    SELECT FROM pg_publication_rel AS member
    WHERE member.prpubid = publication.oid AND member.prrelid = $1::oid)
ORDER BY 1
