//! As much of HTTP as a scrape needs: one request for a connection, small, in little time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The longest request: a line and headers.
const REQUEST_MAX: usize = 8 * 1024;

/// How long a client may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often is looked whether to stop while a client is slow.
const TICK: Duration = Duration::from_millis(200);

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Whether only the head of the answer is wanted.
    pub(super) head_only: bool,
    /// The path, without what follows a `?`.
    pub(super) path: String,
}

/// An answer without a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    NotFound,
    OtherMethod,
    Slow,
    TooLong,
    Busy,
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::OtherMethod => "405 Method Not Allowed",
            Self::Slow => "408 Request Timeout",
            Self::TooLong => "431 Request Header Fields Too Large",
            Self::Busy => "503 Service Unavailable",
        }
    }
}

/// Reads a request. None where the client went away, or everything is about to stop.
pub(super) fn read(
    stream: &mut TcpStream,
    stopped: &dyn Fn() -> bool,
) -> Option<Result<Request, Refusal>> {
    let deadline = Instant::now() + PATIENCE;
    stream.set_read_timeout(Some(TICK)).ok()?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        if stopped() {
            return None;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
            Err(error) if is_early(&error) => {}
            Err(_) => return None,
        }
        if ends(&request) {
            return Some(parse(&request));
        }
        if request.len() > REQUEST_MAX {
            return Some(Err(Refusal::TooLong));
        }
        if Instant::now() >= deadline {
            return Some(Err(Refusal::Slow));
        }
    }
}

fn is_early(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

fn ends(request: &[u8]) -> bool {
    request.windows(4).any(|end| end == b"\r\n\r\n") || request.windows(2).any(|end| end == b"\n\n")
}

fn parse(request: &[u8]) -> Result<Request, Refusal> {
    let line = request.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Refusal::Malformed)?.trim_end();
    let words: Vec<_> = line.split(' ').collect();
    let [method, target, version] = words.as_slice() else { return Err(Refusal::Malformed) };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return Err(Refusal::Malformed);
    }
    let path = target.split('?').next().unwrap_or_default().to_owned();
    match *method {
        "GET" => Ok(Request { head_only: false, path }),
        "HEAD" => Ok(Request { head_only: true, path }),
        _ => Err(Refusal::OtherMethod),
    }
}

/// Answers with a text.
pub(super) fn answer(stream: &mut TcpStream, body: &str, head_only: bool) {
    respond(stream, "200 OK", "text/plain; version=0.0.4; charset=utf-8", body, head_only);
}

/// Answers that there is none.
pub(super) fn refuse(stream: &mut TcpStream, refusal: Refusal) {
    let status = refusal.status();
    let body = format!("{status}\nThere are /metrics and /-/healthy here.\n");
    respond(stream, status, "text/plain; charset=utf-8", &body, false);
}

fn respond(stream: &mut TcpStream, status: &str, kind: &str, body: &str, head_only: bool) {
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if !head_only {
        answer.push_str(body);
    }
    // A client that is gone, or does not read, has itself to blame.
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // What it still sends is read, or the end of the answer could be lost with it.
    let _ = stream.set_read_timeout(Some(TICK));
    let mut rest = [0; 1024];
    let deadline = Instant::now() + TICK;
    while Instant::now() < deadline && matches!(stream.read(&mut rest), Ok(read) if read > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(request: &str) -> Result<(String, bool), Refusal> {
        parse(request.as_bytes()).map(|request| (request.path, request.head_only))
    }

    #[test]
    fn requests_are_understood_or_refused() {
        let metrics = "/metrics".to_owned();
        assert_eq!(of("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Ok((metrics.clone(), false)));
        assert_eq!(of("HEAD /metrics?a=b HTTP/1.0\r\n\r\n"), Ok((metrics, true)));
        assert_eq!(of("POST /metrics HTTP/1.1\r\n\r\n"), Err(Refusal::OtherMethod));
        for wrong in
            ["\r\n\r\n", "GET /metrics\r\n\r\n", "GET x HTTP/1.1\r\n\r\n", "GET / HTTP/2\r\n"]
        {
            assert_eq!(of(wrong), Err(Refusal::Malformed), "{wrong}");
        }
        assert_eq!(parse(b"GET /\xff HTTP/1.1\r\n\r\n"), Err(Refusal::Malformed));
    }
}
