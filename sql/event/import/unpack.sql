CREATE TEMPORARY TABLE pupctl_import_events AS
SELECT pack.first_line + event.number - 1 AS line, event.place, event.run,
    event.aggregate_version, event.event_id
FROM pg_temp.pupctl_import_packs AS pack,
    unnest(pack.places, pack.runs, pack.versions, pack.event_ids) WITH ORDINALITY
        AS event (place, run, aggregate_version, event_id, number);
ANALYZE pg_temp.pupctl_import_events
