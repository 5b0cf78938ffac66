//! What a read model consists of, what hangs on it, and what belongs to its tables beside rows.

use std::collections::BTreeSet;

use postgres::{GenericClient, Transaction};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};
use crate::render::{Lock, LockMode, Statement};

/// A table, view, sequence, routine or type of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Object {
    #[serde(skip)]
    class: u32,
    #[serde(skip)]
    id: u32,
    /// The word behind ALTER and DROP.
    pub(super) kind: String,
    pub(super) name: QualifiedName,
    /// The types of the arguments of a routine.
    arguments: Vec<String>,
    #[serde(skip)]
    pub(super) partition: bool,
    #[serde(skip)]
    owned: bool,
}

impl Object {
    pub(super) fn is_table(&self) -> bool {
        self.kind == "TABLE"
    }

    /// Whether the names of both lie in one name space, so that they cannot be beside each other.
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        let space = |object: &Self| match object.kind.as_str() {
            "ROUTINE" => 1,
            "TYPE" => 2,
            _ => 0,
        };
        space(self) == space(other)
            && self.name.name == other.name.name
            && self.arguments == other.arguments
    }

    /// As `table orders`.
    pub(super) fn words(&self) -> String {
        format!("{} {}", self.kind.to_lowercase(), self.name)
    }
}

/// What there is in a schema.
pub(super) fn of(client: &mut impl GenericClient, schema: &str) -> Result<Vec<Object>> {
    let sql = include_str!("../../../sql/projection/rebuild/objects.sql");
    let rows = client.query(sql, &[&schema]).map_err(failed)?;
    let object = |row: &postgres::Row| Object {
        class: row.get("class"),
        id: row.get("object"),
        kind: row.get("kind"),
        name: QualifiedName::new(schema, row.get::<_, String>("name")),
        arguments: row.get("arguments"),
        partition: row.get("partition"),
        owned: row.get("owned"),
    };
    Ok(rows.iter().map(object).collect())
}

/// Those of a schema whose places others take.
pub(super) fn replaced(
    client: &mut impl GenericClient,
    schema: &str,
    new: &[Object],
) -> Result<Vec<Object>> {
    let mut old = of(client, schema)?;
    old.retain(|old| new.iter().any(|new| new.is_in_the_way_of(old)));
    Ok(old)
}

/// Refuses to take the place of what is something else, or somebody else's.
pub(super) fn refuse_others(
    projection: &str,
    old: &[Object],
    new: &[Object],
    known: &BTreeSet<QualifiedName>,
    begun: bool,
) -> Result<()> {
    for object in old {
        let same = |other: &&Object| other.is_in_the_way_of(object) && other.kind == object.kind;
        if !new.iter().any(|other| same(&other)) {
            return Err(Error::refused(format!("the {} is in the way", object.words()))
                .hint("the file makes something else of this name: give it another one"));
        }
        let is_known = if object.is_table() { known.contains(&object.name) } else { begun };
        if !is_known && !object.partition {
            return Err(Error::refused(format!(
                "the {} is there, and nobody said that {projection} fills it",
                object.words()
            ))
            .detail("a rebuild takes its place, so what is in it now would be lost")
            .hint(format!(
                "drop or rename it if nobody needs it; if it is the read model, say so: pupctl \
                 projections init {} --tables {}",
                crate::render::quote::shell_word(projection),
                object.name
            )));
        }
        if !object.owned {
            return Err(Error::refused(format!("this role does not own the {}", object.words()))
                .hint("work as its owner: --role"));
        }
    }
    Ok(())
}

/// What would be lost with these objects, in words.
pub(super) fn dependents(transaction: &mut Transaction<'_>, old: &[Object]) -> Result<Vec<String>> {
    let classes: Vec<u32> = old.iter().map(|object| object.class).collect();
    let objects: Vec<u32> = old.iter().map(|object| object.id).collect();
    let sql = include_str!("../../../sql/projection/rebuild/dependents.sql");
    let rows = transaction.query(sql, &[&classes, &objects]).map_err(failed)?;
    let words = |row: &postgres::Row| {
        format!("{} depends on {}", row.get::<_, String>(0), row.get::<_, String>(1))
    };
    Ok(rows.iter().map(words).collect())
}

/// What is on the old tables and not on the new ones: what would be missed, and what may be.
pub(super) fn extras(
    transaction: &mut Transaction<'_>,
    live: &str,
    shadow: &str,
    is_other_file: bool,
) -> Result<(Vec<String>, Vec<String>)> {
    let sql = include_str!("../../../sql/projection/rebuild/extras.sql");
    let rows = transaction.query(sql, &[&live, &shadow, &is_other_file]).map_err(failed)?;
    let (essential, other): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.get::<_, bool>("essential"));
    let words = |rows: Vec<&postgres::Row>| rows.iter().map(|row| row.get("extra")).collect();
    Ok((words(essential), words(other)))
}

/// What is dropped when: views of tables before these, what tables use after them.
const DROPPED: [&str; 5] = ["VIEW", "TABLE", "ROUTINE", "SEQUENCE", "TYPE"];

