//! Which columns a query compares, by its text. A guess that is right for what event stores are
//! asked: one table, and conditions behind one WHERE.

use crate::catalog::workload::Queries;

/// Adds the calls of a statement on the table of this name, if it reads it.
pub fn add(queries: &mut Queries, table: &str, text: &str, calls: u64) {
    let words = words(text);
    if words.first().is_none_or(|first| !["select", "with", "declare"].contains(&first.as_str())) {
        return;
    }
    let table = table.to_lowercase();
    let reads = words
        .windows(2)
        .any(|pair| ["from", "join"].contains(&pair[0].as_str()) && pair[1] == table)
        || words.windows(3).any(|three| {
            // With its schema, whose dot separates words.
            ["from", "join"].contains(&three[0].as_str()) && three[2] == table
        });
    if !reads {
        return;
    }
    let conditions = words.iter().skip_while(|word| *word != "where");
    let conditions: Vec<&str> = conditions
        .map(String::as_str)
        .take_while(|word| !["order", "group", "limit"].contains(word))
        .collect();
    let compares = |column: &str| conditions.contains(&column);
    queries.calls += calls;
    if compares("bounded_context") {
        queries.with_context += calls;
    }
    let count = if compares("aggregate_id") {
        &mut queries.by_aggregate
    } else if compares("global_position") {
        &mut queries.by_position
    } else if compares("created_at") {
        &mut queries.by_time
    } else {
        &mut queries.by_other
    };
    *count += calls;
}

/// The words of a text, in lower case, without signs and quotes.
fn words(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Queries {
        let mut queries = Queries::default();
        add(&mut queries, "events", text, 1);
        queries
    }

    #[test]
    fn reads_are_told_apart_by_what_they_compare() {
        let stream = "SELECT * FROM public.events WHERE bounded_context = $1 AND aggregate_id = $2
            AND aggregate_version > $3 ORDER BY global_position";
        let wanted = Queries { calls: 1, by_aggregate: 1, with_context: 1, ..Queries::default() };
        assert_eq!(of(stream), wanted);
        let batch = r#"SELECT * FROM "events" e WHERE e.global_position > $1 LIMIT $2"#;
        assert_eq!(of(batch).by_position, 1);
        let report = "select count(*) from events where created_at >= $1 group by event_type";
        assert_eq!(of(report).by_time, 1);
        assert_eq!(of("SELECT max(global_position) FROM events").by_other, 1);
    }

    #[test]
    fn what_does_not_read_the_table_does_not_count() {
        for text in [
            "INSERT INTO events VALUES ($1)",
            "SELECT * FROM my_events WHERE created_at > $1",
            "SELECT 1",
            "",
            "UPDATE events SET payload = $1",
        ] {
            assert_eq!(of(text), Queries::default(), "{text}");
        }
    }
}
