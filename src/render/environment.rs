//! The template environment. Its formatter refuses every value that did not come out of a
//! quoting filter, and it has no other filters, so nothing unquoted can reach a statement.
//!
//! | filter | takes | gives |
//! |---|---|---|
//! | `ident` | a string | `"name"` |
//! | `idents` | a list of strings | `"a", "b"` |
//! | `table` | `{schema, name}` | `"schema"."name"` |
//! | `literal` | a string | `'text'` |
//! | `literals` | a list of strings | `'a', 'b'` |
//! | `type` | what `format_type` prints | itself |
//! | `keyword` | upper-case words | themselves |
//! | `dollar` | a block | `$pupctl$…$pupctl$` |

use std::sync::LazyLock;

use minijinja::{Environment, Error, UndefinedBehavior, Value};

use super::filters::safe;
pub(super) use super::filters::{add_filters, refuse};
use super::quote;

/// Values for a template: `values! { name, keys => [columns] }`.
macro_rules! values {
    (@value $key:ident) => { $key };
    (@value $key:ident $value:expr) => { $value };
    ($($key:ident $(=> $value:expr)?),* $(,)?) => {
        minijinja::Value::from(std::collections::BTreeMap::from([$((
            stringify!($key),
            minijinja::Value::from(minijinja::value::Serde(
                &$crate::render::environment::values!(@value $key $($value)?)
            )),
        )),*]))
    };
}
pub(crate) use values;

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../templates/", $name, ".sql.j2")))),*]
    };
}

