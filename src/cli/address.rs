//! The options by which a command has found its store, for the commands that its messages name.

use crate::render::quote::shell_word;

use super::global::GlobalArgs;

/// What commands begin with: after `pupctl` in a message, one of them begins what can be typed.
pub const NOUNS: [&str; 18] = [
    "advise",
    "archive",
    "completions",
    "contexts",
    "convert",
    "demo",
    "doctor",
    "embedded",
    "events",
    "man",
    "metrics",
    "operations",
    "partitions",
    "projections",
    "report",
    "restore",
    "schedule",
    "schema",
];

const PROGRAM: &str = "pupctl ";

const EMBEDDED: &str = "--embedded";

/// The options that were given: their names, and as a shell takes them.
#[derive(Debug, Clone, Default)]
pub struct Address(Vec<(&'static str, String)>);

impl Address {
    /// Those that were given. What may hold a password is in the environment of whoever goes on.
    #[must_use]
    pub fn of(global: &GlobalArgs) -> Self {
        let config = global.config.as_ref().map(|path| path.display().to_string());
        let given = [
            ("--config", config.as_deref()),
            ("--role", global.role.as_deref()),
            ("--schema", global.schema.as_deref()),
        ];
        let option = |(option, value): (&'static str, Option<&str>)| {
            let value = value?;
            // Another option is no value.
            let joint = if value.starts_with('-') { '=' } else { ' ' };
            Some((option, format!("{option}{joint}{}", shell_word(value))))
        };
        let embedded = global.embedded.then(|| (EMBEDDED, EMBEDDED.to_owned()));
        Self(given.into_iter().filter_map(option).chain(embedded).collect())
    }

    /// A message whose commands have the options that they do not have themselves.
    #[must_use]
    pub fn add_to(&self, text: &str) -> String {
        let mut parts = text.split(PROGRAM);
        let mut told = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            told.push_str(PROGRAM);
            let word = part.split(|c: char| !c.is_ascii_lowercase()).next();
            // Not "run pupctl as the owner".
            if word.is_some_and(|word| NOUNS.contains(&word)) {
                // Commands of the embedded server reach no other.
                let is_own = |name| name == EMBEDDED && word == Some("embedded");
                let lacks = |(name, _): &&(_, _)| !part.contains(name) && !is_own(*name);
                for (_, option) in self.0.iter().filter(lacks) {
                    told.extend([option, " "]);
                }
            }
            told.push_str(part);
        }
        told
    }

    /// Whether nothing is to be added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_messages_find_the_same_store() {
        let text = "run pupctl as the owner; pupctl schema plan, then `pupctl convert`";
        assert_eq!(Address::of(&GlobalArgs::default()).add_to(text), text);
        let given = GlobalArgs {
            config: Some("my shop.toml".into()),
            role: Some("-owner".to_owned()),
            schema: Some("it's".to_owned()),
            ..GlobalArgs::default()
        };
        let address = Address::of(&given);
        assert_eq!(
            address.add_to("make it: pupctl schema init"),
            r"make it: pupctl --config 'my shop.toml' --role=-owner --schema 'it'\''s' schema init"
        );
        let schema = GlobalArgs { schema: Some("shop".to_owned()), ..GlobalArgs::default() };
        let address = Address::of(&schema);
        let told = "run pupctl as the owner; pupctl --schema shop schema plan, then \
            `pupctl --schema shop convert`";
        assert_eq!(address.add_to(text), told);
        let own = "pupctl schema init --schema shop_new";
        assert_eq!(address.add_to(own), own);
        // Once is enough.
        assert_eq!(address.add_to(told), told);
        let address = Address::of(&GlobalArgs { embedded: true, ..GlobalArgs::default() });
        assert_eq!(
            address.add_to("pupctl embedded start, then pupctl schema init"),
            "pupctl embedded start, then pupctl --embedded schema init"
        );
    }
}
