//! What mends a thing that cannot be carried over, as people run it.

use crate::layout::name::{QualifiedName, joined};
use crate::plan::convert::belongings::Mend;
use crate::render::environment::{quoted, render, values};
use crate::render::{add_key, mend, quote};

/// What a sequence is called until it has the name of the one in whose place it comes.
const BESIDE: &str = "beside";

/// The statements, with semicolons; or words where no statement does it.
#[must_use]
pub fn hint(mend: &Mend) -> String {
    let mut signature = String::new();
    let mut sequence = QualifiedName::new("", "");
    let mut beside = sequence.clone();
    match mend {
        Mend::Words { words } | Mend::Rights { words } => return words.clone(),
        Mend::ColumnDefault { table, column, default } => {
            return ended(&mend::column_default(table, column, Some(default), false));
        }
        Mend::AddKey { table, columns, primary } => {
            let columns: Vec<_> = columns.iter().map(String::as_str).collect();
            return ended(&add_key(table, &columns, *primary));
        }
        Mend::DropRoutine { signature: own, .. } => signature.clone_from(own),
        Mend::Serial { sequence: own, .. } => {
            beside = own.sibling(joined(&own.name, BESIDE));
            sequence = own.clone();
        }
        Mend::NewSequence { table, column, own } => {
            let new = || table.sibling(joined(&table.name, &format!("{column}_seq")));
            beside = own.clone().unwrap_or_else(new);
        }
        _ => {}
    }
    let kind = kind_of(mend);
    let (sequence_text, beside_text) = (quote::table(&sequence), quote::table(&beside));
    let signature = quoted(signature);
    let values = values! { mend, kind, signature, beside, beside_text, sequence_text };
    let statement = render("convert/mend", &values);
    let again = match mend {
        Mend::DropView { .. } | Mend::DropRoutine { .. } => " make it again after the swap",
        Mend::DropPublication { .. } => " make it again FOR TABLE … with the tables that it needs",
        _ => "",
    };
    format!("{}{again}", ended(&statement))
}

/// With one semicolon.
fn ended(statement: &str) -> String {
    format!("{};", statement.trim_end().trim_end_matches(';'))
}

/// The tag by which the template tells them apart.
fn kind_of(mend: &Mend) -> String {
    let value = serde_json::to_value(mend).unwrap_or_default();
    value["kind"].as_str().unwrap_or_default().to_owned()
}
