//! Archives that are not as they were written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pupctl::archive::folder::{Archive, Draft, Found};
use pupctl::archive::manifest::Manifest;
use pupctl::archive::{Format, Settings, folder, prove};
use pupctl::error::Kind;

use crate::support::TestDatabase;
use crate::table::{Table, pinned};

const FORMATS: [Format; 2] = [Format::Copy, Format::Parquet];

fn verify(folder: &Path) -> Result<(), String> {
    let verified = Archive::open(folder).and_then(|archive| archive.verify(&mut |_| Ok(())));
    verified.map(drop).map_err(|error| error.message().to_owned())
}

/// Runs a change on an archive and gives back what verifying it says.
fn after(archive: &Archive, change: impl FnOnce(&Path)) -> String {
    let copy = tempfile::tempdir().expect("a folder");
    let folder = copy.path().join(archive.name());
    fs::create_dir(&folder).expect("a folder");
    for entry in fs::read_dir(&archive.folder).expect("an archive") {
        let path = entry.expect("a file").path();
        fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("a copy");
    }
    verify(&folder).expect("a copy is an archive");
    change(&folder);
    let said = verify(&folder).expect_err("damaged");
    said.replace(&format!("{}/", folder.display()), "").replace(&*folder.to_string_lossy(), "it")
}

fn with_manifest(folder: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = folder.join("manifest.json");
    let mut manifest = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    change(&mut manifest);
    fs::write(path, manifest.to_string()).expect("written");
}

#[test]
fn every_damage_has_words_of_its_own() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 2000);
    let archives = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let name = format.to_string();
        let archive = table.archive(archives.path(), &name, format).expect("an archive");
        let rows = format.file_name();
        let size = fs::metadata(archive.rows_path()).expect("a file").len();

        let said = after(&archive, |folder| {
            let mut bytes = fs::read(folder.join(rows)).expect("rows");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(folder.join(rows), bytes).expect("written");
        });
        assert_eq!(said, format!("{rows} is not as it was archived: its SHA-256 differs"));
        let said = after(&archive, |folder| {
            let bytes = fs::read(folder.join(rows)).expect("rows");
            fs::write(folder.join(rows), &bytes[..bytes.len() - 1]).expect("written");
        });
        let shorter = size - 1;
        assert_eq!(
            said,
            format!("{rows} has {shorter} bytes, and had {size} when it was archived")
        );
        let said = after(&archive, |folder| fs::remove_file(folder.join(rows)).expect("removed"));
        assert_eq!(said, format!("{rows} is missing"));
        let said = after(&archive, |folder| {
            fs::remove_file(folder.join("manifest.json")).expect("removed");
        });
        assert_eq!(said, "it is no archive: it has no manifest.json");
        let said = after(&archive, |folder| {
            fs::write(folder.join("manifest.json"), "{").expect("written");
        });
        assert!(said.starts_with("manifest.json is no manifest of pupctl: EOF"), "{said}");
        let said = after(&archive, |folder| with_manifest(folder, |json| json["form"] = 2.into()));
        assert_eq!(said, "manifest.json is of form 2, this pupctl knows forms up to 1");
        let said = after(&archive, |folder| {
            with_manifest(folder, |json| json["digest"]["value"] = "0123456789abcdef".into());
        });
        assert_eq!(said, "manifest.json was changed: its checksum differs");
        let said =
            after(&archive, |folder| with_manifest(folder, |json| json["rows"] = 1999.into()));
        assert_eq!(said, "manifest.json was changed: its checksum differs");
        let said = after(&archive, |folder| {
            with_manifest(folder, |json| {
                json["rows"] = 1999.into();
                json.as_object_mut().expect("an object").remove("checksum");
            });
        });
        assert_eq!(said, format!("{rows} does not hold what manifest.json says"));
        let said = after(&archive, |folder| {
            with_manifest(folder, |json| json["files"][0]["name"] = "../rows".into());
        });
        assert_eq!(said, "manifest.json: `../rows` is not the name of a file of an archive");
        let said = after(&archive, |folder| {
            with_manifest(folder, |json| json["columns"][0]["data_type"] = "int; DROP".into());
        });
        assert!(said.contains("the type of column global_position reads"), "{said}");
    }
}

