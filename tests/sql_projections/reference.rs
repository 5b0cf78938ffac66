//! What the projections must come to, event by event: plain functions, which know nothing of SQL.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;

use crate::file;

/// Rows, each as one text: `a|b|c`, in order.
pub(crate) type Rows = Vec<String>;

/// The real events, in the order of their positions.
pub(crate) fn events() -> Vec<Value> {
    let compressed = std::fs::File::open(file("tests/data/git-history-3k.ndjson.gz"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(compressed.expect("the excerpt"))
        .read_to_string(&mut text)
        .expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().expect("a text")
}

fn blob(event: &Value) -> &str {
    text(&event["payload"], "blob")
}

/// What each table must hold, by its name.
pub(crate) fn tables(events: &[Value], context: &str) -> BTreeMap<&'static str, Rows> {
    let (files, removed) = file_tree(events);
    let (sizes, history) = file_history(events);
    let mut tables = BTreeMap::from([
        ("file_count", file_count(events)),
        ("changes_by_day", changes_by_day(events, context)),
        ("files", files),
        ("removed", removed),
        ("file_sizes", sizes),
        ("file_history", history),
    ]);
    tables.values_mut().for_each(|rows| rows.sort());
    tables
}

fn file_count(events: &[Value]) -> Rows {
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for event in events {
        let count = counts.entry(text(event, "bounded_context")).or_default();
        match text(event, "event_type") {
            "FileAdded" => count.0 += 1,
            "FileDeleted" => count.1 += 1,
            _ => {}
        }
    }
    counts
        .iter()
        .map(|(context, (added, deleted))| format!("{context}|{added}|{deleted}"))
        .collect()
}

fn changes_by_day(events: &[Value], context: &str) -> Rows {
    let mut days: BTreeMap<&str, (u64, u128)> = BTreeMap::new();
    for event in events.iter().filter(|event| event["bounded_context"] == context) {
        let day = days.entry(&text(event, "created_at")[..10]).or_default();
        day.0 += 1;
        day.1 += u128::from_str_radix(blob(event), 16).expect("a number");
    }
    let row = |(day, (changes, blobs)): (&&str, &(u64, u128))| {
        format!("{day}|{context}|{changes}|{blobs}")
    };
    days.iter().map(row).collect()
}

fn file_tree(events: &[Value]) -> (Rows, Rows) {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut removed: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        let path = text(event, "aggregate_id");
        if text(event, "event_type") == "FileDeleted" {
            files.remove(path);
            *removed.entry(path).or_default() += 1;
            continue;
        }
        let (kind, mode) = (text(event, "aggregate_type"), text(&event["payload"], "mode"));
        let at = text(event, "created_at").replace('T', " ").replace('Z', "+00");
        let (blob, version) = (blob(event), &event["aggregate_version"]);
        files.insert(path, format!("{path}|{kind}|{blob}|{mode}|{version}|{at}"));
    }
    let removed = removed.iter().map(|(path, times)| format!("{path}|{times}"));
    (files.into_values().collect(), removed.collect())
}

fn file_history(events: &[Value]) -> (Rows, Rows) {
    let mut sizes: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
    let mut history = Vec::new();
    for event in events {
        let path = text(event, "aggregate_id");
        let sign = if text(event, "event_type") == "FileDeleted" { -1 } else { 1 };
        let amount = sign * i64::from_str_radix(&blob(event)[..4], 16).expect("a number");
        let size = sizes.entry(path).or_default();
        *size = (size.0 + amount, blob(event));
        history.push(format!("{path}|{}|{amount}|{}", event["aggregate_version"], size.0));
    }
    let sizes = sizes.iter().map(|(path, (balance, blob))| format!("{path}|{balance}|{blob}"));
    (sizes.collect(), history)
}
