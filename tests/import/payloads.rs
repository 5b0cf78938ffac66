//! What events carry is stored byte for byte.

use crate::event::{event, lines};
use crate::{file, store};

#[test]
fn a_payload_is_stored_as_it_is_written() {
    let db = store(["--partition-by", "none"]);
    let written = [
        "\"text \u{e4} \\u00e4 \\u0000 \\/\"",
        "12345678901234567890123456789.50e-1",
        "[1, 2 ,\t3]",
        "null",
        "true",
        "{\"b\" : 1, \"a\":{}, \"b\" : 2}",
        "\"\"",
    ];
    let with = |(order, payload): (u32, &&str)| event(order, 1).line().replace("{}", payload);
    let mut content: String = (1..).zip(&written).map(|each| with(each) + "\n").collect();
    let bytes = event(20, 1).without("payload").with("payload_base64", "AAH/Cg==");
    let empty = event(21, 1).without("payload").with("payload_base64", "");
    content += &lines(&[bytes, empty]);
    let file = file(&db, content);
    db.pupctl(["events", "import", file]).success();
    let mut expected: Vec<Vec<u8>> = written.iter().map(|text| text.as_bytes().to_vec()).collect();
    expected.extend([vec![0, 1, 255, b'\n'], vec![]]);
    let rows = db.client().query("SELECT payload FROM events ORDER BY global_position", &[]);
    let stored: Vec<Vec<u8>> = rows.expect("rows").iter().map(|row| row.get(0)).collect();
    assert_eq!(stored, expected);
}

#[test]
fn all_other_fields_arrive() {
    let db = store(["--partition-by", "none"]);
    let full = event(1, 1)
        .with("aggregate_id", "\u{1f600} \"quoted\" \\ \n tab\t")
        .with("event_version", 7)
        .with("trace_id", "t")
        .with("correlation_id", "c")
        .with("causation_id", "")
        .with("metadata", serde_json::json!({"a": [1.50, null, "\u{e4}"]}))
        .with("global_position", 4711)
        .with("created_at", "1969-12-31T23:59:59.123456789-00:30");
    let nothing = event(2, 1).with("trace_id", serde_json::Value::Null).with("metadata", ());
    let file = file(&db, lines(&[full, nothing]));
    db.pupctl(["events", "import", file]).success();
    let rows = db.texts(
        "SELECT (to_jsonb(event) - 'payload' - 'event_id')::text FROM public.events AS event
         ORDER BY global_position",
    );
    insta::assert_snapshot!(rows.join("\n"), @r#"
    {"metadata": {"a": [1.5, null, "ä"]}, "trace_id": "t", "created_at": "1970-01-01T00:29:59.123457+00:00", "event_type": "OrderPlaced", "aggregate_id": "😀 \"quoted\" \\ \n tab\t", "causation_id": "", "event_version": 7, "aggregate_type": "Order", "correlation_id": "c", "bounded_context": "Shop", "global_position": 1, "aggregate_version": 1}
    {"metadata": null, "trace_id": null, "created_at": "2024-02-03T04:05:06+00:00", "event_type": "OrderPlaced", "aggregate_id": "o-2", "causation_id": null, "event_version": 1, "aggregate_type": "Order", "correlation_id": null, "bounded_context": "Shop", "global_position": 2, "aggregate_version": 1}
    "#);
}
