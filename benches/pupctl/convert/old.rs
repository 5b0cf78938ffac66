//! A store as pupsourcing makes it, before anybody has divided it.

use anyhow::Result;
use postgres::Client;

use crate::machine::{Database, Machine};

/// How many months the events lie in, the current one among them.
pub(super) const MONTHS: i32 = 12;

/// How many events an aggregate has.
const EVENTS_EACH: i64 = 20;

/// The tables of pupsourcing's generator. Keys come when the rows are there.
const TABLES: &str = "\
    CREATE TABLE events (global_position BIGSERIAL, bounded_context TEXT NOT NULL, \
        aggregate_type TEXT NOT NULL, aggregate_id TEXT NOT NULL, \
        aggregate_version BIGINT NOT NULL, event_id UUID NOT NULL, event_type TEXT NOT NULL, \
        event_version INT NOT NULL DEFAULT 1, payload BYTEA NOT NULL, trace_id TEXT, \
        correlation_id TEXT, causation_id TEXT, metadata JSONB, \
        created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()); \
    CREATE TABLE aggregate_heads (bounded_context TEXT NOT NULL, aggregate_type TEXT NOT NULL, \
        aggregate_id TEXT NOT NULL, aggregate_version BIGINT NOT NULL, \
        updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()); \
    CREATE TABLE projection_checkpoints (projection_name TEXT PRIMARY KEY, \
        last_global_position BIGINT NOT NULL DEFAULT 0, \
        updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()); \
    CREATE INDEX idx_projection_checkpoints_updated ON projection_checkpoints (updated_at)";

const KEYS: &str = "\
    ALTER TABLE events ADD PRIMARY KEY (global_position), ADD UNIQUE (event_id), \
        ADD UNIQUE (bounded_context, aggregate_type, aggregate_id, aggregate_version); \
    CREATE INDEX idx_events_aggregate \
        ON events (bounded_context, aggregate_type, aggregate_id, aggregate_version); \
    CREATE INDEX idx_events_event_type ON events (event_type, global_position); \
    CREATE INDEX idx_events_correlation ON events (correlation_id) \
        WHERE correlation_id IS NOT NULL; \
    ALTER TABLE aggregate_heads ADD PRIMARY KEY (bounded_context, aggregate_type, aggregate_id); \
    CREATE INDEX idx_aggregate_heads_updated ON aggregate_heads (updated_at)";

/// Events with payloads of 300 bytes, of three contexts, in the order of their times. Half of the
/// aggregates live for ten days, the others from the first month to the last.
pub(super) fn store(machine: &Machine, name: &str, events: i64) -> Result<Database> {
    let database = machine.database(name)?;
    let mut client = database.client()?;
    client.batch_execute("SET TimeZone = 'UTC'; SET maintenance_work_mem = '512MB'")?;
    client.batch_execute(TABLES)?;
    fill(&mut client, events)?;
    client.batch_execute(KEYS)?;
    client.batch_execute("VACUUM ANALYZE")?;
    client.batch_execute("CHECKPOINT")?;
    Ok(database)
}

fn fill(client: &mut Client, events: i64) -> Result<()> {
    let aggregates = events / EVENTS_EACH;
    client.batch_execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version, \
             event_id, event_type, payload, correlation_id, metadata, created_at) \
         SELECT (ARRAY['Sales', 'Billing', 'Stock'])[1 + aggregate % 3], 'Order', \
             'order-' || aggregate, version, gen_random_uuid(), 'Type' || version % 7, \
             convert_to('{{\"customer\": \"c-20394\", \"lines\": \"' || \
                 repeat(md5(aggregate::text || version), 8) || '\"}}', 'UTF8'), \
             'correlation-' || aggregate, '{{\"user\": \"u-17\"}}', \
             first + interval '1 microsecond' * aggregate + interval '1 second' * \
             CASE WHEN aggregate % 2 = 0 \
             THEN greatest(0, length * aggregate / {aggregates} \
                 - 864000 * ({EVENTS_EACH} - version)::float / {EVENTS_EACH}) \
             ELSE length * (version - 1) / {EVENTS_EACH} END AS created_at \
         FROM (SELECT date_trunc('month', now()) - interval '1 month' * ({MONTHS} - 1)) \
             AS months (first), \
             LATERAL (SELECT extract(epoch FROM date_trunc('day', now()) - first)::float) \
                 AS time (length), \
             generate_series(0, {aggregates} - 1) AS aggregate, \
             generate_series(1, {EVENTS_EACH}) AS version \
         ORDER BY created_at"
    ))?;
    Ok(client.batch_execute(
        "INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id, \
             aggregate_version, updated_at) \
         SELECT bounded_context, aggregate_type, aggregate_id, max(aggregate_version), \
             max(created_at) \
         FROM events GROUP BY 1, 2, 3",
    )?)
}