/// What a newer pupctl adds does not stop an older one.
#[test]
fn unknown_fields_of_a_manifest_are_left_out() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 3);
    let archives = tempfile::tempdir().expect("a folder");
    let archive = table.archive(archives.path(), "a", Format::Parquet).expect("an archive");
    with_manifest(&archive.folder, |json| json["colour"] = "blue".into());
    assert_eq!(Manifest::read(&archive.folder).expect("a manifest"), archive.manifest);
}

/// The rows of one table under the manifest of another.
#[test]
fn the_file_of_another_table_is_refused() {
    let db = TestDatabase::new();
    let events = Table::events(&db, 100);
    db.execute("CREATE TABLE others AS SELECT event_id AS id, payload FROM events");
    db.execute("CREATE TABLE same AS SELECT * FROM events WHERE global_position > 50");
    let archives = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let archive = |name: &str, table: &Table| {
            table.archive(archives.path(), &format!("{name}-{format}"), format).expect("an archive")
        };
        let mine = archive("events", &events);
        let others = archive("others", &Table::of(db.url(), "public", "others"));
        // The columns of `same` may be NULL, but it is the same kind of table.
        let same = archive("same", &Table::of(db.url(), "public", "same"));
        for theirs in [others, same] {
            let rows = format.file_name();
            let said = after(&mine, |folder| {
                fs::copy(theirs.rows_path(), folder.join(rows)).expect("a copy");
                let entry = serde_json::to_value(&theirs.manifest.files[0]).expect("JSON");
                with_manifest(folder, |json| json["files"][0] = entry);
            });
            assert!(
                said.starts_with(&format!("{rows} cannot be read back: "))
                    || said == format!("{rows} does not hold what manifest.json says"),
                "{said}"
            );
        }
    }
}

/// No bytes make pupctl fail otherwise than with an error.
#[test]
fn damaged_files_are_errors_or_other_rows() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 40);
    let archives = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let archive =
            table.archive(archives.path(), &format.to_string(), format).expect("an archive");
        let bytes = fs::read(archive.rows_path()).expect("rows");
        let path = archives.path().join("damaged");
        let contents = table.contents();
        let check = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("written");
            prove(&path, format, table.columns(), &mut |_| Ok(()))
        };
        assert_eq!(check(&bytes).expect("whole"), contents);
        for end in (0..bytes.len()).step_by(7) {
            check(&bytes[..end]).expect_err("cut off");
        }
        let longer = [bytes.as_slice(), b"more"].concat();
        check(&longer).expect_err("too long");
        // In Parquet a changed bit can also make another value: that is what the digest is for.
        if format == Format::Copy {
            for place in 0..bytes.len() {
                let mut bytes = bytes.clone();
                bytes[place] ^= 0x10;
                // Not every bit of zstd means something.
                if let Ok(found) = check(&bytes) {
                    assert!(found == contents, "byte {place}");
                }
            }
        }
        for stranger in [b"".as_slice(), b"PAR1PAR1", &[0; 1000]] {
            let error = check(stranger).expect_err("no archive");
            assert!(error.message().contains("damaged cannot be read back: "), "{error}");
        }
    }
}

#[test]
fn rows_that_are_not_those_of_the_table_are_not_published() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 100);
    let archives = tempfile::tempdir().expect("a folder");
    let contents = table.contents();
    db.execute("DELETE FROM events WHERE global_position = 7");
    let mut client = table.client();
    let mut transaction = pinned(&mut client);
    let mut draft = Draft::begin(archives.path(), "a").expect("a draft");
    let rows = transaction.copy_out(&table.selection.read_sql()).expect("a copy");
    draft.write(rows, table.columns(), Settings::default(), &mut |_, _| Ok(())).expect("written");
    let error = draft.prove(table.columns(), &contents, &mut |_| Ok(())).expect_err("other rows");
    assert_eq!(error.detail_lines()[0], "rows: 99, must be 100");
    let error = draft.publish(&table.description()).expect_err("unproven");
    assert_eq!(error.message(), "the rows of the archive were not proven");
    assert_eq!(fs::read_dir(archives.path()).expect("a folder").count(), 0);
}

