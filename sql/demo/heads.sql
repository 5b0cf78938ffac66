INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id, aggregate_version)
SELECT bounded_context, aggregate_type, aggregate_id, max(aggregate_version)
FROM events GROUP BY 1, 2, 3
