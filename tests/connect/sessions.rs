//! Passwords, files, roles, hosts, and what is said when there is no session to be had.

use std::fs;
use std::net::TcpListener;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use pupctl::db::connect::{Session, Target};
use pupctl::error::Kind;

use super::certificates::write;
use super::server::{Folder, Server, free_port};
use super::{connect, fails, resolve, resolve_at, value};

const RULES: &str = "\
host all trusted,nobody 127.0.0.1/32 trust
host all app 127.0.0.1/32 scram-sha-256";

fn server() -> Server {
    let server = Server::start(Folder::new(), "superuser_reserved_connections = 3", RULES);
    server.run(&[
        "CREATE ROLE app LOGIN PASSWORD 'top secret'",
        "CREATE ROLE trusted LOGIN",
        "CREATE ROLE stranger LOGIN",
        "CREATE ROLE \"the \"\"owner\"\"\"",
        "GRANT \"the \"\"owner\"\"\" TO trusted",
        "CREATE DATABASE events",
        "CREATE DATABASE closed",
        "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
    ]);
    server
}

fn target(server: &Server, more: &[(&str, &str)]) -> Target {
    let port = server.port_text();
    let mut variables = vec![("PGHOST", "127.0.0.1"), ("PGPORT", port.as_str())];
    variables.extend([("PGUSER", "trusted"), ("PGDATABASE", "events")]);
    variables.extend(more);
    resolve(&variables)
}

#[test]
fn refused_sessions_are_explained() {
    let server = server();
    let error = fails(
        &target(&server, &[("PGUSER", "app"), ("PGPASSWORD", "guess")]),
        "refuses the password of user \"app\"",
    );
    assert_eq!((error.kind(), error.sqlstate()), (Kind::Connection, Some("28P01")));
    assert_eq!(error.hint_text(), Some("the password is from PGPASSWORD; correct it there"));
    fails(&target(&server, &[("PGUSER", "app")]), "asks for the password of user \"app\"");
    let error = fails(&target(&server, &[("PGDATABASE", "nowhere")]), "no database \"nowhere\"");
    assert_eq!(error.sqlstate(), Some("3D000"));
    let error = fails(&target(&server, &[("PGUSER", "nobody")]), "does not let user \"nobody\" in");
    assert!(error.hint_text().unwrap().starts_with("create the role"), "{error:?}");
    let error = fails(&target(&server, &[("PGUSER", "stranger")]), "no pg_hba.conf entry");
    assert!(error.hint_text().unwrap().contains("pg_hba.conf"), "{error:?}");
    fails(&target(&server, &[("PGDATABASE", "closed")]), "may not connect to database \"closed\"");
    for mode in ["require", "verify-full"] {
        let words = format!("does not offer TLS, and sslmode={mode} asks for it");
        let roots = ("PGSSLROOTCERT", if mode == "require" { "" } else { "system" });
        fails(&target(&server, &[("PGSSLMODE", mode), roots]), &words);
    }
}