#[test]
fn an_archive_is_written_once_by_one() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 10);
    let parent = tempfile::tempdir().expect("a folder");
    let archives = parent.path().join("new/archives");
    let first = table.archive(&archives, "a", Format::Copy).expect("an archive");
    let error = table.archive(&archives, "a", Format::Copy).expect_err("it is there");
    assert!(error.message().ends_with("/a is there already"), "{error}");
    assert_eq!(error.kind(), Kind::Refused);
    first.verify(&mut |_| Ok(())).expect("untouched");
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&archives), 0o700);
    assert_eq!(mode(&first.folder), 0o700);
    for entry in fs::read_dir(&first.folder).expect("files") {
        assert_eq!(mode(&entry.expect("a file").path()), 0o600);
    }

    let draft = Draft::begin(&archives, "b").expect("a draft");
    let error = Draft::begin(&archives, "b").expect_err("somebody writes");
    assert_eq!(error.kind(), Kind::Busy);
    let listed = folder::list(&archives).expect("a list");
    assert!(matches!(listed.as_slice(), [Found::Unfinished(_), Found::Archive(_)]), "{listed:?}");
    drop(draft);

    // What a killed run left.
    let partial = archives.join(".b.partial");
    fs::create_dir_all(partial.join("deeper")).expect("folders");
    fs::write(partial.join("rows.copy.zst"), "half").expect("a file");
    table.archive(&archives, "b", Format::Copy).expect("an archive");
    assert!(!partial.exists());

    fs::create_dir(archives.join("c")).expect("a folder");
    fs::write(archives.join("notes.txt"), "not an archive").expect("a file");
    let listed = folder::list(&archives).expect("a list");
    assert!(
        matches!(listed.as_slice(), [Found::Archive(_), Found::Archive(_), Found::Problem(_, _)]),
        "{listed:?}"
    );
    assert!(folder::list(&archives.join("none")).expect("a list").is_empty());
    for name in ["", ".a", "a/b", "..", "a\nb"] {
        let error = Draft::begin(&archives, name).expect_err("no name");
        assert_eq!(error.kind(), Kind::Invalid, "{name}");
    }
}

/// `/dev/full` is a disk without room.
#[test]
fn a_full_disk_and_a_folder_in_the_way_are_told() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 1000);
    if let Ok(full) = fs::File::options().write(true).open("/dev/full") {
        for format in FORMATS {
            let settings = Settings { format, level: None };
            let error = pupctl::archive::write(
                table.stream().as_slice(),
                full.try_clone().expect("a file"),
                Path::new("a/rows"),
                table.columns(),
                settings,
                &mut |_, _| Ok(()),
            )
            .expect_err("no room");
            assert!(error.message().starts_with("cannot write a/rows: No space left"), "{error}");
            assert!(error.hint_text().expect("a hint").starts_with("make room"), "{error:?}");
        }
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = table.archive(file.path(), "a", Format::Copy).expect_err("a file");
    assert!(error.message().starts_with("cannot make "), "{error}");
    let error =
        table.archive(&file.path().join("below"), "a", Format::Copy).expect_err("below a file");
    assert!(error.message().starts_with("cannot make "), "{error}");
}

/// Whoever watches may end the work, and nothing is left of it.
#[test]
fn an_interrupt_ends_the_writing() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 30_000);
    let archives = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let mut draft = Draft::begin(archives.path(), "a").expect("a draft");
        let rows = table.stream();
        let settings = Settings { format, level: None };
        let stop = |rows: u64, bytes: u64| {
            assert!(rows > 0 && bytes > 0);
            Err(pupctl::Error::new(Kind::Interrupted, "stopped"))
        };
        let error = draft.write(rows.as_slice(), table.columns(), settings, &mut { stop });
        assert_eq!(error.expect_err("stopped").kind(), Kind::Interrupted);
        drop(draft);
        assert_eq!(fs::read_dir(archives.path()).expect("a folder").count(), 0);
    }
}

#[test]
fn rows_that_end_too_early_are_an_error() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 1000);
    let rows = table.stream();
    for format in FORMATS {
        for end in [0, 10, rows.len() / 2, rows.len() - 1] {
            let settings = Settings { format, level: None };
            let file = tempfile::tempfile().expect("a file");
            let path = Path::new("rows");
            let columns = table.columns();
            let nobody = &mut |_, _| Ok(());
            let written =
                pupctl::archive::write(&rows[..end], file, path, columns, settings, nobody);
            let error = written.expect_err("cut off");
            assert_eq!(
                error.message(),
                "cannot read the rows that the server sends: it ends in the middle"
            );
        }
    }
}
