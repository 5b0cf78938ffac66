//! Reads the catalog: a constant number of set-based queries in one read-only transaction,
//! however many partitions there are.

mod conversion;
mod detached;
mod triggers;

use std::collections::{BTreeSet, HashMap};

use postgres::types::Oid;
use postgres::{Client, IsolationLevel, Row, Transaction};

use crate::catalog::index::Index;
use crate::catalog::relation::{Details, Relation, RelationKind, ReplicaIdentity, Size};
use crate::catalog::{AppliedMigration, Catalog, Column, Schema, Server, Table, Unfinished, bound};
use crate::error::{Error, Kind, Result};
use crate::layout::Layout;
use crate::layout::bounds::Bound;
use crate::layout::name::{QualifiedName, Tables, beginning};
use crate::plan::MigrationSet;
use crate::plan::wanted::UNFINISHED_PREFIX;
use crate::render::environment::{render, values};
use crate::render::tables::{history_table, layout_table};

use super::interrupt::is_cancelled;

mod details;

pub use detached::one_table;

/// The oldest server that pupctl works with: 14 brought `DETACH PARTITION … CONCURRENTLY`.
pub const MAJOR_VERSION_MIN: i32 = 14;

/// What to read beyond the catalog itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
// Each is one more query, and they are independent of each other.
#[expect(clippy::struct_excessive_bools)]
pub struct Depth {
    /// The indexes and triggers of every partition, not only those of the tables at the root.
    /// Without them the catalog is good for showing only: a plan needs them.
    pub indexes: bool,
    /// The sizes of tables and indexes, which cost a few file accesses each.
    pub sizes: bool,
    /// Whether DEFAULT partitions hold rows, which reads one row of each.
    pub default_rows: bool,
    /// The definitions of the indexes, and all names that are taken in the schema.
    pub definitions: bool,
    /// What partitions are compared in with their parents: columns, constraints, grants and more.
    pub details: bool,
}

impl Default for Depth {
    fn default() -> Self {
        Self {
            indexes: true,
            sizes: false,
            default_rows: false,
            definitions: false,
            details: false,
        }
    }
}

/// The session's answer must not depend on settings of the role or the database.
const PIN_SETTINGS: &str = "SET LOCAL search_path = pg_catalog; SET LOCAL TimeZone = 'UTC'; \
     SET LOCAL DateStyle = 'ISO'; SET LOCAL standard_conforming_strings = on; \
     SET LOCAL quote_all_identifiers = off; \
     SET LOCAL jit = off; SET LOCAL statement_timeout = '30s'";

/// A lock on a table keeps the reading waiting too: for sizes and definitions the server opens it.
fn failed(error: postgres::Error) -> Error {
    let error = Error::database("reading the catalog", error);
    if !is_cancelled(&error) {
        return error;
    }
    Error::new(Kind::LockTimeout, "the catalog could not be read within 30 seconds")
        .hint("somebody may hold ACCESS EXCLUSIVE on a table of the store: see pg_locks")
        .with_sqlstate("57014")
        .because(error)
}

/// The server's version, clock, role and limits.
pub fn server(client: &mut Client) -> Result<Server> {
    let row = client
        .query_one(include_str!("../../sql/catalog/server.sql"), &[])
        .map_err(|error| Error::database("asking the server for its settings", error))?;
    let number = |column: &str| usize::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let standby = row.get("standby");
    let server = Server {
        version_number: row.get("version_number"),
        version: row.get("version"),
        now: row.get("now"),
        role: row.get("role"),
        database: row.get("database"),
        max_locks_per_transaction: number("max_locks"),
        max_connections: number("max_connections"),
        max_prepared_transactions: number("max_prepared"),
        read_only: standby || row.get::<_, bool>("read_only"),
        standby,
    };
    if server.major() < MAJOR_VERSION_MIN {
        return Err(Error::refused(format!(
            "the server is PostgreSQL {}; pupctl needs {MAJOR_VERSION_MIN} or newer",
            server.version
        ))
        .hint("upgrade the server: DETACH PARTITION … CONCURRENTLY came with version 14"));
    }
    Ok(server)
}

