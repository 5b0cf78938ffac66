//! JSON for machines: one object, its version, the command, named lists.

use serde_json::Value;

use super::store;
use crate::support::{Pupctl, TestDatabase};

/// Runs a command with `-o json` and gives back the names of the fields of its object.
#[track_caller]
fn fields<const N: usize>(db: &TestDatabase, command: &str, more: [&str; N]) -> (Value, String) {
    let words = command.split(' ').chain(more);
    let output = db.command(words).args(["--output", "json"]).run().success();
    let value = output.json();
    assert_eq!(value["version"], 1, "{output}");
    assert_eq!(value["command"], command, "{output}");
    let keys: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    let keys = keys.join(" ");
    (value, keys)
}

const CHANGES: &str = "version command dry_run changed migrations partitions steps notes problems";

#[test]
fn commands_that_write() {
    let db = TestDatabase::new();
    let layout = ["--partition-by", "context", "--contexts", "Billing"];
    let (planned, keys) = fields(
        &db,
        "schema init",
        ["--partition-by", "context", "--contexts", "Billing", "--dry-run"],
    );
    assert_eq!(keys, CHANGES);
    assert_eq!((&planned["dry_run"], &planned["changed"]), (&true.into(), &true.into()));
    let step = planned["steps"][0].as_object().expect("a step");
    assert!(step["statements"][0]["sql"].is_string(), "{step:?}");
    assert!(!db.one::<bool>("SELECT to_regclass('events') IS NOT NULL"), "not so dry");

    let (made, keys) = fields(&db, "schema init", layout);
    assert_eq!(keys, CHANGES);
    assert_eq!((&made["dry_run"], &made["changed"]), (&false.into(), &true.into()));
    assert_eq!(made["migrations"].as_array().map(Vec::len), Some(9));
    let partition = &made["partitions"][1];
    assert_eq!(partition["name"], "public.events_billing");
    assert_eq!(partition["parent"], "public.events");
    assert_eq!(partition["table"], "events");
    assert_eq!(partition["leaf"], true);

    let (again, keys) = fields(&db, "schema init", layout);
    assert_eq!((keys.as_str(), &again["changed"]), (CHANGES, &false.into()));
    let (added, keys) = fields(&db, "contexts add", ["Shipping"]);
    assert_eq!((keys.as_str(), &added["changed"]), (CHANGES, &true.into()));
    let (ensured, keys) = fields(&db, "partitions ensure", []);
    assert_eq!((keys.as_str(), &ensured["changed"]), (CHANGES, &false.into()));
    assert!(ensured["notes"][0].is_string(), "{ensured}");
}

#[test]
fn commands_that_read() {
    let db = store();
    let (list, keys) = fields(&db, "partitions list", ["--heads"]);
    assert_eq!(keys, "version command partitions totals");
    assert_eq!(list["partitions"].as_array().map(Vec::len), Some(8));
    assert_eq!(list["totals"][0]["leaves"], 4);
    let (contexts, keys) = fields(&db, "contexts list", []);
    assert_eq!(keys, "version command contexts");
    assert_eq!(contexts["contexts"][1]["name"], "Billing");
    let (check, keys) = fields(&db, "partitions check", []);
    assert_eq!(
        (keys.as_str(), &check["findings"]),
        ("version command findings", &Value::Array(vec![]))
    );
    let (status, keys) = fields(&db, "schema status", []);
    assert!(
        keys.starts_with("version command server database role schema layout tables "),
        "{keys}"
    );
    assert_eq!(status["layout"]["form"], 2);
    assert_eq!(status["operations"][0]["outcome"], "done");
}

#[test]
fn findings() {
    let db = store();
    db.execute("DROP TABLE aggregate_heads_identity");
    let output = db.pupctl(["partitions", "check", "--exit-code", "-o", "json"]).failure(3);
    let finding = &output.json()["findings"][0];
    assert_eq!(finding["check"], "missing_partition");
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["object"], "public.aggregate_heads");
    assert_eq!(finding["remedy"], "pupctl partitions ensure");
}

#[test]
fn failures() {
    let db = TestDatabase::new();
    let output = db.pupctl(["partitions", "list", "-o", "json"]).failure(1);
    let value = output.json();
    assert_eq!(value["version"], 1);
    assert_eq!(value["command"], "partitions list");
    let error = value["error"].as_object().expect("an error");
    let keys: Vec<_> = error.keys().map(String::as_str).collect();
    assert_eq!(keys, ["kind", "message", "details", "hint", "sqlstate"]);
    assert_eq!(error["kind"], "Refused");
    assert_eq!(error["message"], "there is no store in schema public");
    assert!(output.stderr.starts_with("error: there is no store"), "{output}");
}

#[test]
fn arguments_that_are_wrong() {
    let db = TestDatabase::new();
    let output = db.pupctl(["partitions", "ensure", "--form", "2026-01", "-o", "json"]).failure(2);
    let value = output.json();
    assert_eq!(value["command"], "pupctl");
    assert_eq!(value["error"]["kind"], "Invalid");
    let message = value["error"]["message"].as_str().expect("a message");
    assert!(message.starts_with("unexpected argument '--form' found"), "{message}");
    for words in [&["--output", "json"][..], &["--output=json"], &["-ojson"], &["-qyo", "json"]] {
        let output = db.pupctl(words.iter().chain(&["partitions", "ensre"])).failure(2);
        assert_eq!(output.json()["command"], "pupctl", "{output}");
    }
    // Without JSON standard output stays empty, though a word of the request may be the same.
    for words in [&["--log-format", "json"][..], &["--schema", "json"], &[]] {
        let wrong = ["partitions", "ensure", "--form", "2026-01"];
        let output = db.pupctl(words.iter().chain(&wrong)).failure(2);
        assert_eq!(output.stdout, "", "{words:?}");
    }
}

#[test]
fn a_private_server() {
    let folder = crate::support::open_folder();
    let json = |verb: &str| {
        let pupctl = Pupctl::new(folder.path()).args(["embedded", verb, "-o", "json"]);
        let value = pupctl.run().success().json();
        assert_eq!(value["version"], 1);
        assert_eq!(value["command"], format!("embedded {verb}"));
        value
    };
    assert_eq!(json("status")["state"], "absent");
    let url = json("url")["url"].clone();
    let started = json("start");
    assert_eq!((&started["started"], &started["url"]), (&true.into(), &url));
    assert_eq!(json("start")["started"], false);
    assert_eq!(json("status")["state"], "running");
    assert_eq!(json("stop")["stopped"], true);
    assert_eq!(json("status")["state"], "stopped");
}