/// Every template; `tests/tidy` compares the list with the folder.
const TEMPLATES: &[(&str, &str)] = templates![
    "advise/contexts",
    "advise/sample",
    "advise/statements",
    "advise/streams",
    "archive/advance",
    "archive/begin",
    "archive/columns",
    "archive/copy_in",
    "archive/digest",
    "archive/doubled",
    "archive/exists",
    "archive/forget_closed",
    "archive/forget_ids",
    "archive/from",
    "archive/gone",
    "archive/has_tail",
    "archive/index",
    "archive/index_positions",
    "archive/join_batch",
    "archive/joined_rows",
    "archive/joined_up_to",
    "archive/keep_tail",
    "archive/leaving",
    "archive/leaving_index",
    "archive/leaving_leaf",
    "archive/list",
    "archive/lowest_checkpoint",
    "archive/merge_heads",
    "archive/publish",
    "archive/read",
    "archive/relocate",
    "archive/restore_copy",
    "archive/restore_end",
    "archive/restored_table",
    "archive/returned",
    "archive/stage",
    "archive/stage_heads",
    "archive/table",
    "archive/take_heads",
    "archive/unfinished",
    "archive/unstage",
    "attach/collect_ids",
    "attach/constraint",
    "attach/default_rows",
    "attach/doubled_in_store",
    "attach/doubled_within",
    "attach/heads_behind",
    "attach/ids_missing",
    "attach/key_from_index",
    "attach/move_sequence",
    "attach/outside",
    "attach/past",
    "attach/raise_heads",
    "attach/rows",
    "close/forget",
    "close/list",
    "close/newest",
    "close/record",
    "close/seal",
    "close/summarize",
    "close/vacuum",
    "convert/advance",
    "convert/anything",
    "convert/begin",
    "convert/beyond",
    "convert/carry/column_options",
    "convert/carry/column_statistics",
    "convert/carry/comment",
    "convert/carry/create_index",
    "convert/carry/drop_statistics",
    "convert/carry/drop_trigger",
    "convert/carry/enable_trigger",
    "convert/carry/grant_column",
    "convert/carry/label",
    "convert/carry/lock_view",
    "convert/carry/own_sequence",
    "convert/carry/policy",
    "convert/carry/publish",
    "convert/carry/rename_index",
    "convert/carry/replace_view",
    "convert/carry/row_security",
    "convert/carry/statistics",
    "convert/carry/table_options",
    "convert/carry/unpublish",
    "convert/catch_up_heads",
    "convert/changed_heads",
    "convert/copy",
    "convert/count",
    "convert/differing_heads",
    "convert/digest",
    "convert/drop_check",
    "convert/drop_function",
    "convert/extent",
    "convert/find",
    "convert/forget_ranges",
    "convert/freeze",
    "convert/heads",
    "convert/heads_contexts",
    "convert/heap_index",
    "convert/index",
    "convert/lacking_heads",
    "convert/lock",
    "convert/mend",
    "convert/mirror",
    "convert/mirroring",
    "convert/named_heads",
    "convert/next_position",
    "convert/note_range",
    "convert/open",
    "convert/pause",
    "convert/paused",
    "convert/probe",
    "convert/ranges",
    "convert/refuse",
    "convert/rename_index",
    "convert/retire",
    "convert/rows/doubled",
    "convert/rows/nulls",
    "convert/rows/parts",
    "convert/rows/timeless",
    "convert/speed",
    "convert/survey",
    "convert/table",
    "convert/thaw",
    "detach/referenced",
    "drain/delete_heads",
    "drain/move_heads",
    "drain/survey",
    "event/export/extents",
    "event/export/read",
    "event/import/copy",
    "event/import/existing",
    "event/import/lock_heads",
    "event/import/may_insert",
    "event/import/move_heads",
    "event/import/moves",
    "event/import/stage",
    "event/import/stage_extra",
    "fence/drop_slot",
    "fence/forget_projection",
    "fence/known_projections",
    "fence/laggards",
    "fence/last_position",
    "fence/parked",
    "fence/split_streams",
    "health/autovacuum",
    "health/freeze",
    "health/grant_sequence",
    "health/rollback_prepared",
    "health/sequence",
    "health/set_sequence",
    "health/terminate",
    "index/attach",
    "index/create",
    "index/drop",
    "index/probe",
    "index/probe_table",
    "index/probe_written",
    "layout/select",
    "layout/store",
    "layout/store_once",
    "mend/add_column",
    "mend/column_default",
    "mend/column_not_null",
    "mend/column_type",
    "mend/drop_constraint",
    "mend/drop_identity",
    "mend/drop_rule",
    "mend/logged",
    "mend/parameters",
    "mend/publish",
    "mend/replica_identity",
    "mend/revoke",
    "mend/row_security",
    "mend/validate_constraint",
    "migration/drop_index",
    "migration/history",
    "migration/no_way_back",
    "migration/own/V1__own_tables",
    "migration/own/V2__operation_state",
    "migration/own/V3__archives",
    "migration/own/V4__projections",
    "migration/own/V5__read_models",
    "migration/own/V6__conversions",
    "migration/own_once",
    "migration/record",
    "migration/record_once",
    "migration/select",
    "migration/store/V1__heads_and_checkpoints",
    "migration/store/V2__events",
    "migration/store/V3__indexes",
    "migration/store/V4__guard",
    "operation/confirm",
    "operation/end",
    "operation/find",
    "operation/forget",
    "operation/held",
    "operation/interrupted",
    "operation/interrupted_beside",
    "operation/jobs",
    "operation/list",
    "operation/note",
    "operation/running",
    "operation/start",
    "operation/start_beside",
    "operation/successes",
    "operation/unfinished",
    "partition/add_bounds_check",
    "partition/add_exclusion_check",
    "partition/attach",
    "partition/create",
    "partition/create_brin",
    "partition/detach",
    "partition/digest",
    "partition/drop",
    "partition/drop_branch",
    "partition/drop_empty",
    "partition/explain",
    "partition/explain_execute",
    "partition/explain_prepare",
    "partition/finalize_detach",
    "partition/grant",
    "partition/has_rows",
    "partition/keys",
    "partition/lock_for_detach",
    "partition/lock_table",
    "partition/owner",
    "partition/read",
    "partition/reindex",
    "partition/rename",
    "partition/replica_identity",
    "projection/advance",
    "projection/audit_from",
    "projection/caught_up",
    "projection/claim",
    "projection/control/barrier",
    "projection/control/begin_audit",
    "projection/control/checkpoints",
    "projection/control/count_between",
    "projection/control/count_letters",
    "projection/control/cut_audit",
    "projection/control/dead_letters",
    "projection/control/delete",
    "projection/control/drop_tables",
    "projection/control/extend_row",
    "projection/control/foreign_rows",
    "projection/control/forget_audit",
    "projection/control/forget_definition",
    "projection/control/forget_letters",
    "projection/control/holes",
    "projection/control/insert",
    "projection/control/lag",
    "projection/control/letters_up_to",
    "projection/control/lift_barrier",
    "projection/control/lock_name",
    "projection/control/lock_rows",
    "projection/control/lock_tables",
    "projection/control/pause",
    "projection/control/read_model",
    "projection/control/remove_rows",
    "projection/control/reset",
    "projection/control/reset_definition",
    "projection/control/reset_others",
    "projection/control/resume",
    "projection/control/rows",
    "projection/control/taken",
    "projection/control/texts",
    "projection/control/truncate",
    "projection/control/unchanged",
    "projection/control/write_slots",
    "projection/describe",
    "projection/forget_audit",
    "projection/forget_letters",
    "projection/highest",
    "projection/letter_done",
    "projection/letter_events",
    "projection/letter_failed",
    "projection/letter_kept",
    "projection/letters",
    "projection/letters/aggregates",
    "projection/letters/at",
    "projection/letters/behind",
    "projection/letters/count",
    "projection/letters/discard",
    "projection/letters/failed",
    "projection/letters/has_failed",
    "projection/letters/left",
    "projection/letters/list",
    "projection/letters/lock",
    "projection/letters/replay",
    "projection/letters/wake",
    "projection/letters/which",
    "projection/park",
    "projection/parked",
    "projection/read",
    "projection/rebuild/become_rows",
    "projection/rebuild/comment",
    "projection/rebuild/copy",
    "projection/rebuild/counts",
    "projection/rebuild/definition",
    "projection/rebuild/diff",
    "projection/rebuild/diff_rows",
    "projection/rebuild/drop",
    "projection/rebuild/drop_schema",
    "projection/rebuild/empty",
    "projection/rebuild/forget_rows",
    "projection/rebuild/grant",
    "projection/rebuild/identity",
    "projection/rebuild/move",
    "projection/rebuild/owner",
    "projection/rebuild/set_sequence",
    "projection/rebuild/take_audit",
    "projection/rebuild/take_definition",
    "projection/rebuild/take_letters",
    "projection/rebuild/take_rows",
    "projection/register",
    "projection/rows",
    "projection/sql/accept",
    "projection/sql/any",
    "projection/sql/batch_table",
    "projection/sql/choose",
    "projection/sql/definition",
    "projection/sql/fill",
    "projection/sql/filled_by",
    "projection/sql/lock_rows",
    "projection/sql/make_schema",
    "projection/sql/scaffold",
    "projection/sql/set_aside",
    "projection/sql/slots",
    "projection/trial/load",
    "projection/trial/protect",
    "projection/trial/reverse",
    "projection/trial/rows",
    "projection/trial/scratch",
    "projection/verify/lost",
    "projection/verify/next",
    "projection/verify/not_given",
    "projection/verify/places",
    "projection/verify/repair",
    "projection/verify/scope",
    "projection/verify/span",
    "projection/verify/start",
    "projection/wait",
    "protection/drop_trigger",
    "protection/event_ids",
    "protection/event_ids_collect",
    "protection/event_ids_table",
    "protection/function_owner",
    "protection/guard",
    "protection/immutable",
    "protection/trigger",
    "settled/prefix",
    "store/append",
    "store/columns",
    "store/head",
    "store/read_all",
    "store/read_stream",
    "store/read_window",
    "table/analyze",
    "table/clear_comment",
    "table/comment",
    "table/create_index",
    "table/deviating_heads",
    "table/lock_parent",
    "table/partition_by",
    "table/schema",
    "table/schema_once",
    "transfer/batch",
    "transfer/chunks",
    "transfer/copy",
    "transfer/density",
    "transfer/drop",
    "transfer/drop_check",
    "transfer/drop_refuse",
    "transfer/freeze",
    "transfer/index",
    "transfer/late",
    "transfer/lock_writers",
    "transfer/months",
    "transfer/next",
    "transfer/proof",
    "transfer/reached",
    "transfer/refuse",
    "transfer/thaw",
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(|out, _state, value| {
        if value.is_safe() || value.is_integer() {
            // Both are what a quoting filter, or a number, wrote.
            return out.write_str(&value.to_string()).map_err(Error::from);
        }
        Err(refuse(format!("the value {value:?} is not quoted")))
    });
    add_filters(&mut environment);
    environment.add_filter("type", |text: String| -> Result<Value, Error> {
        let checked = quote::data_type(&text).map(|text| safe(text.to_owned()));
        checked.ok_or_else(|| refuse(format!("{text:?} is not a type")))
    });
    environment.add_filter("dollar", |body: String| safe(quote::dollar(&body)));
    environment.add_filter("keyword", |word: String| -> Result<Value, Error> {
        if !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c == ' ') {
            return Ok(safe(word));
        }
        Err(refuse(format!("{word:?} is not a keyword")))
    });
    // A run uses a few of them: each is parsed when it is first asked for.
    environment.set_loader(|name| {
        let found = TEMPLATES.iter().find(|(known, _)| *known == name);
        Ok(found.map(|(_, source)| (*source).to_owned()))
    });
    environment
}

/// Marks SQL that [`quote`] has made.
pub(super) fn quoted(sql: String) -> Value {
    safe(sql)
}

/// Renders a template of this crate.
///
/// # Panics
///
/// When the template uses a value that it was not given or that is not quoted: a bug of this
/// crate that its tests find, never a matter of input.
pub(crate) fn render(name: &str, values: &Value) -> String {
    let rendered = ENVIRONMENT.get_template(name).and_then(|template| template.render(values));
    match rendered {
        Ok(sql) => sql,
        Err(error) => unreachable!("{name}: {error:#}"),
    }
}

#[cfg(test)]
mod tests;