/// A schema that holds a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSchema {
    /// The schema.
    pub name: String,
    /// Who owns the store.
    pub owner: String,
    /// Whether that is the role itself, or one whose rights it has without being a superuser.
    pub own: bool,
}

/// The schemas of the database that hold a store.
pub fn store_schemas(client: &mut Client) -> Result<Vec<StoreSchema>> {
    let rows = client
        .query(include_str!("../../sql/catalog/stores.sql"), &[])
        .map_err(|error| Error::database("looking for stores", error))?;
    let store = |row: &Row| StoreSchema {
        name: row.get("schema"),
        owner: row.get("owner"),
        own: row.get("own"),
    };
    Ok(rows.iter().map(store).collect())
}

/// Reads the catalog of the store in `schema`. `tables` are the names to look for where no
/// layout is stored.
pub fn catalog(
    client: &mut Client,
    schema: &str,
    tables: &Tables,
    depth: Depth,
) -> Result<Catalog> {
    let server = server(client)?;
    let mut transaction = snapshot(client)?;
    let catalog = catalog_within(&mut transaction, server, schema, tables, depth)?;
    transaction.rollback().map_err(|error| Error::database("reading the catalog", error))?;
    Ok(catalog)
}

/// Begins a transaction that writes nothing and sees one state of the database to its end.
pub fn snapshot(client: &mut Client) -> Result<Transaction<'_>> {
    client
        .build_transaction()
        .read_only(true)
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .map_err(|error| Error::database("reading the catalog", error))
}

/// The same within a transaction that goes on, for whoever reads the tables as they were at the
/// same moment. It leaves the settings of the session pinned to the end of the transaction.
pub fn catalog_within(
    transaction: &mut Transaction<'_>,
    server: Server,
    schema: &str,
    tables: &Tables,
    depth: Depth,
) -> Result<Catalog> {
    transaction
        .batch_execute(PIN_SETTINGS)
        .map_err(|error| Error::database("reading the catalog", error))?;
    Reader { transaction, schema }.catalog(server, tables, depth)
}

struct Reader<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    schema: &'a str,
}

impl Reader<'_, '_> {
    fn catalog(&mut self, server: Server, tables: &Tables, depth: Depth) -> Result<Catalog> {
        let schema = self.schema;
        let row = self.one(include_str!("../../sql/catalog/schema.sql"), &[&schema])?;
        let layout = if row.get("layout") { self.layout()? } else { None };
        let own = row.get::<_, bool>("own_history").then_some(MigrationSet::Own);
        let store = row.get::<_, bool>("store_history").then_some(MigrationSet::Store);
        let own_migrations = self.migrations(own)?;
        let store_migrations = self.migrations(store)?;

        let names = layout.as_ref().map_or_else(|| tables.clone(), |layout| layout.tables.clone());
        let (mut roots, unfinished, oids) = self.relations(&names, depth)?;
        let root_oids: Vec<Oid> = roots.values().map(|root| root.oid).collect();
        let mut columns = self.columns(&root_oids)?;
        let mut table = |name: &str| {
            let root = roots.remove(name)?;
            let columns = columns.remove(&root.oid).unwrap_or_default();
            Some(Table { root, columns })
        };
        let events = table(&names.events);
        let heads = table(&names.aggregate_heads);
        let checkpoints = table(&names.projection_checkpoints);
        let other_names = self.other_names(&names, &oids)?;
        let functions = self.functions(&names)?;
        let event_ids = self.event_ids()?;
        let detached = self.detached()?;
        let archived = self.archived("events")?;
        let archived_heads = self.archived("aggregate_heads")?;
        let unfinished_archives = self.unfinished_archives()?;
        let conversion = self.conversion()?;
        let taken_names = if depth.definitions {
            details::taken_names(self.transaction, self.schema)?
        } else {
            BTreeSet::new()
        };
        let default_with_rows = if depth.default_rows {
            self.defaults_with_rows(events.as_ref(), heads.as_ref())?
        } else {
            vec![]
        };
        Ok(Catalog {
            server,
            schema_name: self.schema.to_owned(),
            schema: Schema { exists: row.get("exists"), may_create: row.get("may_create") },
            layout,
            own_migrations,
            store_migrations,
            events,
            heads,
            checkpoints,
            functions,
            event_ids,
            unfinished,
            detached,
            archived,
            archived_heads,
            conversion,
            unfinished_archives,
            default_with_rows,
            other_names,
            taken_names,
        })
    }