/// The statements that drop old objects. Without CASCADE: what somebody made of them since they
/// were looked at makes the swap fail, and is not lost.
pub(super) fn drop_old(old: &[Object]) -> Vec<Statement> {
    let mut statements = Vec::new();
    for kind in DROPPED {
        let is_one = |object: &&Object| object.kind == kind && !object.partition;
        let objects: Vec<_> = old.iter().filter(is_one).collect();
        if objects.is_empty() {
            continue;
        }
        let locks = match kind {
            "VIEW" | "TABLE" => exclusive(objects.iter().map(|object| &object.name)),
            _ => Vec::new(),
        };
        let sql = render("projection/rebuild/drop", &values! { kind, objects });
        let why = format!("The old {}s", kind.to_lowercase());
        statements.push(Statement { sql, why, locks });
    }
    statements
}

/// The statement after which nobody else is at the old tables and views; none where there are none.
pub(super) fn lock_old(old: &[Object]) -> Option<Statement> {
    let lockable =
        |object: &&Object| (object.is_table() && !object.partition) || object.kind == "VIEW";
    let tables: Vec<_> = old.iter().filter(lockable).map(|object| &object.name).collect();
    let locks = exclusive(tables.iter().copied());
    (!tables.is_empty()).then(|| Statement {
        sql: render("projection/control/lock_tables", &values! { tables }),
        why: "Readers wait from here to the end".to_owned(),
        locks,
    })
}

fn exclusive<'a>(tables: impl Iterator<Item = &'a QualifiedName>) -> Vec<Lock> {
    tables.map(|on| Lock { mode: LockMode::AccessExclusive, on: on.clone() }).collect()
}

/// The statements that move objects into a schema.
pub(super) fn move_new(new: &[Object], schema: &str) -> Vec<Statement> {
    let moved = |object: &Object| Statement {
        sql: render("projection/rebuild/move", &values! { object, schema }),
        why: format!("The new {}, with its rows", object.kind.to_lowercase()),
        locks: Vec::new(),
    };
    let mut statements: Vec<_> = new.iter().map(moved).collect();
    for (statement, object) in statements.iter_mut().zip(new) {
        if !object.is_table() {
            statement.why = format!("The new {}", object.kind.to_lowercase());
        }
    }
    statements
}

/// The statements that give new tables what the old ones had beside their rows, with notes of what
/// to know about that.
pub(super) fn carry(
    transaction: &mut Transaction<'_>,
    live: &str,
    shadow: &str,
) -> Result<(Vec<Statement>, Vec<String>)> {
    let mut statements = Vec::new();
    let mut notes = Vec::new();
    let plain = |sql: String, why: &str| Statement { sql, why: why.to_owned(), locks: Vec::new() };
    let sql = include_str!("../../../sql/projection/rebuild/grants.sql");
    for row in transaction.query(sql, &[&live, &shadow]).map_err(failed)? {
        let text = |column: &str| row.get::<_, Option<String>>(column);
        let name = QualifiedName::new(live, row.get::<_, String>("name"));
        let (sequence, grantable): (bool, bool) = (row.get("sequence"), row.get("grantable"));
        let revoke: bool = row.get("revoke");
        let (column, grantee, privilege) = (text("column"), text("grantee"), text("privilege"));
        let values = values! { name, sequence, grantable, revoke, column, grantee, privilege };
        let sql = render("projection/rebuild/grant", &values);
        statements.push(plain(sql, "The rights of the old one"));
    }
    let sql = include_str!("../../../sql/projection/rebuild/belongings.sql");
    for row in transaction.query(sql, &[&live, &shadow]).map_err(failed)? {
        let name = QualifiedName::new(live, row.get::<_, String>("name"));
        let (what, kind): (String, String) = (row.get("what"), row.get("kind"));
        let kind = if kind == "v" {
            "VIEW"
        } else if kind == "S" {
            "SEQUENCE"
        } else {
            "TABLE"
        };
        let (part, text): (Option<String>, Option<String>) = (row.get("part"), row.get("text"));
        let part = part.unwrap_or_default();
        let sql = match what.as_str() {
            "comment" => {
                let values = values! { kind, name, column => None::<String>, text };
                render("projection/rebuild/comment", &values)
            }
            "column comment" => {
                let kind = "COLUMN";
                let values = values! { kind, name, column => part, text };
                render("projection/rebuild/comment", &values)
            }
            "identity index" => {
                render("projection/rebuild/identity", &values! { name, index => part })
            }
            "identity" => {
                let full = text.as_deref() == Some("f");
                render("partition/replica_identity", &values! { name, full })
            }
            "publication" => {
                notes.push(format!(
                    "subscribers of {part} do not get the new rows of {name}: have them copy it \
                     anew, or use --in-place"
                ));
                render("mend/publish", &values! { publication => part, table => name })
            }
            "owner" => render("projection/rebuild/owner", &values! { kind, name, owner => part }),
            _ => {
                return Err(Error::refused(format!(
                    "{name} is in the publication {part} in a way that cannot be carried over"
                ))
                .hint(
                    "a part of its rows or columns, or somebody else's publication: --in-place",
                ));
            }
        };
        statements.push(plain(sql, &format!("The {what} of the old one")));
    }
    Ok((statements, notes))
}

pub(super) fn failed(error: postgres::Error) -> Error {
    Error::database("looking at the read model", error)
}
