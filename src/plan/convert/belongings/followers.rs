//! What names the table from outside: views, routines, triggers, publications. All of it keeps to
//! the table when that is renamed.

use crate::catalog::surroundings::{Publication, Routine, Scope, Trigger, View};
use crate::layout::Role;

use super::{Belonging, Examined, Mend, partition_columns};

pub(super) fn examine(examined: &Examined<'_>, found: &mut Vec<Belonging>) {
    let surroundings = examined.surroundings;
    found.extend(surroundings.triggers.iter().map(|one| trigger(examined, one)));
    for rule in &surroundings.rules {
        let mend = Mend::DropRule { table: examined.name(), rule: rule.clone() };
        let why = "it puts statements in place of others, and copies would go through it";
        found.push(Belonging::refused(format!("the rule {rule}"), why, mend));
    }
    found.extend(surroundings.views.iter().map(|one| view(examined, one)));
    found.extend(surroundings.routines.iter().map(|one| routine(examined, one)));
    for other in &surroundings.others {
        let words = format!("take it off {other} before, and give it back after the swap");
        let why = "it would keep to the old table, or to the type of its rows";
        found.push(Belonging::refused(other, why, Mend::Words { words }));
    }
    for statistics in &surroundings.statistics {
        let what = format!("the extended statistics {}", statistics.name);
        found.push(if statistics.owned {
            Belonging::carried(what, "are made again on the new table, and filled by ANALYZE")
        } else {
            not_mine(examined, what, &statistics.owner)
        });
    }
    for one in &surroundings.publications {
        publication(examined, one, found);
    }
    for name in &surroundings.subscriptions {
        let words = format!("let the table be a target of {name} no more");
        found.push(Belonging::refused(
            format!("the subscription {name}"),
            "what it receives is written without the locks by which the tail of a copy is known",
            Mend::Words { words },
        ));
    }
}

/// Something that only its owner may make again.
fn not_mine(examined: &Examined<'_>, what: String, owner: &str) -> Belonging {
    let member = examined.surroundings.table.role.clone();
    let why = format!("it belongs to {owner}, whose rights {member} does not have");
    Belonging::refused(what, why, examined.rights_of(owner))
}

fn trigger(examined: &Examined<'_>, trigger: &Trigger) -> Belonging {
    let what = format!("the trigger {}", trigger.name);
    let drop = Mend::DropTrigger { table: examined.name(), trigger: trigger.name.clone() };
    if trigger.for_rows && trigger.transition {
        let why = "FOR EACH ROW with a transition table is not possible on partitioned tables";
        return Belonging::refused(what, why, drop);
    }
    if trigger.for_rows && trigger.before {
        let columns: Vec<_> =
            partition_columns(examined.layout, examined.role).into_iter().collect();
        return Belonging::carried(
            what,
            format!(
                "moves to the new table; it fires when the partition is chosen, so it must not \
                 change {}",
                columns.join(", ")
            ),
        );
    }
    Belonging::carried(what, "moves to the new table in the swap, and does not fire for copies")
}

fn view(examined: &Examined<'_>, view: &View) -> Belonging {
    if !view.is_plain() && view.kind != "m" {
        let what = format!("the rule {} of {}", view.rule, view.name);
        let (table, rule) = (view.name.clone(), view.rule.clone());
        let why = "it would go on writing to the old table";
        return Belonging::refused(what, why, Mend::DropRule { table, rule });
    }
    let materialized = view.kind == "m";
    let drop = Mend::DropView { view: view.name.clone(), materialized };
    if materialized {
        let what = format!("the materialized view {}", view.name);
        let why = "it would go on reading the old table, and cannot be replaced in place";
        return Belonging::refused(what, why, drop);
    }
    let what = format!("the view {}", view.name);
    if view.keyed {
        let why = "its GROUP BY relies on a primary key that the new table does not have";
        return Belonging::refused(what, why, drop);
    }
    if !view.owned {
        return not_mine(examined, what, &view.owner);
    }
    Belonging::carried(what, "is replaced in the swap by the same on the new table")
}

fn routine(examined: &Examined<'_>, routine: &Routine) -> Belonging {
    let Routine { procedure, aggregate, .. } = *routine;
    let kind = match (procedure, aggregate) {
        (true, _) => "procedure",
        (_, true) => "aggregate",
        _ => "function",
    };
    let what = format!("the {kind} {}", routine.signature);
    let signature = routine.signature.clone();
    let drop = Mend::DropRoutine { signature, procedure, aggregate };
    if routine.of_rows {
        let why = "it takes or gives rows of the table, whose type goes with the old one";
        return Belonging::refused(what, why, drop);
    }
    if routine.keyed {
        let why = "its body relies on a key that the new table does not have";
        return Belonging::refused(what, why, drop);
    }
    if routine.definition.is_none() {
        let why = "its defaults would keep to the old table";
        return Belonging::refused(what, why, drop);
    }
    if !routine.owned {
        return not_mine(examined, what, &routine.owner);
    }
    Belonging::carried(what, "is replaced in the swap by the same on the new table")
}

fn publication(examined: &Examined<'_>, publication: &Publication, found: &mut Vec<Belonging>) {
    let what = format!("the publication {}", publication.name);
    let name = publication.name.clone();
    let before = found.len();
    let mut refuse = |why: &str, mend| found.push(Belonging::refused(what.clone(), why, mend));
    match publication.scope {
        Scope::All => {
            let why = "FOR ALL TABLES: subscribers would get every copied row as a new one";
            refuse(why, Mend::DropPublication { publication: name });
            return;
        }
        Scope::Schema => {
            let why = "FOR TABLES IN SCHEMA: subscribers would get every copied row as a new one";
            let (schema, table) = (examined.name().schema, examined.name());
            refuse(why, Mend::LeaveSchema { publication: name, schema, table });
            return;
        }
        Scope::Table => {}
    }
    if !publication.via_root {
        let why = "without publish_via_partition_root it would send changes of partitions, which \
                   subscribers do not know";
        refuse(why, Mend::ViaRoot { publication: name });
    }
    let has_key = examined.layout.root_has_key(examined.role) && examined.role == Role::Heads;
    let full = ["f", "i"].contains(&examined.surroundings.table.replica_identity.as_str());
    if publication.changes && !full && !has_key {
        let why = "it sends updates and deletes, and one of them stops the subscriber of a \
                   partitioned table unless it comes with the whole row";
        refuse(why, Mend::ReplicaIdentityFull { table: examined.name() });
    }
    if found.len() == before {
        found.push(if publication.owned {
            let how = "sends the new table in place of the old one, with the same columns and rows";
            Belonging::carried(what, how)
        } else {
            not_mine(examined, what, &publication.owner)
        });
    }
}
