//! The page of a store: whole, true, safe, and written at once.

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod xml;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use support::{Append, Pupctl, TestDatabase};

/// A name that would be a part of the page if anything forgot to escape it.
const HOSTILE: &str = "O'Neill <script>alert(\"1\")</script> & Sons";

fn append(db: &TestDatabase, context: &str, months: &[i32]) {
    let mut client = db.client();
    for month in months {
        let created_at = format!("{}-02T00:00:00Z", db.month(*month));
        let id = format!("{context}{month}");
        let append = Append { context, id: &id, head: None, events: 4, created_at: &created_at };
        append.run(&mut client).expect("an append");
    }
}

/// A store with something of everything: closed, archived, detached, missing, behind.
fn store() -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "2", "--contexts"];
    db.pupctl(init.iter().chain(&["Billing"])).success();
    db.pupctl(["contexts", "add", HOSTILE]).success();
    db.pupctl(["partitions", "ensure", "--from", &db.month(-5)]).success();
    append(&db, "Billing", &[-5, -4, -3, -2, 0]);
    append(&db, HOSTILE, &[-3, 0]);
    let names = |month: i32| format!("events_billing_{}", db.month(month).replace('-', "_"));
    db.pupctl(["archive", &names(-5), "--drop", "--yes", "--to", "archives"]).success();
    db.pupctl(["partitions", "detach", &names(-4), "--yes"]).success();
    db.pupctl(["partitions", "close", &names(-3)]).success();
    db.execute(&format!(
        "DROP TABLE {}; ANALYZE;
         INSERT INTO projection_checkpoints (projection_name, last_global_position)
         VALUES ('</title><img src=x>', 1)",
        names(1)
    ));
    db
}

fn page(db: &TestDatabase, more: &[&str]) -> String {
    let told = db.pupctl(["report", "--html", "-"].iter().chain(more)).success();
    xml::check(&told.stdout);
    told.stdout
}

#[test]
fn the_page_is_whole_and_has_what_partitions_list_has() {
    let db = store();
    let before = support::fingerprint(&mut db.client());
    let page = page(&db, &["--title", HOSTILE]);
    assert_eq!(support::fingerprint(&mut db.client()), before, "a report changes nothing");
    for month in -5..=2 {
        assert!(page.contains(&format!("<th scope=\"row\">{}</th>", db.month(month))), "{month}");
    }
    for word in ["closed", "archived", "detached", "missing", "ready, to come", "missing_month"] {
        assert!(page.contains(word), "{word}");
    }
    // Words that stand beside a long path are not broken.
    assert!(page.contains("<td class=\"whole\">dropped</td>"));
    assert!(page.contains("td.whole { white-space: nowrap; }"));
    let list = db.pupctl(["partitions", "list", "-o", "json"]).success().json();
    let leaves: Vec<_> = list["partitions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|p| p["leaf"] == true)
        .collect();
    let picture = db.pupctl(["report", "-o", "json"]).success().json();
    let shown = picture["partitions"].as_array().expect("a list");
    assert_eq!(shown.len(), leaves.len());
    for (shown, leaf) in shown.iter().zip(&leaves) {
        for key in ["name", "rows", "table_bytes", "index_bytes"] {
            assert_eq!(shown[key], leaf[key], "{key}");
        }
        assert_eq!(shown["state"] == "closed", leaf["closed"] == true);
        assert!(page.contains(&format!(
            "<tr><th scope=\"row\">{}</th>",
            leaf["name"].as_str().expect("a name")
        )));
    }
    let total = &list["totals"][0];
    assert_eq!(picture["totals"]["rows"], total["rows"]);
    assert_eq!(picture["totals"]["table_bytes"], total["table_bytes"]);
    assert!(page.contains(&format!("<p class=\"value\">{}</p>", total["rows"])), "{total}");
    let mut absent: Vec<_> = picture["absent"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| format!("{} {}", one["absence"].as_str().expect("a word"), one["month"]))
        .collect();
    absent.sort();
    let wanted = [("archived", -5), ("detached", -4), ("missing", 1)]
        .map(|(word, month)| format!("{word} \"{}\"", db.month(month)));
    assert_eq!(absent, wanted);
}

#[test]
fn nothing_leaves_the_page_and_nothing_gets_into_it() {
    let db = store();
    let page = page(&db, &["--title", HOSTILE]);
    for forbidden in
        ["http://", "https://", "//cdn", " src=\"", "@import", "<link", "<img", "<iframe", "onload"]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.split("url(").skip(1).all(|rest| rest.starts_with('#')));
    assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
    assert_eq!(page.matches("<script").count(), 1, "its own");
    let escaped = "O&#39;Neill &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; Sons";
    assert!(page.contains(&format!("<h1>{escaped}</h1>")));
    assert!(page.matches(escaped).count() > 3);
    assert!(page.contains("&lt;/title&gt;&lt;img src=x&gt;"));
    // Headings in their order, one of the first kind, a language.
    assert!(page.contains("<html lang=\"en\">") && page.matches("<h1").count() == 1);
}