    fn layout(&mut self) -> Result<Option<Layout>> {
        let table = layout_table(self.schema);
        let rows = self.all(&render("layout/select", &values! { table }), &[])?;
        rows.first().map(|row| Layout::from_json(row.get("layout"))).transpose()
    }

    fn migrations(&mut self, set: Option<MigrationSet>) -> Result<Vec<AppliedMigration>> {
        let Some(set) = set else { return Ok(Vec::new()) };
        let history = history_table(self.schema, set);
        let rows = self.all(&render("migration/select", &values! { history }), &[])?;
        rows.iter().map(|row| applied_migration(row, &history)).collect()
    }

    /// The trees of the store's tables by name, the unfinished branches, and the OIDs of all.
    #[allow(clippy::type_complexity)]
    fn relations(
        &mut self,
        names: &Tables,
        depth: Depth,
    ) -> Result<(HashMap<String, Relation>, Vec<Unfinished>, Vec<Oid>)> {
        let wanted = [&names.events, &names.aggregate_heads, &names.projection_checkpoints]
            .map(String::as_str);
        let schema = self.schema;
        let rows = self.all(
            include_str!("../../sql/catalog/relations.sql"),
            &[&schema, &wanted.as_slice(), &UNFINISHED_PREFIX],
        )?;
        let oids: Vec<Oid> = rows.iter().map(|row| row.get("oid")).collect();
        let is_wanted = |row: &&Row| depth.indexes || row.get::<_, Option<Oid>>("parent").is_none();
        let with_indexes: Vec<Oid> =
            rows.iter().filter(is_wanted).map(|row| row.get("oid")).collect();
        let mut indexes = self.indexes(&with_indexes)?;
        let mut triggers = self.triggers(&with_indexes)?;
        if depth.definitions {
            details::add_definitions(self.transaction, &with_indexes, &mut indexes)?;
        }
        let mut details =
            if depth.details { details::read(self.transaction, &oids)? } else { HashMap::new() };
        let is_parent = |row: &&Row| row.get::<_, String>("kind") == "p";
        let parents: Vec<Oid> = rows.iter().filter(is_parent).map(|row| row.get("oid")).collect();
        let mut foreign_keys = self.foreign_keys(&parents)?;
        let mut sizes = if depth.sizes { self.sizes(&oids)? } else { HashMap::new() };
        let mut children: HashMap<Oid, Vec<Relation>> = HashMap::new();
        let mut tops = Vec::new();
        for row in &rows {
            let mut relation = relation(row);
            relation.indexes = indexes.remove(&relation.oid).unwrap_or_default();
            relation.triggers = triggers.remove(&relation.oid).unwrap_or_default();
            relation.details = details.remove(&relation.oid).unwrap_or_default();
            relation.foreign_keys = foreign_keys.remove(&relation.oid).unwrap_or_default();
            relation.size = sizes.remove(&relation.oid);
            match row.get::<_, Option<Oid>>("parent") {
                Some(parent) => children.entry(parent).or_default().push(relation),
                None => tops.push((relation, row.get::<_, Option<String>>("mark"))),
            }
        }
        let mut roots = HashMap::new();
        let mut unfinished = Vec::new();
        for (mut relation, mark) in tops {
            adopt(&mut relation, &mut children);
            match mark {
                Some(mark) => unfinished.push(Unfinished { mark, branch: relation }),
                None => drop(roots.insert(relation.name.name.clone(), relation)),
            }
        }
        Ok((roots, unfinished, oids))
    }

