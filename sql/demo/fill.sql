-- Generated events: aggregates of ten versions each, spread over the months from $1 to now.
INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id,
    event_type, payload, created_at)
SELECT context, 'Order', 'order-' || aggregate, version, gen_random_uuid(),
    CASE version WHEN 1 THEN 'OrderPlaced' ELSE 'LineAdded' END,
    convert_to(json_build_object('line', version)::text, 'UTF8'),
    $1::timestamptz + (now() - $1::timestamptz) * ((aggregate * 10 + version) / ($2::bigint * 10 + 10.0))
FROM unnest(ARRAY['Identity', 'Billing', 'Analytics']) AS context,
    generate_series(1, $2::bigint) AS aggregate, generate_series(1, 10) AS version
