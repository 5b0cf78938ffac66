//! What the daemon tells: systemd, and whoever collects its log.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use serde_json::Value;

use crate::support::{TestDatabase, eventually};
use crate::{ENSURE, health, missed, run, store, waits};

/// What a daemon tells a socket until it is stopped.
fn told(db: &TestDatabase, socket: &UnixDatagram, name: &str) -> Vec<String> {
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    let receive = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("something is told");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let daemon = run(db).env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "400000").spawn();
    let mut messages = vec![receive()];
    while messages.iter().filter(|message| message.starts_with("WATCHDOG=1\n")).count() < 4 {
        messages.push(receive());
    }
    daemon.signal("TERM");
    daemon.wait().success();
    while messages.last().is_none_or(|message| message != "STOPPING=1") {
        messages.push(receive());
    }
    messages
}

#[test]
fn systemd_is_told_how_it_goes() {
    let db = store(ENSURE);
    let path = db.folder().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let messages = told(&db, &socket, path.to_str().expect("a path"));
    assert_eq!(messages[0], "READY=1");
    assert!(messages[1].contains("STATUS=next is ensure at "), "{messages:?}");
}

#[test]
fn sockets_may_have_a_name_without_a_file() {
    let db = store(ENSURE);
    let name = format!("pupctl-test-{}", db.name());
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    assert_eq!(told(&db, &socket, &format!("@{name}"))[0], "READY=1");
}

#[test]
fn jobs_do_not_speak_for_the_daemon() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 2);
    let path = db.folder().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    // A socket that nobody reads is no reason to stop.
    drop(socket);
    run(&db).args(["--once"]).env("NOTIFY_SOCKET", &path).run().success();
}

#[test]
fn the_health_file_says_what_comes_next() {
    let db = store(ENSURE);
    let daemon = run(&db).spawn();
    eventually("it waits", || waits(&db));
    let told = health(&db).expect("a file");
    assert_eq!((&told["version"], &told["schema"]), (&1.into(), &"public".into()));
    assert_eq!(told["pid"], daemon.id());
    assert_eq!(told["connected"], true);
    let job = &told["jobs"][0];
    assert_eq!(job["command"], "partitions ensure");
    assert!(job["next"].as_str().expect("a time").contains("T03:17:00Z"), "{job}");
    assert_eq!(job["exit_code"], Value::Null);
    daemon.signal("TERM");
    daemon.wait().success();
}

/// Every line is an object with these.
fn lines(stderr: &str) -> Vec<Value> {
    let line = |line: &str| -> Value {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["timestamp", "level", "message"] {
            assert!(Value::is_string(&line[key]), "{line}");
        }
        line
    };
    stderr.lines().map(line).collect()
}

#[test]
fn logs_are_objects_where_that_is_wanted() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 2);
    let output = run(&db).args(["--once", "--log-format", "json", "-v"]).run().success();
    let told = lines(&output.stderr);
    let says = |what: &str| {
        told.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains(what)))
    };
    assert!(says("ensure: pupctl partitions ensure"), "{output}");
    // The job itself has told this.
    assert!(says("Done: 3 partitions of events made"), "{output}");
    let output = db.pupctl(["partitions", "attach", "nobody", "--log-format", "json"]);
    let told = lines(&output.failure(2).stderr);
    assert_eq!(told.last().expect("a line")["level"], "ERROR", "{told:?}");
    assert!(told.last().expect("a line")["hint"].is_string());
    // Results are as they were.
    let output = db.pupctl(["partitions", "list", "--log-format", "json"]).success();
    assert!(output.stdout.contains("events_"), "{output}");
    // Quiet is quiet, and what an error says has no colours in it.
    let quiet = db.pupctl(["partitions", "ensure", "--log-format", "json", "-q"]).success();
    assert_eq!(quiet.stderr, "");
    let output = db
        .command(["partitions", "ensure", "--log-format", "json", "--color", "always"])
        .run()
        .success();
    assert!(!output.stderr.contains("\\u001b") && !output.stderr.contains('\u{1b}'), "{output}");
    lines(&output.stderr);
}