    fn indexes(&mut self, oids: &[Oid]) -> Result<HashMap<Oid, Vec<Index>>> {
        let rows = self.all(include_str!("../../sql/catalog/indexes.sql"), &[&oids])?;
        let mut indexes: HashMap<Oid, Vec<Index>> = HashMap::new();
        for row in &rows {
            let mut options: Vec<String> = row.get("options");
            options.sort();
            indexes.entry(row.get("relation")).or_default().push(Index {
                oid: row.get("oid"),
                name: row.get("name"),
                method: row.get("method"),
                unique: row.get("unique"),
                primary: row.get("primary"),
                valid: row.get("valid"),
                columns: row.get("columns"),
                partial: row.get("partial"),
                options,
                parent: row.get("parent"),
                ..Index::default()
            });
        }
        Ok(indexes)
    }

    fn foreign_keys(&mut self, oids: &[Oid]) -> Result<HashMap<Oid, Vec<QualifiedName>>> {
        let rows = self.all(include_str!("../../sql/catalog/foreign_keys.sql"), &[&oids])?;
        let mut others: HashMap<Oid, Vec<QualifiedName>> = HashMap::new();
        for row in &rows {
            let name =
                QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name"));
            others.entry(row.get("relation")).or_default().push(name);
        }
        Ok(others)
    }

    fn sizes(&mut self, oids: &[Oid]) -> Result<HashMap<Oid, Size>> {
        let rows = self.all(include_str!("../../sql/catalog/sizes.sql"), &[&oids])?;
        // A table that was dropped meanwhile has no size.
        let bytes = |row: &Row, column: &str| {
            row.get::<_, Option<i64>>(column).and_then(|bytes| u64::try_from(bytes).ok())
        };
        Ok(rows
            .iter()
            .filter_map(|row| {
                let size = Size { table: bytes(row, "table")?, indexes: bytes(row, "indexes")? };
                Some((row.get("oid"), size))
            })
            .collect())
    }

    fn columns(&mut self, oids: &[Oid]) -> Result<HashMap<Oid, Vec<Column>>> {
        let rows = self.all(include_str!("../../sql/catalog/columns.sql"), &[&oids])?;
        let mut columns: HashMap<Oid, Vec<Column>> = HashMap::new();
        for row in &rows {
            columns.entry(row.get("relation")).or_default().push(details::column(row));
        }
        Ok(columns)
    }

    fn other_names(&mut self, names: &Tables, known: &[Oid]) -> Result<BTreeSet<String>> {
        let prefixes = [&names.events, &names.aggregate_heads].map(|name| beginning(name));
        let schema = self.schema;
        let rows = self.all(
            include_str!("../../sql/catalog/names.sql"),
            &[&schema, &prefixes.as_slice(), &known],
        )?;
        Ok(rows.iter().map(|row| row.get("name")).collect())
    }

    fn defaults_with_rows(
        &mut self,
        events: Option<&Table>,
        heads: Option<&Table>,
    ) -> Result<Vec<QualifiedName>> {
        let mut found = Vec::new();
        for table in [events, heads].into_iter().flatten() {
            let is_default = |leaf: &&Relation| leaf.bound == Some(Bound::Default);
            for leaf in table.root.leaves().filter(is_default) {
                let sql = render("partition/has_rows", &values! { table => leaf.name });
                if self.one(&sql, &[])?.get(0) {
                    found.push(leaf.name.clone());
                }
            }
        }
        Ok(found)
    }

