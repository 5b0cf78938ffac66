//! Compares the migrations of a directory with those that a store has recorded, and plans what is
//! pending.

use crate::catalog::{AppliedMigration, Catalog};
use crate::error::{Error, Kind, Result};
use crate::layout::Layout;

use super::init::{
    GUARD, LAYOUT_MIGRATION, OWN_MIGRATIONS, PROJECTIONS, STORE_MIGRATIONS, extends_the_store,
    is_own_name, own_tables,
};
use super::step::{Action, Plan, Step, Transaction};

/// A migration of a directory, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationFile {
    /// Its path, as it is told.
    pub path: String,
    /// Its version.
    pub version: i64,
    /// Its name, without the version.
    pub name: String,
    /// Its text, with LF.
    pub sql: String,
    /// Whether it runs in a transaction.
    pub transaction: Transaction,
    /// refinery's checksum, in decimal digits.
    pub checksum: String,
    /// The same of every section, one of which `schema init` may have applied.
    pub sections: Vec<String>,
    /// The layout that it stores, where it is the file for that.
    pub layout: Option<Layout>,
}

impl MigrationFile {
    /// `V2__events`.
    #[must_use]
    pub fn title(&self) -> String {
        format!("V{}__{}", self.version, self.name)
    }

    /// Whether pupctl generates it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        is_own_name(self.version, &self.name)
    }

    /// Whether it is what was recorded: the whole of it, or the part that `schema init` has. That
    /// part says nothing of the others: the file of the layout has the checksum of the whole.
    fn is_the_one(&self, applied: &AppliedMigration, layout: Option<&Self>) -> bool {
        let is_whole = |layout: &Self| layout.sql.contains(&format!("'{}'", self.checksum));
        self.name == applied.name
            && (self.checksum == applied.checksum
                || (self.sections.contains(&applied.checksum) && layout.is_none_or(is_whole)))
    }
}

/// A reason why a directory cannot be applied to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What mends it.
    pub hint: String,
}

/// A directory beside the history of a store.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    /// The files that are recorded, with the rows that record them.
    pub applied: Vec<(&'a MigrationFile, &'a AppliedMigration)>,
    /// The files that are not, in order.
    pub pending: Vec<&'a MigrationFile>,
    /// Why the pending ones may not be applied.
    pub problems: Vec<Problem>,
}

/// Compares the files, which are in the order of their versions, with what is recorded.
#[must_use]
pub fn compare<'a>(files: &'a [MigrationFile], catalog: &'a Catalog) -> Comparison<'a> {
    let recorded = &catalog.store_migrations;
    let row = |file: &MigrationFile| recorded.iter().find(|row| row.version == file.version);
    let mut comparison = Comparison { applied: vec![], pending: vec![], problems: vec![] };
    for file in files {
        match row(file) {
            Some(row) => comparison.applied.push((file, row)),
            None => comparison.pending.push(file),
        }
    }
    let layout = files.iter().find(|file| file.layout.is_some());
    let changed = comparison.applied.iter().filter(|(file, row)| !file.is_the_one(row, layout));
    let last = files.last().map_or(0, |file| file.version);
    let next = last.max(latest(recorded)).saturating_add(1);
    let mut problems: Vec<_> = changed.map(|(file, row)| differs(file, row, next)).collect();
    problems.extend(missing(files, recorded));
    problems.extend(comparison.pending.iter().filter_map(|file| late(file, recorded, next)));
    problems.extend(taken(files));
    problems.extend(comparison.pending.iter().filter_map(|file| another_layout(file, catalog)));
    comparison.problems = problems;
    comparison
}

fn latest(recorded: &[AppliedMigration]) -> i64 {
    recorded.iter().map(|row| row.version).max().unwrap_or(0)
}

fn differs(file: &MigrationFile, row: &AppliedMigration, next: i64) -> Problem {
    let MigrationFile { path, version, .. } = file;
    if file.name != row.name {
        return Problem {
            message: format!("{path}: version {version} was applied as V{version}__{}", row.name),
            hint: format!("give the file back its name, or a version of its own, such as {next}"),
        };
    }
    if file.sections.contains(&row.checksum) {
        return Problem {
            message: format!("{path} was changed after it was generated"),
            hint: "take the change back, and put it into a new migration of your own".to_owned(),
        };
    }
    let mut hint = format!(
        "an applied file is never changed: take the change back, and put it into a new migration, \
         such as V{next}__{}_again.sql",
        file.name
    );
    if file.is_own() {
        hint.push_str(
            "; if the store was made otherwise, generate the files with its own layout options",
        );
    }
    Problem {
        message: format!(
            "{path} is not what was applied on {}: the checksum recorded is {}, that of the file \
             {}",
            row.applied_on, row.checksum, file.checksum
        ),
        hint,
    }
}

/// Recorded migrations that are not in the directory. Those of `schema init` need no files, unless
/// the directory has some of them.
fn missing(files: &[MigrationFile], recorded: &[AppliedMigration]) -> Vec<Problem> {
    let generated = files.iter().any(MigrationFile::is_own);
    let is_there = |row: &AppliedMigration| files.iter().any(|file| file.version == row.version);
    let needs_no_file = |row: &AppliedMigration| {
        // `schema init` may have protected the events after the files were written.
        is_own_name(row.version, &row.name) && (!generated || row.version == GUARD)
    };
    recorded
        .iter()
        .filter(|row| !is_there(row) && !needs_no_file(row))
        .map(|row| {
            let title = format!("V{}__{}", row.version, row.name);
            let again = if is_own_name(row.version, &row.name) {
                "; pupctl schema generate writes it again, into another folder"
            } else {
                ""
            };
            Problem {
                message: format!(
                    "{title} was applied on {}, and there is no file for it",
                    row.applied_on
                ),
                hint: format!("bring {title}.sql back from version control{again}"),
            }
        })
        .collect()
}

