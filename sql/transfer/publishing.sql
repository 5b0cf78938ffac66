-- Publications that take up tables as they are made: the copies would be sent as new events. And
-- those that would send the deletes of rows that only change their place.
SELECT DISTINCT published.pubname::text AS name,
    published.tablename = 'pupctl_operations' AS everything
FROM pg_publication_tables AS published
JOIN pg_publication AS publication USING (pubname)
WHERE published.schemaname = $1 AND (published.tablename = 'pupctl_operations'
    OR publication.pubdelete AND published.tablename = ANY ($2::text[]))
ORDER BY 1, 2
