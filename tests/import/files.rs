//! The file itself: compressed, broken, empty, missing, far too long in one line, or no file.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use insta::assert_snapshot;

use crate::event::{Event, count, event, lines};
use crate::support::TestDatabase;
use crate::{file, refused, refused_file, store};

pub(crate) fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content.as_bytes()).expect("gzip");
    encoder.finish().expect("gzip")
}

pub(crate) fn zstd(content: &str) -> Vec<u8> {
    zstd::encode_all(content.as_bytes(), 3).expect("zstd")
}

/// The first versions of an order.
pub(crate) fn order(number: u32, versions: i64) -> Vec<Event> {
    (1..=versions).map(|version| event(number, version)).collect()
}

fn none() -> TestDatabase {
    store(["--partition-by", "none"])
}

#[test]
fn compressed_files_of_every_kind() {
    let text = lines(&order(1, 3));
    let (first, second) = text.split_at(text.find('\n').expect("a line") + 1);
    let kinds = [
        gzip(&text),
        [gzip(first), gzip(second)].concat(),
        zstd(&text),
        [zstd(first), zstd(second)].concat(),
        text.replace('\n', "\r\n").into_bytes(),
        text.trim_end().as_bytes().to_vec(),
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        (text + "\n \n\n").into_bytes(),
    ];
    for content in kinds {
        let db = none();
        let file = file(&db, content);
        db.pupctl(["events", "import", file]).success();
        assert_eq!(count(&db), 3);
    }
}

#[test]
fn compressed_files_that_are_broken() {
    let db = none();
    let text = lines(&order(1, 2000));
    let [gzip, zstd] = [gzip(&text), zstd(&text)];
    let mut bad_sum = gzip.clone();
    let sum = bad_sum.len() - 8;
    bad_sum[sum] ^= 1;
    let all = [
        gzip[..gzip.len() - 5].to_vec(),
        gzip[..5].to_vec(),
        zstd[..zstd.len() - 5].to_vec(),
        [&gzip[..], b"garbage, longer than a header of gzip"].concat(),
        [&zstd[..], b"garbage"].concat(),
        bad_sum,
    ]
    .map(|content| refused(&db, content, &[]));
    assert_snapshot!(all.concat(), @"
    error: events.ndjson: the compressed file ends in the middle, after line 2000
    hint: it was not copied or written to its end: fetch it again
    error: events.ndjson: the compressed file ends in the middle, after line 0
    hint: it was not copied or written to its end: fetch it again
    error: events.ndjson: the compressed file ends in the middle, after line 1760
    hint: it was not copied or written to its end: fetch it again
    error: events.ndjson: cannot be decompressed after line 2000: invalid gzip header
    error: events.ndjson: cannot be decompressed after line 2000: Unknown frame descriptor
    error: events.ndjson: cannot be decompressed after line 2000: corrupt gzip stream does not have a matching checksum
    ");
    assert_eq!(count(&db), 0);
}

#[test]
fn an_empty_file_is_nothing_to_do() {
    for content in [vec![], b"\n \n".to_vec(), gzip("")] {
        let db = none();
        let file = file(&db, content);
        let output = db.pupctl(["events", "import", file]).success();
        assert_eq!(output.stderr, "Nothing to do: the file has no events\n");
        assert_eq!(db.journal(), ["schema init: done"]);
    }
}

#[test]
fn an_empty_line_in_the_middle() {
    let db = none();
    let content = lines(&order(1, 2)) + "\n \n" + &lines(&order(2, 1));
    assert_snapshot!(refused(&db, content, &[]), @"error: events.ndjson, line 3: is empty");
}

#[test]
fn what_is_no_file() {
    let db = none();
    assert_snapshot!(refused_file(&db, &["missing.ndjson"], 1), @"error: cannot read missing.ndjson: No such file or directory (os error 2)");
    assert_snapshot!(refused_file(&db, &["."], 2), @"error: . is a folder, not a file of events");
    let usage = db.pupctl(["events", "import"]).failure(2);
    assert!(usage.stderr.contains("<FILE>"), "{usage}");
}

/// Memory is counted where the kernel can refuse it.
#[cfg(target_os = "linux")]
mod memory {
    use std::fs::File;
    use std::process::Command;

    use super::*;
    use crate::support::{Output, fingerprint};

    /// Imports a file with at most so many MiB for data.
    fn within(db: &TestDatabase, mebibytes: u32, arguments: &[&str]) -> Output {
        let limit = format!("ulimit -d {} && exec \"$@\"", mebibytes * 1024);
        let mut command = Command::new("sh");
        command.args(["-c", &limit, "sh", env!("CARGO_BIN_EXE_pupctl"), "events", "import"]);
        command.args(arguments).current_dir(db.folder()).env_clear();
        Output::of(command.env("PUPCTL_DATABASE_URL", db.url()))
    }

    #[test]
    fn a_line_of_200_mib_costs_no_memory() {
        let db = none();
        let path = db.folder().join("long.ndjson");
        let mut long = File::create(&path).expect("a file");
        long.write_all(lines(&order(1, 2)).as_bytes()).expect("two lines");
        // A hole in the file, which costs no space.
        long.set_len(200 * 1024 * 1024).expect("a long line");
        let before = fingerprint(&mut db.client());
        for more in [&[][..], &["--dry-run"]] {
            let arguments = [&["long.ndjson"], more].concat();
            let refused = within(&db, 100, &arguments).failure(1);
            let told = "error: long.ndjson, line 3: is longer than 16 MiB\n\
                hint: if it is an event all the same: --max-line, which costs as much memory\n";
            assert_eq!(refused.stderr, told);
        }
        assert_eq!(fingerprint(&mut db.client()), before);
        // The limit is one: whoever asks for it gets the memory, and needs it.
        let more = ["long.ndjson", "--max-line", "300"];
        assert_ne!(within(&db, 100, &more).code, Some(1));
        let read = within(&db, 900, &more).failure(1);
        assert!(read.stderr.contains("line 3: is not JSON"), "{read}");
    }

    #[test]
    fn a_file_of_many_events_costs_no_more_than_a_short_one() {
        let db = none();
        let long = event(3, 1).with("payload", "x".repeat(15 * 1024 * 1024));
        let content = lines(&order(1, 20_000)) + &lines(&[long]) + &lines(&order(2, 20_000));
        let file = file(&db, content);
        within(&db, 160, &[file]).success();
        assert_eq!(count(&db), 40_001);
    }
}
