//! Indexes, as far as pupctl compares them.

/// An index of a table or partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
// As `pg_index` has them.
#[expect(clippy::struct_excessive_bools)]
pub struct Index {
    /// Its OID.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// `btree`, `brin`, …
    pub method: String,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether the server uses it: built to the end, and complete on a partitioned table.
    pub valid: bool,
    /// The columns of its key; an expression stands as the empty string.
    pub columns: Vec<String>,
    /// Whether it covers only some rows.
    pub partial: bool,
    /// Its storage parameters, `name=value`, sorted.
    pub options: Vec<String>,
    /// The index of the parent that this one is attached to.
    pub parent: Option<u32>,
    /// All that it is, from `USING` on, as SQL has it; read where definitions were asked
    /// for, else empty.
    pub definition: String,
    /// The constraint that it belongs to; read together with the definition.
    pub constraint: Option<String>,
    /// Whether updates and deletes are published by it; read together with the definition.
    pub replica_identity: bool,
}

impl Index {
    /// Whether it makes exactly these columns unique, in any order, for all rows.
    #[must_use]
    pub fn is_key_on(&self, columns: &[&str]) -> bool {
        self.unique
            && self.valid
            && !self.partial
            && self.columns.len() == columns.len()
            && columns.iter().all(|column| self.columns.iter().any(|own| own == column))
    }

    /// Whether the server uses it, it is of this method and covers exactly these columns.
    #[must_use]
    pub fn is_on(&self, method: &str, columns: &[&str]) -> bool {
        self.valid && self.method == method && !self.partial && self.columns == columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_or_invalid_index_is_no_key() {
        let key = Index {
            unique: true,
            valid: true,
            columns: vec!["b".to_owned(), "a".to_owned()],
            ..Index::default()
        };
        assert!(key.is_key_on(&["a", "b"]));
        assert!(!key.is_key_on(&["a"]));
        assert!(!Index { partial: true, ..key.clone() }.is_key_on(&["a", "b"]));
        assert!(!Index { valid: false, ..key }.is_key_on(&["a", "b"]));
    }
}
