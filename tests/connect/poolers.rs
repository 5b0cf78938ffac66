//! PgBouncer is refused in transaction mode and accepted in session mode.

use postgres::Client;
use pupctl::db::connect::{Session, Target};
use pupctl::error::Kind;

use super::pgbouncer::PgBouncer;
use super::server::{Folder, Server};
use super::{connect, fails, resolve, value};

fn server() -> Server {
    Server::start(Folder::new(), "", "host all all 127.0.0.1/32 trust")
}

fn through(pooler: &PgBouncer) -> Target {
    let port = pooler.port.to_string();
    resolve(&[("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGSSLMODE", "disable")])
}

/// Makes the pooler open this many server connections, so that it has a choice.
fn warm_up(target: &Target, count: usize) {
    let mut clients: Vec<Client> =
        (0..count).map(|_| target.open(&Session::of("warm up")).unwrap()).collect();
    for client in &mut clients {
        client.batch_execute("BEGIN; SELECT 1").unwrap();
    }
    for client in &mut clients {
        client.batch_execute("COMMIT").unwrap();
    }
}

#[test]
fn transaction_mode_is_refused() {
    let server = server();
    for (size, round_robin, warm) in [
        (1, 0, 1),
        (1, 1, 0),
        (2, 1, 2),
        (20, 0, 0),
        (20, 0, 5),
        (20, 1, 0),
        (20, 1, 2),
        (20, 1, 5),
    ] {
        let pooler = PgBouncer::start(
            &server,
            &format!(
                "pool_mode = transaction\ndefault_pool_size = {size}\n\
                 server_round_robin = {round_robin}"
            ),
        );
        let target = through(&pooler);
        warm_up(&target, warm);
        let error = fails(&target, "is a connection pooler in transaction mode");
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.hint_text().unwrap().contains("PUPCTL_DATABASE_URL"));
    }
}

#[test]
fn statement_mode_is_refused() {
    let server = server();
    let pooler = PgBouncer::start(&server, "pool_mode = statement\ndefault_pool_size = 5");
    fails(&through(&pooler), "is a connection pooler in transaction mode");
}

#[test]
fn session_mode_is_accepted() {
    let server = server();
    for settings in ["default_pool_size = 20", "default_pool_size = 20\nserver_round_robin = 1"] {
        let pooler = PgBouncer::start(&server, &format!("pool_mode = session\n{settings}"));
        let target = through(&pooler);
        let mut client = connect(&target).unwrap();
        assert_eq!(value(&mut client, "SHOW application_name"), "pupctl/test");
        assert_eq!(value(&mut client, "SHOW client_min_messages"), "warning");
    }
}

#[test]
fn session_mode_with_a_single_server_is_accepted() {
    let server = server();
    let pooler = PgBouncer::start(&server, "pool_mode = session\ndefault_pool_size = 1");
    let mut client = connect(&through(&pooler)).unwrap();
    assert_eq!(value(&mut client, "SELECT 1"), "1");
}