/// A file that stores another layout than the store has, from `schema init`. It would be taken for
/// applied, since a layout that is stored stays. Contexts that were added since are none of it.
fn another_layout(file: &MigrationFile, catalog: &Catalog) -> Option<Problem> {
    let (wanted, stored) = (file.layout.as_ref()?, catalog.layout.as_ref()?);
    let mut lines = stored.differences(wanted);
    let unknown = wanted.contexts.iter().filter(|one| stored.context(&one.name).is_none());
    lines.extend(unknown.map(|one| format!("context {}: the store does not have it", one.name)));
    if stored.chose_protections() {
        lines.extend(stored.protection_differences(wanted));
    }
    (!lines.is_empty()).then(|| Problem {
        message: format!(
            "{} is for another layout than the store has: {}",
            file.path,
            lines.join("; ")
        ),
        hint: "generate the files with the layout options of the store: pupctl schema status \
               shows them"
            .to_owned(),
    })
}

/// A pending file below one that is applied. pupctl's own may come late: a store that `schema init`
/// made gets its files afterwards.
fn late(file: &MigrationFile, recorded: &[AppliedMigration], next: i64) -> Option<Problem> {
    let after = recorded.iter().filter(|row| row.version > file.version).max_by_key(|r| r.version);
    let row = after.filter(|_| !file.is_own())?;
    Some(Problem {
        message: format!(
            "{} comes before V{}__{}, which is applied already",
            file.path, row.version, row.name
        ),
        hint: format!("give it a version above those that are applied, such as {next}"),
    })
}

/// Files that have a version of pupctl's beside those that pupctl generates.
fn taken(files: &[MigrationFile]) -> Vec<Problem> {
    let (last, _) = LAYOUT_MIGRATION;
    let last = STORE_MIGRATIONS.iter().map(|(version, _)| *version).max().unwrap_or(0).max(last);
    if !files.iter().any(MigrationFile::is_own) {
        return Vec::new();
    }
    files
        .iter()
        .filter(|file| file.version <= last && !file.is_own())
        .map(|file| Problem {
            message: format!("{}: the versions up to {last} are pupctl's own", file.path),
            hint: format!("number your own migrations from {} on", last + 1),
        })
        .collect()
}

impl Comparison<'_> {
    /// Refuses to go on where there are problems.
    pub fn refuse_problems(&self) -> Result<()> {
        let error = match self.problems.as_slice() {
            [] => return Ok(()),
            [one] => Error::new(Kind::Refused, one.message.clone()),
            several => Error::new(
                Kind::Refused,
                format!("the directory and the store disagree in {} points", several.len()),
            )
            .details(several.iter().map(|problem| problem.message.clone())),
        };
        Err(error.hint(self.problems[0].hint.clone()))
    }
}

/// Plans the files that are pending, up to a version.
pub fn plan(files: &[MigrationFile], catalog: &Catalog, to: Option<i64>) -> Result<Plan> {
    if let Some(to) = to
        && !files.iter().any(|file| file.version == to)
    {
        return Err(Error::invalid(format!("no migration has the version {to}"))
            .details(files.iter().map(|file| file.path.clone())));
    }
    let comparison = compare(files, catalog);
    comparison.refuse_problems()?;
    let schema = &catalog.schema_name;
    let pending = comparison.pending.iter().filter(|file| to.is_none_or(|to| file.version <= to));
    let steps: Vec<_> = pending.map(|file| step(schema, file)).collect();
    let mut plan = Plan::default();
    if !steps.is_empty() && !catalog.schema.exists {
        plan.steps.push(Step::new(
            format!("Make the schema {schema}"),
            "the history of the migrations lies in it",
            vec![Action::CreateSchema(schema.clone())],
        ));
    }
    // The journal is one of them.
    let bare = Layout::default();
    let mut own = own_tables(catalog.layout.as_ref().unwrap_or(&bare), catalog)?;
    own.retain(|step| may_extend(catalog) || !extends_the_store(step));
    plan.steps.extend(own);
    plan.steps.extend(steps);
    Ok(plan)
}

/// The migrations of pupctl's own tables that come before the files.
pub fn own_pending(catalog: &Catalog) -> impl Iterator<Item = (i64, &'static str)> {
    let applied = |version| catalog.own_migrations.iter().any(|row| row.version == version);
    let comes = move |&(version, _): &(i64, &str)| {
        !applied(version) && (version < PROJECTIONS || may_extend(catalog))
    };
    OWN_MIGRATIONS.iter().copied().filter(comes)
}

/// Without a layout nobody knows yet how the store's tables are called: the file that stores it
/// extends them.
fn may_extend(catalog: &Catalog) -> bool {
    catalog.layout.is_some() && catalog.checkpoints.is_some()
}

fn step(schema: &str, file: &MigrationFile) -> Step {
    let action = Action::MigrateFile { schema: schema.to_owned(), file: Box::new(file.clone()) };
    let why = match file.transaction {
        Transaction::Required => "it is not recorded yet",
        Transaction::Forbidden | Transaction::Concurrent => {
            "it is not recorded yet; it runs outside of a transaction"
        }
    };
    let mut step = Step::new(format!("Apply {}", file.path), why, vec![action]);
    step.transaction = file.transaction;
    step
}
