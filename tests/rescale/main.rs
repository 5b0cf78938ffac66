//! Slots of projections are changed while workers run and pupctl is killed, and rows of
//! pupsourcing's processors are taken over: no event is lost, and none is handled twice.

#[path = "../support/mod.rs"]
mod support;

mod adopt;
mod hazards;
#[cfg(feature = "failpoints")]
mod killed;
mod meanwhile;
mod processor;
mod refused;
mod rescale;
mod worker;

use pupctl::projection::Fnv1a;
use support::{Output, TestDatabase, event_id};

/// A store without partitions, and a table in which workers write what they handled.
pub(crate) fn store() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    db.execute(
        "CREATE TABLE handled (id bigserial PRIMARY KEY, projection text, position bigint,
            aggregate_id text, slot int, slots int)",
    );
    db
}

/// Appends so many events, in turns to so many aggregates.
pub(crate) fn events(db: &TestDatabase, events: i64, aggregates: i64) {
    append(&mut db.client(), events, aggregates);
}

/// The same in a session that is there.
pub(crate) fn append(client: &mut postgres::Client, events: i64, aggregates: i64) {
    let prefix = event_id();
    let sql = format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Sales', 'Order', '{prefix}-' || number % {aggregates}, 1 + number / {aggregates},
            gen_random_uuid(), 'OrderPlaced', ''
         FROM generate_series(0, {events} - 1) AS number"
    );
    client.batch_execute(&sql).expect("events");
}

/// A projection with a slot at each of these positions.
pub(crate) fn projection(db: &TestDatabase, name: &str, hash: &str, positions: &[i64]) {
    let slots = positions.len();
    for (slot, position) in positions.iter().enumerate() {
        let row = if slots == 1 { name.to_owned() } else { format!("{name}:{slot}/{slots}") };
        db.client()
            .execute(
                &format!(
                    "INSERT INTO projection_checkpoints (projection_name, last_global_position,
                        projection, slot, slots, slot_hash, epoch, bounded_contexts,
                        aggregate_types, events_handled)
                     VALUES ($1, $2, $3, {slot}, {slots}, $4, 1, '{{}}', '{{}}', 0)"
                ),
                &[&row, position, &name, &hash],
            )
            .expect("a row");
    }
}

/// The rows that are there, as `name@position`, with `>barrier` and `!` where it is paused.
pub(crate) fn rows(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT projection_name || '@' || last_global_position
            || coalesce('>' || drain_to, '') || CASE WHEN paused_at IS NULL THEN '' ELSE '!' END
         FROM public.projection_checkpoints ORDER BY projection NULLS FIRST, slot, projection_name",
    )
}

/// `pupctl projections …`
pub(crate) fn projections(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["projections"].iter().chain(arguments))
}

/// Pretends that all events up to these positions of the slots were handled by them.
pub(crate) fn handle_before(db: &TestDatabase, projection: &str, hash: &str, positions: &[i64]) {
    let mut client = db.client();
    let slots = u32::try_from(positions.len()).expect("few");
    let sql = "SELECT global_position, aggregate_id,
        ((hashtextextended(aggregate_id, 0) & 9223372036854775807) % $1)::int FROM events";
    for row in client.query(sql, &[&i64::from(slots)]).expect("the events") {
        let (position, id): (i64, String) = (row.get(0), row.get(1));
        let slot = if hash == Fnv1a::NAME {
            Fnv1a::slot_of(&id, slots)
        } else {
            u32::try_from(row.get::<_, i32>(2)).expect("a slot")
        };
        if position <= positions[slot as usize] {
            let sql = "INSERT INTO handled (projection, position, aggregate_id, slot, slots)
                VALUES ($1, $2, $3, $4, $5)";
            let (slot, slots) = (i32::try_from(slot), i32::try_from(slots));
            let (slot, slots) = (slot.expect("a slot"), slots.expect("slots"));
            client.execute(sql, &[&projection, &position, &id, &slot, &slots]).expect("handled");
        }
    }
}

/// Fails unless every event was handled exactly once, and those of an aggregate in their order.
#[track_caller]
pub(crate) fn exactly_once(db: &TestDatabase, projection: &str) {
    let wrong = db.texts(&format!(
        "SELECT format('event %s was handled %s times', global_position, count(handled.id))
         FROM public.events LEFT JOIN public.handled
            ON position = global_position AND projection = '{projection}'
         GROUP BY global_position HAVING count(handled.id) <> 1
         UNION ALL
         SELECT format('event %s of %s came late', position, aggregate_id) FROM (
            SELECT *, lag(position) OVER (PARTITION BY aggregate_id ORDER BY id) AS before
            FROM public.handled WHERE projection = '{projection}') AS handled
         WHERE before > position LIMIT 10"
    ));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
