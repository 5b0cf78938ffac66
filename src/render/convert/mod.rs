//! The statements of a conversion.

pub mod attach;
pub mod carry;
pub mod follow;
pub mod mend;
pub mod swap;

use crate::catalog::relation::Relation;
use crate::catalog::surroundings::Surroundings;
use crate::layout::name::QualifiedName;
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Role};
use crate::plan::convert::build::{Build, NewTable, Unindexed};
use crate::plan::convert::ranges::Range;
use crate::plan::convert::{Replaced, Target};
use crate::plan::{Protect, Transaction};

use super::environment::{render, values};
use super::protection;
use super::script::{Lock, LockMode, RenderedStep, Script, Statement};
use carry::ExtraIndex;

/// The function that refuses what would get lost, in the schema of the store.
pub const REFUSE: &str = "pupctl_convert";

/// The function that writes heads to both tables.
pub const MIRROR: &str = "pupctl_convert_heads";

/// How many heads are copied in one transaction: writers of the same heads wait for its end.
const HEADS_BATCH: i64 = 2000;

/// The steps that build what is missing; `surroundings` is what hangs on the old tables.
#[must_use]
pub fn build(layout: &Layout, build: &Build, surroundings: &[Surroundings]) -> Vec<RenderedStep> {
    let tables = build.tables.iter().map(|new| {
        let mut step = table(new);
        let old = surroundings.iter().find(|old| old.name == new.table.current);
        if let Some(old) = old {
            step.statements.extend(carry::onto(old, &new.table.next));
            // Those of events are built when the rows are there.
            if new.indexed {
                let extra = carry::indexes_onto(layout, new.table.role, old);
                let create =
                    |index: &ExtraIndex| index.create(&new.table.next, &index.building, false);
                let extra = extra.iter().map(create);
                step.statements.extend(extra.map(|sql| plain(sql, "As on the old table")));
            }
        }
        step
    });
    let partitions = Script::of(&build.partitions).steps;
    tables.chain(partitions).collect()
}

/// What the leaves of a new table take over from the old one, beside what their parent has.
#[must_use]
pub fn leaves(built: &Relation, old: &Surroundings) -> Vec<Statement> {
    built.leaves().flat_map(|leaf| carry::leaf(old, &leaf.name)).collect()
}

fn table(new: &NewTable) -> RenderedStep {
    let NewTable { table, level, tablespace, key, indexed } = new;
    let Replaced { current, next, .. } = table;
    let mut statements = vec![statement(
        render("convert/table", &values! { current, next, level, tablespace }),
        "With the columns of the table that it will replace",
        vec![lock(LockMode::AccessShare, current)],
    )];
    if let Some(key) = key {
        let values = values! { name => next, keys => [key], primary => true };
        statements.push(plain(render("partition/keys", &values), "Its key, from the start"));
    }
    if *indexed {
        let (brin, columns) = (table.role == Role::Events, ["updated_at"]);
        let values = values! { table => next, brin, columns };
        statements.push(plain(render("convert/index", &values), "As the layout wants it"));
    }
    statements.push(plain(
        render("table/comment", &values! { table => next, comment => table.mark() }),
        "Until the swap the next run finds it by this mark",
    ));
    step(
        format!("Make {} beside {}", next.name, current.name),
        "rows are copied into it while everybody goes on with the old one",
        statements,
    )
}

/// What keeps the old tables as they are while they are copied, but for what is appended.
#[must_use]
pub fn freeze(target: &Target, heads_columns: &[String]) -> Vec<RenderedStep> {
    let mut steps = Vec::new();
    for table in &target.tables {
        let refuse = refuse(&table.current);
        let mut statements = vec![refusal(&refuse)];
        let key = (table.role == Role::Heads).then(|| table.role.key_columns());
        if table.role == Role::Heads {
            statements.push(mirror(target, table, heads_columns));
            let function = self::mirror_function(&table.current);
            statements.push(statement(
                render("convert/mirroring", &values! { table => table.current, function }),
                "What moves a head from here on moves the new one too",
                vec![lock(LockMode::ShareRowExclusive, &table.current)],
            ));
        }
        statements.push(statement(
            render("convert/freeze", &values! { table => table.current, function => refuse, key }),
            "A change of what is copied already would get lost: it is refused instead",
            vec![lock(LockMode::ShareRowExclusive, &table.current)],
        ));
        steps.push(step(
            format!("Let {} only grow", table.current.name),
            "rows are copied while writers append; writers wait for one moment",
            statements,
        ));
    }
    steps
}

