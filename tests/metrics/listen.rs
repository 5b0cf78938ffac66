//! `metrics --listen`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{samples, store};
use crate::support::{Background, TestDatabase, eventually};

/// A port that nobody listens on at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Sends a request as it is, and gives back all of the answer.
fn ask(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn get(port: u16, path: &str) -> String {
    ask(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).expect("an answer")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

/// Starts it, and waits until it answers.
fn listen(db: &TestDatabase, interval: &str) -> (u16, Background) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let run = db.command(["metrics", "--listen", &address, "--interval", interval]).spawn();
    eventually("it listens", || TcpStream::connect(&address).is_ok());
    (port, run)
}

#[test]
fn it_answers_what_it_is_asked_and_ends_when_it_is_told_to() {
    let db = store();
    let (port, run) = listen(&db, "10m");
    let answer = get(port, "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(answer.contains(&format!("Content-Length: {}\r\n", body(&answer).len())));
    let found = samples(body(&answer));
    assert_eq!((found["pupctl_up"], found["pupctl_events_position"]), (1.0, 15.0));
    super::check(body(&answer));
    // Within the interval it does not ask the server again.
    assert_eq!(body(&get(port, "/metrics?x=1")), body(&answer));
    assert!(get(port, "/-/healthy").ends_with("pupctl is healthy\n"));
    assert!(get(port, "/").starts_with("HTTP/1.1 404 "));
    let sent = "POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx";
    let told = ask(port, sent).expect("an answer");
    assert!(told.starts_with("HTTP/1.1 405 ") && told.contains("Allow: GET, HEAD\r\n"), "{told}");
    let head = ask(port, "HEAD /metrics HTTP/1.1\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 ") && body(&head).is_empty(), "{head}");
    assert!(ask(port, "nonsense\r\n\r\n").expect("an answer").starts_with("HTTP/1.1 400 "));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
    let told = ask(port, &long);
    assert!(told.is_none_or(|told| told.is_empty() || told.starts_with("HTTP/1.1 431 ")));
    run.signal("TERM");
    let told = run.wait().success();
    assert!(
        told.stderr.contains(&format!("Listening on http://127.0.0.1:{port}/metrics")),
        "{told}"
    );
    assert!(told.stderr.ends_with("Stopped\n"), "{told}");
}

#[test]
fn slow_clients_keep_nobody_waiting() {
    let db = store();
    let (port, run) = listen(&db, "10m");
    // More than are answered at the same time; none of them says anything.
    let mut slow: Vec<_> =
        (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("a connection")).collect();
    slow[0].write_all(b"GET /metrics HT").expect("a part of a request");
    let begun = Instant::now();
    assert!(get(port, "/metrics").starts_with("HTTP/1.1 200 "));
    // They are dropped after 5 seconds, 8 at a time.
    assert!(begun.elapsed() < Duration::from_secs(18), "{:?}", begun.elapsed());
    let mut told = String::new();
    let _ = slow[0].read_to_string(&mut told);
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    // Nor does one keep it from ending.
    let _open = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let begun = Instant::now();
    run.signal("TERM");
    let _ = run.wait().success();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_server_that_goes_away_is_told_and_found_again() {
    let db = store();
    let (port, run) = listen(&db, "10ms");
    let up = || samples(body(&get(port, "/metrics")))["pupctl_up"];
    assert_eq!(up(), 1.0);
    // Its session is ended: the next scrape may notice, the one after it connects anew.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    db.execute(end);
    eventually("it connects anew", || up() == 1.0);
    let (name, away) = (db.name().to_owned(), format!("{}_away", db.name()));
    let server = crate::support::TestServer::shared();
    let rename = |from: &str, to: &str| {
        let mut client = server.client();
        eventually("nobody uses the database", || {
            let end = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{from}'"
            );
            client.batch_execute(&end).expect("ended");
            client.batch_execute(&format!("ALTER DATABASE {from} RENAME TO {to}")).is_ok()
        });
    };
    rename(&name, &away);
    eventually("it says so", || up() == 0.0);
    assert!(get(port, "/-/healthy").starts_with("HTTP/1.1 200 "), "it is not to blame");
    rename(&away, &name);
    eventually("it finds it again", || up() == 1.0);
    run.signal("INT");
    let told = run.wait().success();
    assert!(told.stderr.contains("error: ") && told.stderr.contains("can be read again"), "{told}");
}

#[test]
fn a_port_in_use_and_an_open_address_are_refused() {
    let db = store();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let told = db.pupctl(["metrics", "--listen", &address]).failure(1);
    assert!(told.stderr.contains(&format!("cannot listen on {address}")), "{told}");
    assert!(told.stderr.contains("hint: somebody listens there already"), "{told}");
    for open in ["0.0.0.0:0", "[::]:0"] {
        let told = db.pupctl(["metrics", "--listen", open]).failure(2);
        assert!(told.stderr.contains("--allow-remote"), "{told}");
    }
    db.pupctl(["metrics", "--listen", "nonsense"]).failure(2);
    db.pupctl(["metrics", "--listen", "127.0.0.1:0", "--dry-run"]).failure(2);
}
