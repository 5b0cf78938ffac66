//! Kills a command at every fail point that it reaches, and at random moments, and runs it again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use pupctl::archive::folder::Archive;

use crate::everywhere::{self, Sum};
use crate::support::{Output, TestDatabase, eventually};

/// A prepared store and the command that is killed.
pub(crate) struct Scenario<'a> {
    prepared: TestDatabase,
    command: Vec<&'a str>,
    /// What an undisturbed run leaves.
    end: String,
    /// All events, wherever they are.
    all: Sum,
    /// How often each fail point is reached, in the order of their names.
    points: BTreeMap<String, usize>,
    /// How long an undisturbed run takes.
    takes: Duration,
}

impl<'a> Scenario<'a> {
    /// Runs the command once, on a copy.
    pub(crate) fn new(prepared: TestDatabase, command: &[&'a str]) -> Self {
        let all = everywhere::all(&prepared);
        let mut scenario = Self {
            prepared,
            command: command.to_vec(),
            end: String::new(),
            all,
            points: BTreeMap::new(),
            takes: Duration::ZERO,
        };
        let db = scenario.copy();
        let begun = Instant::now();
        let run = db.pupctl(command.iter().chain(&["-vv", "--yes"])).success();
        scenario.takes = begun.elapsed();
        for (_, point) in run.stderr.lines().filter_map(|line| line.split_once("reached ")) {
            *scenario.points.entry(point.trim().to_owned()).or_default() += 1;
        }
        scenario.end = everywhere::state(&db);
        scenario
    }

    /// The points of archives and restores that it reaches.
    pub(crate) fn reached(&self) -> Vec<&str> {
        let names = self.points.keys().map(String::as_str);
        names
            .filter(|name| name.starts_with("archive::") || name.starts_with("restore::"))
            .collect()
    }

    /// The prepared store, with a folder of archives of its own.
    pub(crate) fn copy(&self) -> TestDatabase {
        let db = TestDatabase::copy_of(&self.prepared);
        let [from, to] = [&self.prepared, &db].map(|db| db.folder().display().to_string());
        if db.one("SELECT to_regclass('public.pupctl_archives') IS NOT NULL") {
            db.execute(&format!(
                "UPDATE pupctl_archives SET folder = replace(folder, '{from}', '{to}');
                 UPDATE pupctl_operations SET state = replace(state::text, '{from}', '{to}')::jsonb"
            ));
        }
        db
    }

    /// Kills at the first time of each point of archives and restores.
    pub(crate) fn kill_once(&self, again: &dyn Fn(&TestDatabase, &str)) {
        for point in self.reached() {
            self.kill_at(&format!("{point}=return"), again);
        }
    }

    /// Kills at each point, each time that it is reached.
    pub(crate) fn kill_everywhere(&self, again: &dyn Fn(&TestDatabase, &str)) {
        for (point, times) in &self.points {
            for passed in 0..*times {
                let action = if passed == 0 { String::new() } else { format!("{passed}*off->") };
                self.kill_at(&format!("{point}={action}return"), again);
            }
        }
    }

    fn kill_at(&self, points: &str, again: &dyn Fn(&TestDatabase, &str)) {
        let db = self.copy();
        let run = db.command(self.line()).failpoints(points).run().killed();
        self.nothing_is_lost(&db, points, &run);
        again(&db, points);
        self.has_ended_well(&db, points, &run);
    }

    /// Kills at so many random moments.
    pub(crate) fn kill_at_random(&self, rounds: u32, again: &dyn Fn(&TestDatabase, &str)) {
        let mut moments = Moments::new();
        for _ in 0..rounds {
            let after = moments.next_within(self.takes);
            let place = format!("after {after:?}, PUPCTL_TEST_SEED={}", moments.seed);
            let db = self.copy();
            let run = db.command(self.line()).spawn();
            std::thread::sleep(after);
            let run = run.kill();
            self.nothing_is_lost(&db, &place, &run);
            // One that was done by then is not to be done again.
            if run.code.is_none() {
                again(&db, &place);
            }
            self.has_ended_well(&db, &place, &run);
        }
    }

    /// The command as it is killed.
    pub(crate) fn line(&self) -> Vec<&'a str> {
        self.command.iter().chain(&["--yes"]).copied().collect()
    }