fn refusal(function: &QualifiedName) -> Statement {
    plain(render("convert/refuse", &values! { function }), "What the triggers call")
}

/// The function that refuses.
#[must_use]
pub fn refuse(table: &QualifiedName) -> QualifiedName {
    table.sibling(REFUSE)
}

/// The function that writes heads to both tables.
#[must_use]
pub fn mirror_function(table: &QualifiedName) -> QualifiedName {
    table.sibling(MIRROR)
}

/// The function that writes heads to both tables, for the contexts that have a partition.
#[must_use]
pub fn mirror(target: &Target, heads: &Replaced, columns: &[String]) -> Statement {
    let function = mirror_function(&heads.current);
    let (next, key) = (&heads.next, Role::Heads.key_columns());
    let contexts = contexts(&target.layout);
    let values = values! { function, next, key, columns, contexts };
    plain(render("convert/mirror", &values), "What the trigger on heads calls")
}

/// The contexts that heads are divided by; none where they are not.
#[must_use]
pub fn contexts(layout: &Layout) -> Vec<&str> {
    if !layout.has_context_level() {
        return Vec::new();
    }
    layout.contexts.iter().map(|context| context.name.as_str()).collect()
}

/// The statements that copy heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyHeads {
    /// Copies the next heads after a key, but for those that somebody holds.
    pub next: String,
    /// Counts those that the new table lacks, and names some.
    pub lacking: String,
    /// Copies those with the keys that are named, but for those that somebody holds.
    pub named: String,
}

impl CopyHeads {
    /// From the old table into the new one.
    #[must_use]
    pub fn new(target: &Target, heads: &Replaced, columns: &[String]) -> Self {
        let Replaced { current, next, .. } = heads;
        let contexts = contexts(&target.layout);
        let key = Role::Heads.key_columns();
        let limit = HEADS_BATCH;
        let values = values! { current, next, columns, key, contexts, limit };
        Self {
            next: render("convert/heads", &values),
            lacking: render("convert/lacking_heads", &values),
            named: render("convert/named_heads", &values),
        }
    }
}

/// The copy of the events of a range of positions; of all after one, where it has no end. `only`
/// where they come from a plain table.
#[must_use]
pub fn copy(
    from: &QualifiedName,
    to: &QualifiedName,
    columns: &[String],
    after: i64,
    up_to: Option<i64>,
    only: bool,
) -> String {
    // Every position is above the smallest number.
    let after: Vec<i64> = Some(after).filter(|after| *after != i64::MIN).into_iter().collect();
    let up_to: Vec<i64> = up_to.into_iter().collect();
    render("convert/copy", &values! { current => from, next => to, columns, after, up_to, only })
}

/// The same for a range.
#[must_use]
pub fn copy_range(table: &Replaced, columns: &[String], range: Range) -> String {
    copy(&table.current, &table.next, columns, range.after, Some(range.up_to), true)
}

/// What a leaf gets when its rows are there; `extra` are indexes that the layout does not make.
#[must_use]
pub fn indexes(leaf: &Unindexed, extra: &[&ExtraIndex]) -> Vec<Statement> {
    let Unindexed { table, keys, primary, brin, .. } = leaf;
    let mut statements = Vec::new();
    if !keys.is_empty() {
        let values = values! { name => table, keys, primary };
        statements.push(plain(render("partition/keys", &values), "Its own keys"));
    }
    if *brin {
        statements.push(create_brin(table));
    }
    for index in extra {
        let sql = index.create(table, &index.name_on(table), false);
        statements.push(plain(sql, "As on the old table"));
    }
    statements
}

