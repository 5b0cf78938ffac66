//! What the commands say to machines.

use serde_json::Value;

use crate::support::TestDatabase;
use crate::{Kind, convert, store, to};

/// Runs a verb with `-o json`: one object, its version, the command.
#[track_caller]
fn json(db: &TestDatabase, words: &[&str]) -> Value {
    let mut all = words.to_vec();
    all.extend(["-o", "json"]);
    let run = convert(db, &all).success();
    let value = run.json();
    assert_eq!(value["version"], 1, "{run}");
    assert_eq!(value["command"], format!("convert {}", words[0]), "{run}");
    value
}

fn keys(value: &Value) -> String {
    let keys = value.as_object().expect("an object").keys();
    keys.map(String::as_str).collect::<Vec<_>>().join(" ")
}

const DONE: &str = "version command dry_run changed conversion stall";

#[test]
fn every_verb_in_json() {
    let db = store(Kind::Pupctl);
    let status = json(&db, &["status"]);
    assert_eq!(status["conversion"], Value::Null);

    let mut dry = to("start", "context,month");
    dry.push("--dry-run");
    let planned = json(&db, &dry);
    assert_eq!(planned["events"], 3360);
    assert_eq!(planned["parts"]["parts"].as_array().map(Vec::len), Some(42), "{planned}");
    let steps = planned["steps"].as_array().expect("steps");
    assert!(steps.iter().all(|step| step["statements"].is_array()), "{planned}");

    let started = json(&db, &to("start", "context,month"));
    assert_eq!(keys(&started), DONE);
    let conversion = &started["conversion"];
    assert_eq!((&conversion["phase"], &conversion["rows"]), (&"ready".into(), &3360.into()));
    assert_eq!(conversion["report"]["parts"].as_array().map(Vec::len), Some(42), "{conversion}");
    assert_eq!(conversion["report"]["deviating_heads"], serde_json::json!([]));
    let status = json(&db, &["status"]);
    assert_eq!(status["conversion"]["phase"], "ready");
    assert_eq!((&status["running"], &status["copied"]["rows"]), (&false.into(), &3360.into()));

    let swapped = json(&db, &["swap"]);
    assert_eq!(keys(&swapped), DONE);
    assert!(swapped["stall"]["writers_us"].as_u64() > Some(0), "{swapped}");
    assert!(swapped["stall"]["tries"].as_u64() > Some(0), "{swapped}");
    assert_eq!(swapped["conversion"]["phase"], "swapped");
    let back = json(&db, &["rollback"]);
    assert_eq!(back["conversion"]["phase"], "rolled_back", "{back}");
    let run = json(&db, &to("run", "context"));
    assert_eq!(run["conversion"]["phase"], "swapped", "{run}");
    let finished = json(&db, &["finish"]);
    assert_eq!(finished["conversion"]["phase"], "finished", "{finished}");
    let journal = db.journal();
    let ours = journal.iter().filter(|line| line.starts_with("convert"));
    assert!(ours.clone().all(|line| line.ends_with(": done")), "{journal:?}");
    assert_eq!(ours.count(), 5, "{journal:?}");
}
