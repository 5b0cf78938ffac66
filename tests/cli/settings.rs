//! Where settings come from, which one wins, and what the server is told.

use super::store;
use crate::support::{Pupctl, TestDatabase, TestServer, eventually};

#[test]
fn exit_codes() {
    use pupctl::cli::exit::Exit;
    use pupctl::error::Kind;
    let codes = [
        (Kind::Invalid, 2),
        (Kind::Refused, 1),
        (Kind::Busy, 4),
        (Kind::LockTimeout, 5),
        (Kind::Connection, 1),
        (Kind::Database, 1),
        (Kind::System, 1),
        (Kind::Interrupted, 130),
    ];
    for (kind, code) in codes {
        assert_eq!(Exit::from(kind).code(), code, "{kind:?}");
    }
    assert_eq!((Exit::Done.code(), Exit::Found.code()), (0, 3));
}

/// Which database a command works on, asked of the command itself.
fn database(command: Pupctl) -> String {
    let command = command.args(["schema", "status", "-o", "json"]);
    command.run().success().json()["database"].as_str().expect("a name").to_owned()
}

#[test]
fn the_flag_wins_over_the_variables_over_the_file_over_libpq() {
    let [flag, own, common, file, libpq] = std::array::from_fn(|_| TestDatabase::new());
    let folder = tempfile::tempdir().expect("a folder");
    let (_, parameters) = libpq.url().split_once('?').expect("parameters");
    let host = parameters.split('&').find_map(|pair| pair.strip_prefix("host="));
    let host = host.expect("a socket").replace("%2F", "/");
    let with = |sources: usize| {
        let all: [(usize, &str, &str); 6] = [
            (1, "PGHOST", &host),
            (1, "PGUSER", "postgres"),
            (1, "PGPORT", "5432"),
            (1, "PGDATABASE", libpq.name()),
            (3, "DATABASE_URL", common.url()),
            (4, "PUPCTL_DATABASE_URL", own.url()),
        ];
        let line = format!("database_url = {:?}\n", file.url());
        let text = if sources >= 2 { line } else { String::new() };
        std::fs::write(folder.path().join("pupctl.toml"), text).expect("a file");
        let mut command = Pupctl::new(folder.path());
        for (number, name, value) in all {
            if number <= sources {
                command = command.env(name, value);
            }
        }
        if sources >= 5 { command.args(["--database-url", flag.url()]) } else { command }
    };
    assert_eq!(database(with(1)), libpq.name());
    assert_eq!(database(with(2)), file.name());
    assert_eq!(database(with(3)), common.name());
    assert_eq!(database(with(4)), own.name());
    assert_eq!(database(with(5)), flag.name());
}

#[test]
fn the_flag_wins_over_the_file_in_other_settings_too() {
    let db = TestDatabase::new();
    let file = "schema = \"shop\"\n[layout]\npartition_by = \"hash\"\nhash_partitions = 2\n";
    std::fs::write(db.folder().join("pupctl.toml"), file).expect("a file");
    db.pupctl(["schema", "init", "-q"]).success();
    let leaves = "SELECT count(*) FROM pg_partition_tree('shop.events') WHERE isleaf";
    assert_eq!(db.one::<i64>(leaves), 2);
    let other = ["schema", "init", "-q", "--schema", "other", "--hash-partitions", "3"];
    db.pupctl(other).success();
    let leaves = "SELECT count(*) FROM pg_partition_tree('other.events') WHERE isleaf";
    assert_eq!(db.one::<i64>(leaves), 3);
}

#[test]
fn the_server_sees_which_command_is_at_work_and_no_password() {
    let db = store();
    let secret = "hunter2-hunter2";
    let url = db.url().replace("user=postgres", &format!("user=postgres&password={secret}"));
    assert!(url.contains(secret), "{url}");
    let held = db
        .command(["contexts", "add", "Shipping"])
        .env("PUPCTL_DATABASE_URL", url)
        .failpoints("lock::taken=pause")
        .spawn();
    let sql = "SELECT application_name FROM pg_stat_activity
        WHERE datname = current_database() AND pid IN
            (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)";
    let mut client = db.client();
    let mut name = String::new();
    eventually("it has the lock of the store", || {
        let row = client.query_opt(sql, &[]).expect("the sessions");
        row.is_some_and(|row| {
            name = row.get(0);
            true
        })
    });
    assert_eq!(name, "pupctl/contexts add");
    let leaks = "SELECT count(*) FROM pg_stat_activity AS a WHERE a::text LIKE '%' || $1 || '%'
        AND pid <> pg_backend_pid()";
    let leaks: i64 = client.query_one(leaks, &[&secret]).expect("the sessions").get(0);
    assert_eq!(leaks, 0);
    let line = std::fs::read(format!("/proc/{}/cmdline", held.id())).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&line).contains(secret));
    let _ = held.kill().killed();
}

#[test]
fn passwords_are_not_printed() {
    let secret = "hunter2-hunter2";
    let folder = tempfile::tempdir().expect("a folder");
    let shared = TestServer::shared().url().replace('?', &format!("?password={secret}&"));
    for url in [
        shared.clone(),
        shared.replace("host=", "hosts="),
        format!("postgres://app:{secret}@127.0.0.1:1/shop"),
        format!("postgres://app:{secret}@db@127.0.0.1:1/shop"),
        format!("postgres://app:1/{secret}@127.0.0.1:1/shop"),
        format!("host=127.0.0.1 port=1 user=app password={secret}"),
        format!("host=127.0.0.1 port=1 passwort={secret}"),
        format!("host=127.0.0.1 port=1 password='{secret}"),
    ] {
        let verbose = ["partitions", "list", "-vv", "-o", "json"];
        let file = format!("database_url = {}\n", serde_json::Value::from(url.as_str()));
        let flag = Pupctl::new(folder.path()).args(["--database-url", &url]);
        let variable = Pupctl::new(folder.path()).env("DATABASE_URL", &url);
        for command in [flag, variable] {
            let output = command.args(verbose).run();
            assert_ne!(output.code, Some(0), "{output}");
            assert!(!output.stdout.contains(secret), "{url}: {}", output.stdout);
            assert!(!output.stderr.contains(secret), "{url}: {}", output.stderr);
        }
        std::fs::write(folder.path().join("other.toml"), file).expect("a file");
        let output =
            Pupctl::new(folder.path()).args(["--config", "other.toml"]).args(verbose).run();
        assert!(!format!("{}{}", output.stdout, output.stderr).contains(secret), "{url}");
    }
    // A mistake elsewhere in the file shows its own line only.
    let text = format!("database_url = \"postgres://app:{secret}@db/shop\"\nshcema = \"es\"\n");
    std::fs::write(folder.path().join("pupctl.toml"), text).expect("a file");
    let output = Pupctl::new(folder.path()).args(["partitions", "list"]).run().failure(2);
    assert!(output.stderr.contains("shcema") && !output.stderr.contains(secret), "{output}");
}