fn create_brin(table: &QualifiedName) -> Statement {
    let columns: [&str; 0] = [];
    let values = values! { table, brin => true, columns };
    plain(render("convert/index", &values), "Tiny, and enough for reads by time")
}

/// What the tables above the leaves get: it takes over what the leaves have. `branches` are those
/// between the leaves and the new table, deepest first.
#[must_use]
pub fn upper_indexes(
    events: &Replaced,
    branches: &[QualifiedName],
    keyless: &[QualifiedName],
    brin: bool,
    extra: &[&ExtraIndex],
) -> RenderedStep {
    let keys = [Role::Events.key_columns()];
    let mut statements: Vec<_> = keyless
        .iter()
        .map(|table| {
            let values = values! { name => table, keys, primary => true };
            plain(render("partition/keys", &values), "Of the keys that the leaves have")
        })
        .collect();
    if brin {
        statements.push(create_brin(&events.next));
    }
    for index in extra {
        let of_branches = branches.iter().map(|branch| (branch, index.name_on(branch)));
        for (table, name) in of_branches.chain([(&events.next, index.building.clone())]) {
            statements.push(plain(index.create(table, &name, false), "As on the old table"));
        }
    }
    step(
        format!("Join the indexes of {}", events.next.name),
        "an index of the whole table is made of those that its partitions have",
        statements,
    )
}

/// A trigger of the new table of events, on it or on a partition of it.
#[must_use]
pub fn protect(table: &QualifiedName, trigger: Trigger) -> Vec<Statement> {
    protection::statements(&Protect::Trigger { table: table.clone(), trigger, live: false })
}

/// The functions behind the triggers of the layout, and the key table of event ids.
#[must_use]
pub fn functions(schema: &str, layout: &Layout, has_ids: bool) -> RenderedStep {
    let mut statements = Vec::new();
    let tables = layout.tables.clone();
    if layout.keeps_event_ids() && !has_ids {
        let ids = Protect::EventIds { schema: schema.to_owned(), tables: tables.clone() };
        statements.extend(protection::statements(&ids));
    }
    for trigger in layout.triggers() {
        let (schema, tables) = (schema.to_owned(), tables.clone());
        let function = Protect::Function { schema, tables, trigger };
        statements.extend(protection::statements(&function));
    }
    step(
        "Make what protects events".to_owned(),
        "the triggers of the new table call these functions",
        statements,
    )
}

/// Collects the ids of the events that the new table has.
#[must_use]
pub fn collect_ids(events: &Replaced, layout: &Layout) -> Statement {
    let mut tables = layout.tables.clone();
    tables.events.clone_from(&events.next.name);
    let schema = events.next.schema.clone();
    let collect = Protect::CollectEventIds { schema, tables };
    protection::statements(&collect).remove(0)
}

