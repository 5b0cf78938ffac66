//! Where all events are: in the store, in a table that has left it, or in the file of one that was
//! dropped; computed here, without any code of pupctl.

use std::path::Path;

use crate::support::TestDatabase;

/// So many rows, and the sum of their hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) rows: i64,
    hash: u64,
}

impl std::ops::Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, hash: self.hash.wrapping_add(other.hash) }
    }
}

/// The rows of a table, over all columns that are written.
pub(crate) fn of_table(db: &TestDatabase, table: &str) -> Sum {
    let columns: String = db.one(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = 'public.events'::regclass AND attnum > 0 AND NOT attisdropped
            AND attgenerated = ''",
    );
    let mut client = db.pinned();
    let sql = format!(
        "SELECT count(*), coalesce(sum(hash_record_extended(ROW(record_send(ROW({columns}))), 0)),
            0)::text
         FROM ONLY {table}"
    );
    let row = client.query_one(&sql, &[]).expect("a digest");
    let sum: i128 = row.get::<_, String>(1).parse().expect("a number");
    let hash = u64::try_from(sum.rem_euclid(1 << 64)).expect("a hash");
    Sum { rows: row.get(0), hash }
}

fn of_tables(db: &TestDatabase, names: &str) -> Sum {
    let tables = db.texts(names);
    tables.iter().map(|table| of_table(db, table)).fold(Sum::default(), |sum, next| sum + next)
}

/// What the store holds.
pub(crate) fn of_store(db: &TestDatabase) -> Sum {
    of_tables(
        db,
        "SELECT relid::text FROM pg_partition_tree('public.events')
         JOIN pg_class ON oid = relid LEFT JOIN pg_inherits ON inhrelid = oid
         WHERE relkind = 'r' AND NOT coalesce(inhdetachpending, false)",
    )
}

/// What tables hold that are like a partition and are none, in the names of tables.
const OUTSIDE: &str = "SELECT class.oid::regclass::text FROM pg_class AS class
     JOIN pg_attribute ON attrelid = class.oid AND attname = 'global_position'
     LEFT JOIN pg_inherits ON inhrelid = class.oid
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND (inhrelid IS NULL OR inhdetachpending) AND relname <> 'projection_dead_letters'
     ORDER BY 1";

/// The tables that are like a partition and are none.
pub(crate) fn outside(db: &TestDatabase) -> Vec<String> {
    db.texts(OUTSIDE)
}

/// What is in the files of archives whose table is gone.
pub(crate) fn of_files(db: &TestDatabase) -> Sum {
    if db.one("SELECT to_regclass('public.pupctl_archives') IS NULL") {
        return Sum::default();
    }
    let mut client = db.client();
    let sql = "SELECT rows, digest FROM pupctl_archives
        WHERE phase = 'dropped' AND role = 'events'";
    let rows = client.query(sql, &[]).expect("the archives");
    rows.iter()
        .map(|row| Sum {
            rows: row.get(0),
            hash: u64::from_str_radix(row.get(1), 16).expect("a digest"),
        })
        .fold(Sum::default(), |sum, next| sum + next)
}

/// Every event, in whichever of the three places.
pub(crate) fn all(db: &TestDatabase) -> Sum {
    of_store(db) + of_tables(db, OUTSIDE) + of_files(db)
}

/// The catalog, in which the order of an index's parameters does not matter.
pub(crate) fn dump(db: &TestDatabase) -> String {
    let swapped =
        ["autosummarize='on', pages_per_range='32'", "autosummarize=on,pages_per_range=32"];
    let usual = ["pages_per_range='32', autosummarize='on'", "pages_per_range=32,autosummarize=on"];
    let dump = db.dump().replace(swapped[0], usual[0]).replace(swapped[1], usual[1]);
    let mut lines: Vec<_> = dump.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The lines that only one of two texts has; empty where there is no difference.
pub(crate) fn difference(expected: &str, found: &str) -> String {
    let lacks = |text: &str, line: &str| !text.lines().any(|known| known == line);
    let only = |sign: char, text: &str, other: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| lacks(other, line));
        lines.map(|line| format!("{sign} {line}")).collect()
    };
    [only('-', expected, found), only('+', found, expected)].concat().join("\n")
}

/// What a store is and holds, to compare with what another came to; times apart.
pub(crate) fn state(db: &TestDatabase) -> String {
    let mut lines = vec![dump(db), format!("{:?} {:?}", of_store(db), of_files(db))];
    for rows in [
        "SELECT (to_jsonb(head) - 'updated_at')::text FROM public.aggregate_heads AS head",
        "SELECT (to_jsonb(point) - 'updated_at')::text
         FROM public.projection_checkpoints AS point",
        "SELECT concat_ws(' ', name, leaf, table_name, replaced, phase, rows, first_position,
            last_position, digest) FROM public.pupctl_archives",
    ] {
        lines.extend(db.texts(&format!("{rows} ORDER BY 1")));
    }
    lines.push(format!("{:?}", names(&db.folder().join("archives"))));
    lines.join("\n")
}

/// What lies in a folder and the folders in it, hidden or not.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .flat_map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let below = self::names(&path).into_iter().map(|below| format!("{name}/{below}"));
            below.chain([name.clone()]).collect::<Vec<_>>()
        })
        .collect();
    names.sort();
    names
}