    fn all(
        &mut self,
        sql: &str,
        values: &[&(dyn postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        self.transaction.query(sql, values).map_err(failed)
    }

    fn one(&mut self, sql: &str, values: &[&(dyn postgres::types::ToSql + Sync)]) -> Result<Row> {
        self.transaction.query_one(sql, values).map_err(failed)
    }
}

/// Hangs the partitions below their parents, in the order of their bounds.
fn adopt(relation: &mut Relation, children: &mut HashMap<Oid, Vec<Relation>>) {
    let Some(mut partitions) = children.remove(&relation.oid) else { return };
    for partition in &mut partitions {
        adopt(partition, children);
    }
    partitions.sort_by_cached_key(|partition| sort_key(partition.bound.as_ref()));
    relation.partitions = partitions;
}

/// Contexts by name, months by time, hash shares by remainder, DEFAULT last.
fn sort_key(bound: Option<&Bound>) -> (u8, i64, String) {
    match bound {
        Some(Bound::List(_)) => (0, 0, bound.map(ToString::to_string).unwrap_or_default()),
        Some(Bound::Hash { remainder, .. }) => (1, i64::from(*remainder), String::new()),
        Some(Bound::Range { from, .. }) => {
            use crate::layout::bounds::Edge;
            let start = match from {
                Edge::Min => i64::MIN,
                Edge::At(at) => at.timestamp_micros(),
                Edge::Max => i64::MAX,
            };
            (2, start, String::new())
        }
        Some(Bound::Other(text)) => (3, 0, text.clone()),
        Some(Bound::Default) | None => (4, 0, String::new()),
    }
}

fn relation(row: &Row) -> Relation {
    let kind = match row.get::<_, String>("kind").as_str() {
        "r" => RelationKind::Table,
        "p" => RelationKind::Partitioned,
        _ => RelationKind::Other,
    };
    let replica_identity = match row.get::<_, String>("replica_identity").as_str() {
        "f" => ReplicaIdentity::Full,
        "i" => ReplicaIdentity::Index,
        "n" => ReplicaIdentity::Nothing,
        _ => ReplicaIdentity::Default,
    };
    Relation {
        oid: row.get("oid"),
        name: QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name")),
        kind,
        bound: row.get::<_, Option<String>>("bound").map(|text| bound::parse(&text)),
        partition_key: row.get("partition_key"),
        detach_pending: row.get("detach_pending"),
        owner: row.get("owner"),
        owned: row.get("owned"),
        grants: details::grants(row.get("grants")),
        replica_identity,
        row_security: row.get("row_security"),
        tablespace: row.get("tablespace"),
        foreign_keys: Vec::new(),
        rows: estimate(row.get("rows")),
        size: None,
        indexes: Vec::new(),
        triggers: Vec::new(),
        details: Details::default(),
        partitions: Vec::new(),
    }
}

/// `reltuples` is a float, and -1 as long as nothing has counted.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn estimate(tuples: f32) -> Option<u64> {
    (tuples >= 0.0).then_some(tuples as u64)
}

/// A row of the history. refinery panics on rows that it did not write, so they are checked.
fn applied_migration(row: &Row, history: &QualifiedName) -> Result<AppliedMigration> {
    let applied = || {
        let checksum: String = row.try_get::<_, Option<String>>("checksum").ok()??;
        checksum.parse::<u64>().ok()?;
        let applied_on: String = row.try_get::<_, Option<String>>("applied_on").ok()??;
        chrono::DateTime::parse_from_rfc3339(&applied_on).ok()?;
        Some(AppliedMigration {
            version: row.try_get("version").ok()?,
            name: row.try_get::<_, Option<String>>("name").ok()??,
            checksum,
            applied_on,
        })
    };
    applied().ok_or_else(|| {
        Error::refused(format!("{history} holds a row that no migration wrote"))
            .hint("restore the row, or delete it if its migration was never applied")
    })
}
