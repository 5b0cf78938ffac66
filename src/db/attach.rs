//! Asks what there is to know of the rows of a table that is to be attached.

use postgres::{Client, Row};

use crate::catalog::detached::Standalone;
use crate::catalog::relation::Relation;
use crate::catalog::{Catalog, missing_keys_at};
use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;
use crate::layout::{Layout, Role};
use crate::plan::attach::{DefaultRows, Doubled, Sequence, Survey};
use crate::plan::lifecycle::BoundsCheck;
use crate::render::bounds_check::is_bounds;
use crate::render::environment::{render, values};
use crate::render::{attach, protection};

/// Reads the table and looks into the store: a read of the whole table, one of the positions that
/// it shares with others, and of the heads. Nobody is locked out.
pub fn survey(
    client: &mut Client,
    layout: &Layout,
    catalog: &Catalog,
    table: &Standalone,
    place: &Place,
) -> Result<Survey> {
    let events = &catalog.events.as_ref().ok_or_else(no_events)?.root;
    let check = BoundsCheck::of(events, place).ok_or_else(no_events)?;
    let surveyor =
        Surveyor { client, layout, catalog, events, table: &table.relation, place, check };
    surveyor.survey()
}

fn no_events() -> Error {
    Error::refused("the table of events has no such place").hint("see: pupctl partitions list")
}

struct Surveyor<'a> {
    client: &'a mut Client,
    layout: &'a Layout,
    catalog: &'a Catalog,
    events: &'a Relation,
    table: &'a Relation,
    place: &'a Place,
    check: BoundsCheck,
}

