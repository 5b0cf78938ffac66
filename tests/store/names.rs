//! Names with quotes, dots and spaces, of schemas, tables, contexts and aggregates.

use pupctl::store::{ExpectedVersion, NewEvent, Store, StreamId};
use uuid::Uuid;

use crate::support::TestDatabase;
use crate::{LAYOUTS, unguarded, versions};

const SCHEMA: &str = "O'Neill.\"s";

const CONFIG: &str = r#"
[tables]
events = 'my "events".v1'
aggregate_heads = 'Head''s; --'
projection_checkpoints = 'check points'
"#;

#[test]
fn odd_names_are_only_names() {
    for layout in LAYOUTS {
        let db = TestDatabase::new();
        let config = CONFIG.replace("'Head''s; --'", "\"Head's; --\"");
        std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
        let contexts = "It's \"ours\",b.c";
        let mut arguments = vec!["schema", "init", "--schema", SCHEMA, "--partition-by", layout];
        arguments.extend(["--contexts", contexts]);
        arguments.extend(unguarded(&db, layout));
        db.pupctl(&arguments).success();

        let mut client = db.client();
        let store = Store::open(&mut client, SCHEMA).expect(layout);
        for (number, context) in (1..).zip(["It's \"ours\"", "b.c"]) {
            let stream = StreamId::new(context, "Type'; --", "$1 \\ 'id' \"x\"");
            let event =
                |id: u128| NewEvent::new(stream.clone(), Uuid::from_u128(number * 10 + id), "E");
            store.append(&mut client, ExpectedVersion::NoStream, &[event(1)]).expect(layout);
            let two = [event(2), event(3)];
            store.append(&mut client, ExpectedVersion::Exact(1), &two).expect(layout);
            let stored = store.read_stream(&mut client, &stream, ..).expect(layout);
            assert_eq!(versions(&stored), [1, 2, 3], "{layout}");
            assert!(stored.iter().all(|event| event.stream() == stream), "{layout}");
        }
        assert_eq!(store.read_all(&mut client, 0, 100).expect(layout).len(), 6, "{layout}");
    }
}
