//! The examples do what they say.

use crate::{LAYOUTS, store};

#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/append.rs"]
mod append;
#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/read.rs"]
mod read;

#[test]
fn an_order_is_appended_and_read_on_every_layout() {
    for layout in LAYOUTS {
        let db = store(layout);
        let mut out = Vec::new();
        append::run(&mut db.client(), &mut out).expect(layout);
        read::run(&mut db.client(), &mut out).expect(layout);
        let out = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("Order "), "{out}");
        assert!(lines[0].ends_with(" in Sales is at version 3"), "{out}");
        assert_eq!(lines[1], "somebody was faster: it is at version 3");
        assert_eq!(lines[2], "3 events");
        assert!(lines[3].starts_with("1 OrderPlaced at "), "{out}");
        assert!(lines[3].ends_with(" UTC: {\"total\": 250}"), "{out}");
        assert!(lines[5].starts_with("3 OrderShipped at "), "{out}");
    }
}
