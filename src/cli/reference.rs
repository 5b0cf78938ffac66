//! The reference pages that are made from the program itself; a test compares them with `docs/`.

use std::fmt::Write as _;

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use super::config::{
    ArchiveConfig, Config, ContextConfig, LayoutConfig, LocksConfig, MigrationsConfig, TablesConfig,
};
use super::schedule::{JobConfig, ScheduleConfig};

/// `docs/reference/cli.md`: the help of every command.
#[must_use]
pub fn cli(mut program: clap::Command) -> String {
    let mut text = "# Commands\n\nMade from the program: `scripts/generate-docs`.\n".to_owned();
    program.build();
    let program = program.term_width(96);
    describe(&program, "pupctl", &mut text);
    text
}

fn describe(command: &clap::Command, path: &str, text: &mut String) {
    let mut command = command.clone().term_width(96).bin_name(path);
    let help = command.render_long_help().to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## {path}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    for sub in command.get_subcommands() {
        if sub.get_name() != "help" && !sub.is_hide_set() {
            describe(sub, &format!("{path} {}", sub.get_name()), text);
        }
    }
}

/// `docs/reference/config.md`: the keys of `pupctl.toml`.
#[must_use]
pub fn config() -> String {
    let mut text = "# pupctl.toml\n\nMade from the program: `scripts/generate-docs`.\n".to_owned();
    text.push_str("\nAn example with every key is `pupctl.example.toml`.\n");
    section::<Config>("Top level", &mut text);
    section::<TablesConfig>("[tables]", &mut text);
    section::<LayoutConfig>("[layout]", &mut text);
    section::<ContextConfig>("[[contexts]]", &mut text);
    section::<MigrationsConfig>("[migrations]", &mut text);
    section::<LocksConfig>("[locks]", &mut text);
    section::<ArchiveConfig>("[archive]", &mut text);
    section::<ScheduleConfig>("[schedule]", &mut text);
    section::<JobConfig>("[[schedule.jobs]]", &mut text);
    text
}

fn section<T: JsonSchema>(title: &str, text: &mut String) {
    let schema = schema_for!(T);
    let schema = schema.as_value();
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let _ = write!(text, "\n## {title}\n\n{}\n\n", one_line(description));
    text.push_str("| key | type | meaning |\n|---|---|---|\n");
    let Some(Value::Object(properties)) = schema.get("properties") else { return };
    for (key, property) in properties {
        // Tables have sections of their own.
        if let Some(kind) = kind(property) {
            let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
            let _ = writeln!(text, "| `{key}` | {kind} | {} |", one_line(meaning));
        }
    }
}

fn kind(property: &Value) -> Option<&'static str> {
    let named = match property.get("type")? {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names.first()?.as_str()?,
        _ => return None,
    };
    match named {
        "string" => Some("string"),
        "integer" => Some("integer"),
        "boolean" => Some("true or false"),
        "array" if property.get("items")?.get("$ref").is_none() => Some("list of strings"),
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
