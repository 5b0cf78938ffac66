//! What the table is in itself: its kind, its owner, who may do what with it.

use super::{Belonging, Examined, Mend};

pub(super) fn examine(examined: &Examined<'_>, found: &mut Vec<Belonging>) {
    kind(examined, found);
    rights(examined, found);
    row_security(examined, found);
    storage(examined, found);
    let surroundings = examined.surroundings;
    if surroundings.table.comment.is_some() {
        found.push(Belonging::carried("the comment of the table", "the new table gets it"));
    }
    for label in &surroundings.labels {
        let of = label.column.as_ref().map_or(String::new(), |column| format!(" of {column}"));
        let what = format!("the security label{of} by {}", label.provider);
        found.push(Belonging::carried(what, "the new table gets it"));
    }
}

/// What no partitioned table can be.
fn kind(examined: &Examined<'_>, found: &mut Vec<Belonging>) {
    let (table, name) = (&examined.surroundings.table, examined.name());
    if table.kind != "r" || table.partition {
        let why = match table.kind.as_str() {
            "p" => "it is partitioned already",
            "r" => "it is a partition of another table",
            _ => "it is no table",
        };
        let words = "only an ordinary table is converted".to_owned();
        found.push(Belonging::refused(format!("{name} itself"), why, Mend::Words { words }));
        // A partitioned table has all that follows in its own way.
        return;
    }
    for parent in &table.parents {
        let mend = Mend::NoInherit { table: name.clone(), parent: parent.clone() };
        let why = "a partitioned table inherits from none";
        found.push(Belonging::refused(format!("the parent {parent}"), why, mend));
    }
    for child in &table.children {
        let mend = Mend::NoInherit { table: child.clone(), parent: name.clone() };
        let why = "it inherits from the table, which only partitions of a partitioned one can";
        found.push(Belonging::refused(format!("the table {child}"), why, mend));
    }
    if let Some(of_type) = &table.of_type {
        let why = "a table of a type can have no other columns";
        let mend = Mend::NotOf { table: name.clone() };
        found.push(Belonging::refused(format!("the type {of_type} of the table"), why, mend));
    }
    match table.persistence.as_str() {
        "u" => found.push(Belonging::refused(
            "UNLOGGED",
            "a crash would empty the table, and partitioned ones cannot be so",
            Mend::Logged { table: name.clone() },
        )),
        "t" => found.push(Belonging::refused(
            "TEMPORARY",
            "the table ends with its session",
            Mend::Words { words: "make a table that stays".to_owned() },
        )),
        _ => {}
    }
    if let Some(method) = table.access_method.as_ref().filter(|method| *method != "heap") {
        found.push(Belonging::refused(
            format!("the access method {method}"),
            "partitions are ordinary tables",
            Mend::AccessMethod { table: name },
        ));
    }
}

fn rights(examined: &Examined<'_>, found: &mut Vec<Belonging>) {
    let table = &examined.surroundings.table;
    let what = format!("the owner {}", table.owner);
    if table.owned {
        found.push(Belonging::carried(what, "owns the new table and its partitions"));
    } else {
        let why = format!("the role {} does not have its rights", table.role);
        found.push(Belonging::refused(what, why, examined.rights_of(&table.owner)));
    }
    let mut grantees: Vec<&str> = Vec::new();
    let grants = table.column_grants.iter().map(|grant| &grant.grant).chain(&table.grants);
    for grant in grants {
        let grantee = grant.grantee.as_deref().unwrap_or("PUBLIC");
        if !grantees.contains(&grantee) {
            grantees.push(grantee);
        }
    }
    grantees.sort_unstable();
    for grantee in grantees {
        let how = "may do the same with the new table";
        found.push(Belonging::carried(format!("the grants to {grantee}"), how));
    }
    if !table.revoked.is_empty() {
        let what = format!("the rights that the owner gave up ({})", table.revoked.join(", "));
        found.push(Belonging::carried(what, "the owner does not have them on the new table"));
    }
}

fn row_security(examined: &Examined<'_>, found: &mut Vec<Belonging>) {
    let (table, surroundings) = (&examined.surroundings.table, examined.surroundings);
    if table.rows_hidden {
        found.push(Belonging::refused(
            "FORCE ROW LEVEL SECURITY",
            format!(
                "policies may hide rows from the role {}, and a copy would miss them",
                table.role
            ),
            Mend::NoForceRowSecurity { table: examined.name() },
        ));
    } else if table.row_security {
        found.push(Belonging::carried(
            "ROW LEVEL SECURITY",
            "holds for statements on the new table; on a partition itself, grants alone decide",
        ));
    }
    for policy in &surroundings.policies {
        let what = format!("the policy {}", policy.name);
        found.push(Belonging::carried(what, "the new table gets it"));
    }
}

fn storage(examined: &Examined<'_>, found: &mut Vec<Belonging>) {
    let table = &examined.surroundings.table;
    if let Some(tablespace) = &table.tablespace {
        let what = format!("the tablespace {tablespace}");
        found.push(Belonging::carried(what, "the partitions lie there too"));
    }
    let toast = table.toast_options.iter().map(|option| format!("toast.{option}"));
    for option in table.options.iter().cloned().chain(toast) {
        let what = format!("the storage parameter {option}");
        found.push(Belonging::carried(what, "every partition gets it"));
    }
    match table.replica_identity.as_str() {
        "f" => found.push(Belonging::carried(
            "REPLICA IDENTITY FULL",
            "the new table and its partitions get it",
        )),
        "n" => found.push(Belonging::carried(
            "REPLICA IDENTITY NOTHING",
            "the new table and its partitions get it",
        )),
        "i" => found.push(Belonging::refused(
            "REPLICA IDENTITY USING INDEX",
            "partitions have indexes of their own",
            Mend::ReplicaIdentityFull { table: examined.name() },
        )),
        _ => {}
    }
}