#[test]
fn every_layout_has_its_page_and_so_has_an_empty_store() {
    for layout in ["none", "context", "hash", "month", "context,hash", "hash,month"] {
        let db = TestDatabase::new();
        let contexts: &[&str] =
            if layout.starts_with("context") { &["--contexts", "A"] } else { &[] };
        let init = ["schema", "init", "--partition-by", layout, "--months", "1"];
        db.pupctl(init.iter().chain(contexts)).success();
        let empty = page(&db, &[]);
        assert!(empty.contains("There are no projections."), "{layout}");
        append(&db, "A", &[0]);
        db.execute("ANALYZE");
        let filled = page(&db, &[]);
        // Months of tables that hold many are those of the statistics.
        assert!(filled.contains(&format!("<th scope=\"row\">{}</th>", db.month(0))), "{layout}");
        assert!(filled.contains("<p class=\"value\">4</p>"), "{layout}");
    }
    let none = TestDatabase::new();
    let told = none.pupctl(["report", "--html", "out.html"]).failure(1);
    assert!(told.stderr.contains("pupctl schema init"), "{told}");
    assert!(!none.folder().join("out.html").exists());
}

/// The files of a folder.
fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn what_goes_wrong_leaves_the_old_page() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month"]).success();
    let path = db.folder().join("out.html");
    std::fs::write(&path, "old").expect("a file");
    let is_old = || std::fs::read_to_string(&path).expect("the file") == "old";
    // The server is not there.
    let nobody = Pupctl::new(db.folder()).args(["report", "--html", "out.html"]);
    nobody.env("PUPCTL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none").run().failure(1);
    assert!(is_old());
    db.pupctl(["report", "--html", "out.html", "--dry-run"]).success();
    assert!(is_old());
    // Places at which there can be no file.
    let told = db.pupctl(["report", "--html", "out.html/below.html"]).failure(1);
    assert!(told.stderr.contains("out.html/below.html"), "{told}");
    std::fs::create_dir(db.folder().join("folder")).expect("a folder");
    let told = db.pupctl(["report", "--html", "folder"]).failure(2);
    assert!(told.stderr.contains("folder is no file"), "{told}");
    let told = db.pupctl(["report", "--html", ""]).failure(2);
    assert!(told.stderr.contains("the name of the file to write is empty"), "{told}");
    let told = db.pupctl(["report", "--html", "/dev/null"]).failure(2);
    assert!(told.stderr.contains("/dev/null is no file"), "{told}");
    let told = db.pupctl(["report", "--html", "-", "-o", "json"]).failure(2);
    assert!(told.stderr.is_empty() || told.stderr.contains("not both"), "{told}");
    assert!(is_old());
    #[cfg(feature = "failpoints")]
    {
        let killed =
            db.command(["report", "--html", "out.html"]).failpoints("file::before_rename=return");
        let _ = killed.run().killed();
        assert!(is_old());
        let killed =
            db.command(["report", "--html", "new.html"]).failpoints("file::before_rename=return");
        let _ = killed.run().killed();
        assert!(!db.folder().join("new.html").exists());
    }
    let quiet = db.pupctl(["report", "--html", "out.html", "-q"]).success();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    assert!(!is_old());
    // A link stays one, and no file is left beside it but of the killed ones.
    std::os::unix::fs::symlink(&path, db.folder().join("link.html")).expect("a link");
    db.pupctl(["report", "--html", "link.html"]).success();
    assert!(db.folder().join("link.html").is_symlink());
    let left = files(db.folder()).into_iter().filter(|file| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".pupctl"))
    });
    assert!(left.count() <= 2);
    let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o133, 0, "{mode:o}: no more than the mask leaves");
}

#[test]
fn problems_are_an_exit_code() {
    let db = store();
    db.pupctl(["report", "--html", "out.html", "--exit-code"]).failure(3);
    let told = db.pupctl(["report"]).success();
    assert!(told.stdout.contains("projections    | 1, 1 behind"), "{told}");
    let json: Value = db.pupctl(["report", "-o", "json", "--html", "both.html"]).success().json();
    assert_eq!(json["command"], "report");
    assert!(db.folder().join("both.html").is_file());
}