/// What `--dry-run` prints of the rest: the copy in one piece, and the swap in its order.
#[must_use]
pub fn shown(target: &Target, columns: &[String], build: &Build) -> Vec<RenderedStep> {
    let Some(events) = target.events() else { return Vec::new() };
    let mut steps = vec![step(
        format!("Copy {}", events.current.name),
        "pupctl does it by ranges of positions, in several sessions, up to the settled position",
        vec![statement(
            copy(&events.current, &events.next, columns, i64::MIN, None, true),
            "Nobody reads it there yet",
            vec![lock(LockMode::AccessShare, &events.current)],
        )],
    )];
    let keys = Role::Events.key_columns();
    let leaves = build.partitions.new_partitions();
    for leaf in leaves.filter(|new| new.role == Role::Events && new.level.is_none()) {
        let unindexed = Unindexed {
            table: leaf.name.clone(),
            keys: vec![keys.to_vec(), vec!["event_id"], vec!["global_position"]],
            primary: true,
            brin: true,
            there: Vec::new(),
        };
        let title = format!("Build keys and indexes of {}", leaf.name.name);
        steps.push(step(title, "on rows that are there it is faster", indexes(&unindexed, &[])));
    }
    let schema = &events.current.schema;
    let all = Role::ALL.map(|role| target.layout.table(schema, role)).to_vec();
    let replaced: Vec<_> = target.tables.iter().map(|table| table.current.clone()).collect();
    let mut statements = vec![swap::lock_maintenance(&all), swap::lock_writers(&all)];
    statements.push(swap::lock_all(&replaced));
    statements.extend(target.tables.iter().flat_map(swap::renames));
    steps.push(step(
        "Put the new tables in place (pupctl convert swap)".to_owned(),
        "pupctl first copies what came meanwhile, in a second session, and waits for older \
         snapshots, which would not see it; indexes, sequence and triggers follow the names",
        statements,
    ));
    steps
}

fn plain(sql: String, why: &str) -> Statement {
    statement(sql, why, Vec::new())
}

fn statement(sql: String, why: &str, locks: Vec<Lock>) -> Statement {
    Statement { sql, why: why.to_owned(), locks }
}

fn lock(mode: LockMode, on: &QualifiedName) -> Lock {
    Lock { mode, on: on.clone() }
}

fn step(title: String, why: &str, statements: Vec<Statement>) -> RenderedStep {
    RenderedStep {
        title,
        why: why.to_owned(),
        transaction: Transaction::Required,
        destroys: false,
        statements,
        migration: None,
        partitions: 0,
    }
}

/// A lock that is taken and given back: whoever held another one has ended by then.
#[must_use]
pub fn barrier(lock: Statement) -> RenderedStep {
    step(
        "Wait for those who write at this moment".to_owned(),
        "whoever writes later writes to both tables",
        vec![lock],
    )
}

/// Statistics of the new table and of all its partitions, before anybody reads it.
#[must_use]
pub fn analyze(events: &Replaced) -> Statement {
    let sql = render("table/analyze", &values! { table => events.next, only => false });
    plain(sql, "The planner knows the new table from the first query on")
}

/// A trigger that goes, in a transaction of its own.
#[must_use]
pub fn thawing(statement: Statement) -> RenderedStep {
    step(
        "Let the old table be changed again".to_owned(),
        "nothing is copied any more",
        vec![statement],
    )
}

/// A table that goes.
#[must_use]
pub fn dropping(statement: Statement, table: &QualifiedName) -> RenderedStep {
    let title = format!("Drop {}", table.name);
    let step = step(title, "its rows are proven to be in the new table", vec![statement]);
    RenderedStep { destroys: true, ..step }
}

/// The transaction of the swap, there or back.
#[must_use]
pub fn swapping(statements: Vec<Statement>) -> RenderedStep {
    step(
        "Exchange the tables".to_owned(),
        "pupctl first copies what came meanwhile, in a second session, and waits for older \
         snapshots, which would not see it",
        statements,
    )
}

/// What `--dry-run` prints of the end.
#[must_use]
pub fn finishing(target: &Target) -> Vec<RenderedStep> {
    let drop = |table: &Replaced| {
        let drop = swap::drop_table(&table.retired, "The new one has all of its rows");
        dropping(drop, &table.retired)
    };
    target.tables.iter().map(drop).collect()
}

/// What `--dry-run` prints of the way back before the swap.
#[must_use]
pub fn calling_off(target: &Target) -> Vec<RenderedStep> {
    let mut statements = swap::thaw(target);
    let why = "The old one is in use; partitions are dropped first, some at a time";
    let drop = |table: &Replaced| swap::drop_table(&table.next, why);
    statements.extend(target.tables.iter().map(drop));
    statements.extend(swap::drop_functions(target));
    vec![step("Drop what was built".to_owned(), "the old tables stay as they are", statements)]
}
