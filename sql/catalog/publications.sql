-- Which publications name these tables themselves.
SELECT member.prrelid AS relation, publication.pubname::text AS publication
FROM pg_publication_rel AS member
JOIN pg_publication AS publication ON publication.oid = member.prpubid
WHERE member.prrelid = ANY ($1::oid[])
ORDER BY 1, 2
