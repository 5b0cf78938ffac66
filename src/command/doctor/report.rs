//! The page that `pupctl doctor` prints.

use std::fmt::Write as _;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::health::Health;
use crate::cli::output::{bold, count, green, printable};
use crate::command::findings;
use crate::error::Error;
use crate::finding::area::{AREAS, Area};
use crate::finding::{Finding, Severity, connection};
use crate::layout::Layout;

/// The page on which every check is explained.
const PAGE: &str = "docs/reference/findings.md";

/// All that was found, and what is well.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The server's version; none where nothing could be looked at.
    server: Option<String>,
    database: Option<String>,
    schema: Option<String>,
    /// The layout, as `--partition-by` takes it.
    layout: Option<String>,
    /// How many leaves events have.
    leaves: usize,
    /// How many findings are more than notices.
    pub(super) problems: usize,
    findings: Vec<Told>,
    areas: Vec<Looked>,
    /// Whether the role lacked a right to look at something.
    #[serde(skip)]
    forbidden: bool,
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    finding: Finding,
    /// Where it is explained.
    page: String,
}

/// Whether an area is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Well,
    Found,
    NotSeen,
}

#[derive(Debug, Serialize)]
struct Looked {
    area: &'static str,
    state: State,
    #[serde(skip)]
    well: &'static str,
}

impl Report {
    pub(super) fn of(catalog: &Catalog, health: &Health, findings: Vec<Finding>) -> Self {
        let state = |area: &Area| {
            let is_of = |finding: &&Finding| area.checks.contains(&finding.check);
            let is_unseen = health.unseen.iter().any(|unseen| unseen.area == area.name)
                || (area.needs_layout && catalog.layout.is_none())
                || (area.needs_events && catalog.events.is_none());
            if findings.iter().any(|finding| is_of(&finding)) {
                State::Found
            } else if is_unseen {
                State::NotSeen
            } else {
                State::Well
            }
        };
        let areas: Vec<_> = AREAS.iter().map(|area| looked(area, state(area))).collect();
        Self {
            server: Some(catalog.server.version.clone()),
            database: Some(catalog.server.database.clone()),
            schema: Some(catalog.schema_name.clone()),
            layout: catalog.layout.as_ref().map(Layout::partition_by),
            leaves: catalog.events.as_ref().map_or(0, |table| table.root.leaves().count()),
            areas,
            forbidden: health.unseen.iter().any(|unseen| unseen.forbidden),
            ..Self::with(findings)
        }
    }

    /// Of a server with which pupctl does not work.
    pub(super) fn refused(error: &Error) -> Self {
        let state = |area: &Area| match area.name {
            "connection" => State::Found,
            _ => State::NotSeen,
        };
        let areas = AREAS.iter().map(|area| looked(area, state(area))).collect();
        Self { areas, ..Self::with(vec![connection::refused(error)]) }
    }

    fn with(findings: Vec<Finding>) -> Self {
        let problems = findings.iter().filter(|finding| finding.is_problem()).count();
        let told = |finding: Finding| Told { page: format!("{PAGE}#{}", finding.check), finding };
        Self {
            server: None,
            database: None,
            schema: None,
            layout: None,
            leaves: 0,
            problems,
            findings: findings.into_iter().map(told).collect(),
            areas: Vec::new(),
            forbidden: false,
        }
    }

    /// The page. With `each`, a line for every area.
    pub(super) fn text(&self, each: bool) -> String {
        let mut text = self.head();
        for (severity, title) in [
            (Severity::Error, "Errors"),
            (Severity::Warning, "Warnings"),
            (Severity::Notice, "Notices"),
        ] {
            let own = self.findings.iter().filter(|told| told.finding.severity == severity);
            let own: Vec<_> = own.map(|told| told.finding.clone()).collect();
            if !own.is_empty() {
                let title = bold(&format!("{title}: {}", own.len()));
                let _ = write!(text, "\n{title}\n{}", findings::text(&own, false));
            }
        }
        text.push('\n');
        if each {
            for area in &self.areas {
                let line = match area.state {
                    State::Well => format!("{}  {}: {}", green("well"), area.area, area.well),
                    State::Found => format!("found {}: see above", area.area),
                    State::NotSeen => format!("?     {}: not looked at", area.area),
                };
                let _ = writeln!(text, "{line}");
            }
        } else {
            let names = |state| {
                let areas = self.areas.iter().filter(move |area| area.state == state);
                areas.map(|area| area.area).collect::<Vec<_>>().join(", ")
            };
            let (well, unseen) = (names(State::Well), names(State::NotSeen));
            if !well.is_empty() {
                let _ = writeln!(text, "{} {well}", green("well:"));
            }
            if !unseen.is_empty() {
                let _ = writeln!(text, "not looked at: {unseen}");
            }
        }
        if let Some(first) = self.findings.first() {
            let _ = writeln!(text, "Each is explained: {}", first.page);
        }
        text
    }

    fn head(&self) -> String {
        let (Some(server), Some(database), Some(schema)) =
            (&self.server, &self.database, &self.schema)
        else {
            return String::new();
        };
        let layout = match &self.layout {
            Some(layout) => {
                let leaves = count(self.leaves, "leaf").replace("leafs", "leaves");
                format!("layout {layout}, {leaves} of events")
            }
            None => "no layout".to_owned(),
        };
        let line = format!("{database}, schema {schema}, PostgreSQL {server}, {layout}");
        format!("{}\n", printable(&line))
    }

    /// One line for people at the end.
    pub(super) fn last(&self) -> String {
        if self.problems > 0 {
            return format!("{} found", count(self.problems, "problem"));
        }
        if self.forbidden {
            return "No problem found where the role may look".to_owned();
        }
        format!("{} no problem found", green("Well:"))
    }
}

fn looked(area: &Area, state: State) -> Looked {
    Looked { area: area.name, state, well: area.well }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::health::Unseen;

    #[test]
    fn what_the_role_may_not_look_at_is_not_well() {
        let catalog = Catalog::blank("public");
        let last = |health: &Health| Report::of(&catalog, health, Vec::new()).last();
        assert_eq!(last(&Health::default()), format!("{} no problem found", green("Well:")));
        let slots = Unseen {
            area: "replication",
            what: "replication slots",
            why: "because".to_owned(),
            hint: None,
            forbidden: true,
        };
        let health = Health { unseen: vec![slots], ..Health::default() };
        assert_eq!(last(&health), "No problem found where the role may look");
    }
}