    pub(crate) fn prepared(&self) -> &TestDatabase {
        &self.prepared
    }

    pub(crate) fn takes(&self) -> Duration {
        self.takes
    }

    /// Whatever it was doing: every event is somewhere, and no half archive under a whole name.
    pub(crate) fn nothing_is_lost(&self, db: &TestDatabase, place: &str, run: &Output) {
        // The server may still be about to notice that the client is gone.
        eventually("the session has ended", || {
            db.one(
                "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name LIKE 'pupctl%'",
            )
        });
        // While rows come back they are in two places.
        if self.command[0] == "archive" {
            assert_eq!(everywhere::all(db), self.all, "{place}\n{run}");
        } else {
            assert!(everywhere::all(db).rows >= self.all.rows, "{place}\n{run}");
        }
        let folder = db.folder().join("archives");
        for name in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = name.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if !name.starts_with('.') {
                assert!(path.join("manifest.json").is_file(), "{name}: {place}\n{run}");
            }
        }
    }

    /// As after an undisturbed run, with a journal that tells of both.
    pub(crate) fn has_ended_well(&self, db: &TestDatabase, place: &str, run: &Output) {
        let state = everywhere::state(db);
        assert!(state == self.end, "{place}\n{run}\n{}", difference(&self.end, &state));
        assert_eq!(everywhere::all(db), self.all, "{place}");
        assert!(!state.contains(".partial"), "{place}\n{state}");
        all_proven(&db.folder().join("archives"));
        let journal = db.texts("SELECT outcome FROM public.pupctl_operations ORDER BY id");
        let journal: Vec<_> = journal.iter().map(String::as_str).collect();
        let prepared =
            usize::try_from(self.prepared.one::<i64>("SELECT count(*) FROM pupctl_operations"));
        let mut journal = journal[prepared.expect("a count")..].iter();
        let last = journal.next_back();
        // A run that had done everything is not done again; it only lacks the word.
        assert!(
            last.is_some_and(|last| ["done", "interrupted"].contains(last)),
            "{place}: {last:?}"
        );
        assert!(journal.all(|outcome| *outcome != "running"), "{place}");
        let unfinished = "SELECT command FROM public.pupctl_operations
            WHERE outcome <> 'done' AND state IS NOT NULL";
        assert_eq!(db.texts(unfinished), Vec::<String>::new(), "{place}");
    }
}

/// Every archive of a folder is whole: read back, it holds what its manifest says.
fn all_proven(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let archive = Archive::open(&entry.expect("an entry").path()).expect("an archive");
        archive.verify(&mut |_| Ok(())).expect("what the manifest says");
    }
}

/// Moments out of a seed, which is told.
pub(crate) struct Moments {
    pub(crate) seed: u64,
    state: u64,
}

impl Moments {
    pub(crate) fn new() -> Self {
        let given = std::env::var("PUPCTL_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::from(now.expect("a clock").subsec_nanos())
        };
        let seed = given.unwrap_or_else(clock);
        Self { seed, state: seed | 1 }
    }

    pub(crate) fn next_within(&mut self, longest: Duration) -> Duration {
        // Marsaglia's xorshift.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let thousandth = u32::try_from(self.state % 1000).expect("a small number");
        longest * thousandth / 1000
    }
}

/// The lines that only one of two texts has.
fn difference(expected: &str, found: &str) -> String {
    let lacks = |text: &str, line: &str| !text.lines().any(|known| known == line);
    let only = |sign: char, text: &str, other: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| lacks(other, line));
        lines.map(|line| format!("{sign} {line}")).collect()
    };
    [only('-', expected, found), only('+', found, expected)].concat().join("\n")
}
