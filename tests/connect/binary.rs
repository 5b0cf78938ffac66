//! The binary on servers that let nobody in, or that stand behind a pooler.

use super::pgbouncer::PgBouncer;
use super::server::{Folder, Server, free_port};
use crate::support::{Output, Pupctl};

const RULES: &str = "\
host all trusted 127.0.0.1/32 trust
host all app 127.0.0.1/32 scram-sha-256";

fn server() -> Server {
    let server = Server::start(Folder::new(), "", RULES);
    server.run(&[
        "CREATE ROLE app LOGIN PASSWORD 'top secret'",
        "CREATE ROLE trusted LOGIN",
        "CREATE DATABASE events OWNER app",
    ]);
    server
}

/// Runs `partitions list` on an address, and gives back what it told.
#[track_caller]
fn refused(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    for verb in [["partitions", "list"], ["schema", "status"]] {
        let output = Pupctl::new(folder.path()).args(verb).env("DATABASE_URL", url).run();
        assert_eq!(output.stdout, "", "{output}");
        let _ = output.failure(1);
    }
    let init = ["schema", "init", "--partition-by", "none"];
    let output = Pupctl::new(folder.path()).args(init).env("DATABASE_URL", url).run().failure(1);
    output.stderr
}

#[test]
fn a_server_that_is_down() {
    let port = free_port();
    let told = refused(&format!("postgres://app@127.0.0.1:{port}/events"));
    let wanted = format!(
        "error: no server answers at 127.0.0.1:{port}\nhint: check that the server runs, and its \
         host and port; the database is named by DATABASE_URL\n"
    );
    assert_eq!(told, wanted);
}

#[test]
fn a_wrong_password_and_an_unknown_database() {
    let server = server();
    let address = format!("127.0.0.1:{}", server.port);
    let told = refused(&format!("postgres://app:guess@{address}/events?sslmode=disable"));
    assert!(told.contains("refuses the password of user \"app\""), "{told}");
    assert!(told.contains("\nhint: ") && !told.contains("guess"), "{told}");
    let told = refused(&format!("postgres://trusted@{address}/nowhere?sslmode=disable"));
    assert!(told.contains("no database \"nowhere\""), "{told}");
    // And the right ones work.
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://app:top%20secret@{address}/events?sslmode=disable");
    let status = Pupctl::new(folder.path()).args(["schema", "status"]).env("DATABASE_URL", &url);
    let output = status.run().success();
    assert!(output.stdout.contains("database events"), "{output}");
}

/// `schema init` through a pooler in the given mode.
fn init_through(server: &Server, mode: &str) -> Output {
    let pooler = PgBouncer::start(server, &format!("pool_mode = {mode}\ndefault_pool_size = 5"));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", pooler.port);
    let init = ["schema", "init", "--partition-by", "context,month", "--contexts", "Billing"];
    Pupctl::new(folder.path()).args(init).env("DATABASE_URL", url).run()
}

#[test]
fn the_doctor_tells_of_a_pooler_in_transaction_mode() {
    let server = Server::start(Folder::new(), "", "host all all 127.0.0.1/32 trust");
    let pooler = PgBouncer::start(&server, "pool_mode = transaction\ndefault_pool_size = 5");
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", pooler.port);
    let doctor = Pupctl::new(folder.path()).args(["doctor", "--exit-code", "-o", "json"]);
    let told = doctor.env("DATABASE_URL", url).run().failure(3).json();
    assert_eq!(
        (&told["problems"], &told["findings"][0]["check"]),
        (&1.into(), &"connection".into())
    );
}

#[test]
fn a_pooler_in_transaction_mode_is_refused_and_one_in_session_mode_is_not() {
    let server = Server::start(Folder::new(), "", "host all all 127.0.0.1/32 trust");
    let tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'";
    let count = || super::value(&mut server.superuser(), tables);
    let refused = init_through(&server, "transaction").failure(1);
    assert!(refused.stderr.starts_with("error: 127.0.0.1:"), "{refused}");
    let words = "is a connection pooler in transaction mode, and pupctl needs a session of its own";
    assert!(refused.stderr.contains(words), "{refused}");
    assert!(refused.stderr.contains("hint: connect directly to the server"), "{refused}");
    assert_eq!(count(), "0");
    let done = init_through(&server, "session").success();
    assert!(done.stderr.contains("Done: the store is ready"), "{done}");
    assert_ne!(count(), "0");
}