#[test]
fn a_full_server_is_explained() {
    let server = server();
    let target = target(&server, &[]);
    let mut clients = Vec::new();
    let refused = loop {
        match target.open(&Session::of("crowd")) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert!(refused.message().contains("has no connection left"), "{refused}");
    assert_eq!(refused.sqlstate(), Some("53300"));
    // With a single connection left there is none to look for a pooler with, which is no failure.
    drop(clients.pop());
    let end = Instant::now() + Duration::from_secs(10);
    while let Err(error) = connect(&target) {
        assert!(Instant::now() < end, "{error}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn no_server_is_explained() {
    let port = free_port().to_string();
    let error = fails(
        &resolve(&[("DATABASE_URL", &format!("postgres://127.0.0.1:{port}/e"))]),
        &format!("no server answers at 127.0.0.1:{port}"),
    );
    assert_eq!(error.kind(), Kind::Connection);
    assert!(error.hint_text().unwrap().contains("DATABASE_URL"), "{error:?}");
    fails(
        &resolve(&[("PGHOST", "/nonexistent")]),
        "no server answers at /nonexistent/.s.PGSQL.5432",
    );
    fails(&resolve(&[("PGHOST", "no-such-host.invalid")]), "cannot be resolved");
}

#[test]
fn what_accepts_and_stays_silent_is_left_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let target = resolve(&[("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGCONNECT_TIMEOUT", "2")]);
    fails(&target, "as a PostgreSQL server would within 2 s");
}

#[test]
fn service_and_password_files_are_read() {
    let server = server();
    let home = tempfile::tempdir().unwrap();
    let service = format!(
        "[events]\nhost=127.0.0.1\nport={}\ndbname=events\nuser=app\nsslmode=disable\n",
        server.port
    );
    fs::write(home.path().join(".pg_service.conf"), service).unwrap();
    let line = format!("127.0.0.1:{}:events:app:top secret\n", server.port);
    let passwords = write(home.path(), ".pgpass", &line);
    let mut client = connect(&resolve_at(home.path(), &[("PGSERVICE", "events")])).unwrap();
    assert_eq!(
        value(&mut client, "SELECT current_user || '@' || current_database()"),
        "app@events"
    );
    fs::write(&passwords, line.replace("top secret", "old")).unwrap();
    let target = resolve_at(home.path(), &[("DATABASE_URL", "postgres://?service=events")]);
    let error = fails(&target, "refuses the password");
    assert!(error.hint_text().unwrap().contains(".pgpass, line 1"), "{error:?}");
}

#[test]
fn sessions_are_named_and_take_on_their_role() {
    let server = server();
    let target = target(&server, &[("PGOPTIONS", "-c search_path=events"), ("PGAPPNAME", "mine")]);
    let mut session = Session::of("partitions ensure");
    session.role = Some("the \"owner\"".to_owned());
    let mut client = target.connect(&session).unwrap();
    assert_eq!(value(&mut client, "SELECT current_user"), "the \"owner\"");
    assert_eq!(value(&mut client, "SHOW client_min_messages"), "warning");
    assert_eq!(value(&mut client, "SHOW search_path"), "events");
    let names = "SELECT string_agg(application_name, ',') FROM pg_stat_activity \
                 WHERE usename = 'trusted' AND state = 'idle' AND query LIKE 'SHOW%'";
    assert_eq!(value(&mut server.superuser(), names), "pupctl/partitions ensure");
    session.role = Some("nobody".to_owned());
    let Err(error) = target.connect(&session) else { panic!("there is no such role") };
    assert!(error.message().contains("taking on the role \"nobody\""), "{error}");
}

#[test]
fn several_hosts_are_tried_and_roles_of_servers_respected() {
    let server = server();
    let ports = format!("{},{}", free_port(), server.port);
    let hosts = ("PGHOST", "localhost,127.0.0.1");
    for wanted in ["any", "read-write", "primary"] {
        let more = [hosts, ("PGPORT", &ports), ("PGTARGETSESSIONATTRS", wanted)];
        connect(&target(&server, &more)).unwrap();
    }
    for (wanted, words) in
        [("standby", "is no standby"), ("read-only", "target_session_attrs asks for")]
    {
        fails(&target(&server, &[("PGTARGETSESSIONATTRS", wanted)]), words);
    }
    let socket = server.folder.path.to_str().unwrap();
    let target = target(&server, &[("PGHOST", socket), ("PGSSLMODE", "require")]);
    assert!(target.is_local());
    connect(&target).unwrap();
}

#[test]
fn a_running_statement_is_cancelled() {
    let server = server();
    let target = target(&server, &[]);
    let mut client = connect(&target).unwrap();
    let token = client.cancel_token();
    let mut observer = server.superuser();
    scope(|scope| {
        let running = scope.spawn(move || client.batch_execute("SELECT pg_sleep(60)").unwrap_err());
        let end = Instant::now() + Duration::from_secs(20);
        let active = "SELECT count(*) FROM pg_stat_activity \
                      WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'";
        while value(&mut observer, active) == "0" {
            assert!(Instant::now() < end, "the statement does not start");
            sleep(Duration::from_millis(20));
        }
        target.cancel(&token).unwrap();
        let error = running.join().unwrap();
        assert_eq!(error.code(), Some(&postgres::error::SqlState::QUERY_CANCELED));
    });
}
