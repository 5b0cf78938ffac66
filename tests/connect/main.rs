//! Connects to real servers: with and without TLS, with passwords and certificates, through
//! service and password files, and through PgBouncer. Every test starts the servers it needs.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod binary;
mod certificates;
mod pgbouncer;
mod poolers;
mod server;
mod sessions;
mod tls;

use std::path::Path;

use postgres::{Client, SimpleQueryMessage};
use pupctl::Error;
use pupctl::db::connect::{Session, Sources, Target};

/// A target from variables alone, for the operating system user `postgres`.
fn resolve(variables: &[(&str, &str)]) -> Target {
    resolve_at(Path::new("/nonexistent"), variables)
}

/// The same with a home folder.
fn resolve_at(home: &Path, variables: &[(&str, &str)]) -> Target {
    let sources = Sources {
        environment: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        home: Some(home.to_owned()),
        user: Some("postgres".to_owned()),
        ..Sources::default()
    };
    Target::resolve(&sources).unwrap()
}

fn connect(target: &Target) -> Result<Client, Error> {
    target.connect(&Session::of("test"))
}

/// The first value of the first row.
fn value(client: &mut Client, query: &str) -> String {
    let messages = client.simple_query(query).unwrap();
    messages
        .iter()
        .find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .unwrap()
}

/// Expects a failure whose message has these words, a hint, and none of the words that say
/// nothing.
#[track_caller]
fn fails(target: &Target, words: &str) -> Error {
    let Err(error) = connect(target) else { panic!("{target} should fail with: {words}") };
    let message = error.message();
    assert!(message.contains(words), "{message}\n  does not contain: {words}");
    assert!(!message.contains("db error") && !message.contains("error performing"), "{message}");
    assert!(error.hint_text().is_some(), "no hint: {message}");
    error
}