impl Surveyor<'_> {
    fn survey(mut self) -> Result<Survey> {
        let mut survey = self.rows()?;
        let constraints = self.table.details.constraints.iter().filter(|one| one.kind == "c");
        survey.bounds_checks = constraints
            .filter(|one| is_bounds(&one.definition, &self.check))
            .map(|one| one.name.clone())
            .collect();
        survey.default_rows = self.default_rows()?;
        if let Some((first, last)) = survey.positions {
            survey.doubled = self.doubled(first, last)?;
            survey.past = self.past(first)?;
            survey.sequence = self.sequence(last)?;
            let heads = self.layout.table(&self.catalog.schema_name, Role::Heads);
            let table = &self.table.name;
            let behind = render("attach/heads_behind", &values! { table, heads });
            survey.heads_behind = number(&self.one(&behind)?, "aggregates");
            survey.ids_missing = self.ids_missing()?;
        }
        Ok(survey)
    }

    fn rows(&mut self) -> Result<Survey> {
        let own = &self.table.details.columns;
        let may_be_null = |name: &String| own.iter().any(|own| own.name == *name && !own.not_null);
        let wanted = self.events.details.columns.iter().filter(|column| column.not_null);
        let columns: Vec<String> =
            wanted.map(|column| column.name.clone()).filter(may_be_null).collect();
        let row = self.one(&attach::rows(&self.table.name, &self.check, &columns))?;
        let positions = row.get::<_, Option<i64>>("first").zip(row.get("last"));
        let outside = match number(&row, "outside") {
            0 => None,
            rows => {
                let example = self.one(&attach::outside(&self.table.name, &self.check))?;
                Some((rows, example.get::<_, Option<String>>("example").unwrap_or_default()))
            }
        };
        let count = |(position, name): (usize, String)| {
            let rows = number(&row, &format!("null_{position}"));
            (rows > 0).then_some((name, rows))
        };
        let nulls = columns.into_iter().enumerate().filter_map(count).collect();
        Ok(Survey { rows: number(&row, "rows"), positions, outside, nulls, ..Survey::default() })
    }

    /// What must be unique, in the table itself where no key of it says so, and in the store.
    fn doubled(&mut self, first: i64, last: i64) -> Result<Vec<Doubled>> {
        let mut found = Vec::new();
        for columns in missing_keys_at(self.table, Role::Events, self.place.bounds().last()) {
            let there = self.table.indexes.iter().any(|index| index.is_key_on(&columns));
            if !there {
                let sql = attach::doubled_within(&self.table.name, &columns);
                found.extend(self.examples(&sql, &columns, true)?);
            }
        }
        let mut looks = vec![(&["global_position"][..], Some((first, last)))];
        // Without a month, all of an aggregate is in one leaf.
        if self.place.month().is_some() {
            looks.push((Role::Events.key_columns(), None));
        }
        if self.layout.keeps_event_ids() {
            looks.push((&["event_id"], None));
        }
        for (columns, between) in looks {
            let sql =
                attach::doubled_in_store(&self.table.name, &self.events.name, columns, between);
            found.extend(self.examples(&sql, columns, false)?);
        }
        Ok(found)
    }

    fn examples(&mut self, sql: &str, columns: &[&str], within: bool) -> Result<Option<Doubled>> {
        let rows = self.client.query(sql, &[]).map_err(failed)?;
        let first: Vec<String> =
            rows.iter().filter_map(|row| row.get::<_, Option<String>>("example")).collect();
        let what = match columns {
            ["global_position"] => "positions",
            ["event_id"] => "event ids",
            _ => "versions of aggregates",
        };
        Ok((!rows.is_empty()).then_some(Doubled { what, within, first }))
    }

    /// The projections that have passed a position.
    fn past(&mut self, position: i64) -> Result<Vec<(String, i64)>> {
        past(self.client, self.layout, &self.catalog.schema_name, position)
    }

    fn sequence(&mut self, highest: i64) -> Result<Option<Sequence>> {
        let sql = include_str!("../../sql/catalog/sequence.sql");
        let column = "global_position";
        let row = self.client.query_opt(sql, &[&self.events.oid, &column]).map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let name = QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name"));
        let last = row.get::<_, Option<i64>>("last").unwrap_or(0);
        Ok((last < highest).then_some(Sequence { name, last }))
    }

    fn ids_missing(&mut self) -> Result<bool> {
        if !self.layout.keeps_event_ids() || !self.catalog.event_ids.there {
            return Ok(false);
        }
        let table = &self.table.name;
        let event_ids = protection::event_ids_table(&self.catalog.schema_name);
        let sql = render("attach/ids_missing", &values! { table, event_ids });
        Ok(self.one(&sql)?.get("missing"))
    }

    fn default_rows(&mut self) -> Result<DefaultRows> {
        let Some((above, _)) = self.place.split() else { return Ok(DefaultRows::default()) };
        let mut parent = self.events;
        for bound in above.bounds() {
            let found = parent.partitions.iter().find(|p| p.bound.as_ref() == Some(bound));
            parent = found.ok_or_else(no_events)?;
        }
        let Some(default) = parent.default_partition() else { return Ok(DefaultRows::default()) };
        let row = self.one(&attach::default_rows(&default.name, &self.check))?;
        Ok(DefaultRows { any: row.get("any"), within: number(&row, "within") })
    }

    fn one(&mut self, sql: &str) -> Result<Row> {
        self.client.query_one(sql, &[]).map_err(failed)
    }
}

/// The projections that have passed a position, with how far they are.
pub fn past(
    client: &mut Client,
    layout: &Layout,
    schema: &str,
    position: i64,
) -> Result<Vec<(String, i64)>> {
    let checkpoints = layout.checkpoints(schema);
    let sql = render("attach/past", &values! { checkpoints });
    let rows = client.query(&sql, &[&position]).map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get("name"), row.get("position"))).collect())
}

fn number(row: &Row, column: &str) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or(0)
}

fn failed(error: postgres::Error) -> Error {
    Error::database("looking at the table that is to be attached", error)
}

/// Whether a table has no rows.
pub fn is_empty(client: &mut Client, table: &QualifiedName) -> Result<bool> {
    let sql = render("partition/has_rows", &values! { table });
    Ok(!client.query_one(&sql, &[]).map_err(failed)?.get::<_, bool>(0))
}
