//! What the commands print, word by word, and how they end.

#[path = "../support/mod.rs"]
mod support;

mod json;
mod settings;
mod streams;
mod words;

use support::TestDatabase;

/// A database with a small store.
fn store() -> TestDatabase {
    let db = TestDatabase::new();
    let layout = ["--partition-by", "context,month", "--contexts", "Identity,Billing"];
    db.pupctl(["schema", "init", "-q", "--months", "1"].iter().chain(&layout)).success();
    db
}

/// Replaces what differs from run to run: times, versions, names of databases, sizes.
fn plain(db: &TestDatabase) -> insta::internals::SettingsBindDropGuard {
    let now: String = db.one("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')");
    let next: String =
        db.one("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY-MM')");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z *", "[time]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "[time]");
    settings.add_filter(r"applied +\n", "applied\n");
    settings.add_filter(r"\+-{20,}\n", "+----\n");
    settings.add_filter(r"PostgreSQL \d+\.\d+( \([^)]*\))?", "PostgreSQL [version]");
    settings.add_filter(&format!("database {}", db.name()), "database [name]");
    for (month, name) in [(&now, "YYYY-M0"), (&next, "YYYY-M1")] {
        settings.add_filter(month, name);
        settings.add_filter(&month.replace('-', "_"), name.replace('-', "_"));
    }
    settings.bind_to_scope()
}
