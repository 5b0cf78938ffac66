//! The rights of a worker: what the page on projections says is enough, and no more than it takes.

use postgres::{Client, NoTls};
use pupctl::Error;
use pupctl::db::Interrupt;
use pupctl::projection::{
    ErrorPolicy, Event, HandlerError, Processor, ProcessorConfig, Projection, RetryPolicy,
    Transaction,
};

use crate::store;
use crate::support::TestDatabase;

const PAGE: &str = include_str!("../../docs/how-to/write-projections.md");

/// Refuses some events, or none.
struct Totals {
    name: String,
    refuses: bool,
}

impl Projection for Totals {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        if self.refuses && event.event_type == "Unreadable" {
            return Err("it cannot be read".into());
        }
        tx.execute(
            "INSERT INTO order_totals VALUES ($1, 1)
             ON CONFLICT (id) DO UPDATE SET orders = order_totals.orders + 1",
            &[&event.aggregate_id],
        )?;
        Ok(())
    }
}

/// What the page grants, for this role: one statement each.
fn grants(role: &str) -> Vec<String> {
    let mut blocks = PAGE.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains("GRANT USAGE")).expect("the rights");
    let lines = block.lines().filter(|line| !line.starts_with("--"));
    let sql = lines.collect::<Vec<_>>().join(" ").replace("TO worker", &format!("TO {role}"));
    sql.split(';').map(|grant| grant.trim().to_owned()).filter(|grant| !grant.is_empty()).collect()
}

/// Each privilege that they give, and on what.
fn privileges(grants: &[String]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for grant in grants {
        let words = grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON "));
        let (privileges, rest) = words.expect("a grant");
        let (objects, _) = rest.split_once(" TO ").expect("a role");
        for object in objects.split(", ") {
            let each = privileges.split(", ");
            found.extend(each.map(|privilege| (privilege.to_owned(), object.to_owned())));
        }
    }
    found
}

fn append(db: &TestDatabase, event_type: &str) {
    db.execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Sales', 'Order', 'o-1', count(*) + 1, gen_random_uuid(), '{event_type}', ''
         FROM events"
    ));
}

fn work(db: &TestDatabase, role: &str, totals: Totals) -> pupctl::Result<()> {
    let (url, role) = (db.url().to_owned(), role.to_owned());
    let connect = move |application_name: &str| {
        let failed = |error| Error::database("connecting", error);
        let mut client = Client::connect(&url, NoTls).map_err(failed)?;
        let session = format!("SET application_name = '{application_name}'; SET ROLE {role}");
        client.batch_execute(&session).map_err(failed)?;
        Ok(client)
    };
    let config = ProcessorConfig::default()
        .initial_slots(2)
        .on_error(ErrorPolicy::Park)
        .retry(RetryPolicy { attempts: 1, ..RetryPolicy::default() });
    Processor::new(connect, totals, config)?.run_until_caught_up(&Interrupt::default())?;
    Ok(())
}

/// All that a worker does: makes its checkpoints, handles, parks, and replays.
fn live(db: &TestDatabase, role: &str, name: &str) -> pupctl::Result<()> {
    let letters =
        format!("SELECT count(*) FROM projection_dead_letters WHERE projection = '{name}'");
    append(db, "Unreadable");
    work(db, role, Totals { name: name.to_owned(), refuses: true })?;
    assert!(db.one::<i64>(&letters) >= 1);
    db.pupctl(["projections", "dead-letters", "replay", name, "--all"]).success();
    append(db, "OrderPlaced");
    work(db, role, Totals { name: name.to_owned(), refuses: false })?;
    assert_eq!(db.one::<i64>(&letters), 0);
    Ok(())
}

#[test]
fn the_rights_on_the_page_are_what_a_worker_takes() {
    let db = store();
    let role = format!("worker_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role};
         REVOKE ALL ON SCHEMA public FROM PUBLIC;
         CREATE TABLE order_totals (id text PRIMARY KEY, orders bigint NOT NULL)"
    ));
    let grants = grants(&role);
    db.execute(&grants.join(";"));
    live(&db, &role, "all_rights").expect("the rights are enough");
    let sequence: String = db.one("SELECT pg_get_serial_sequence('events', 'global_position')");
    assert_eq!(sequence, "public.events_global_position_seq");

    for (number, (privilege, object)) in privileges(&grants).into_iter().enumerate() {
        // What its own tables take is the handler's business.
        if object == "order_totals" {
            continue;
        }
        db.execute(&format!("REVOKE {privilege} ON {object} FROM {role}"));
        let without = live(&db, &role, &format!("without_{number}"));
        let error = without.expect_err(&format!("{privilege} on {object} is needed"));
        // What was taken is what is missed.
        let what = object.rsplit(' ').next().expect("a name");
        let told = format!("{error} {:?} {:?}", error.detail_lines(), error.hint_text());
        assert!(told.contains(what), "{privilege} on {object}: {told}");
        db.execute(&format!("GRANT {privilege} ON {object} TO {role}"));
    }
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
