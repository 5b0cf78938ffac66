//! The words of a command, as a shell would divide them.

/// Divides a line at spaces outside of quotes. There are no variables and no patterns. The error
/// is a part of a sentence.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character.is_control() {
            return Err("it has a control character".to_owned());
        }
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let Some(next) = characters.next() else {
                    return Err("nothing follows its last backslash".to_owned());
                };
                word.get_or_insert_default().push(next);
            }
            (None, ' ') => words.extend(word.take()),
            (None, '|' | '&' | ';' | '<' | '>' | '$' | '`' | '*' | '(' | ')' | '#') => {
                return Err(format!("`{character}` is for a shell, and there is none"));
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_divided_as_a_shell_does() {
        let words = split(r#"archive  "O'Neill \"& co\"" 'a $b' --to=x\ y ''"#);
        assert_eq!(
            words,
            Ok(["archive", "O'Neill \"& co\"", "a $b", "--to=x y", ""].map(str::to_owned).to_vec())
        );
        for wrong in ["check | mail", "check 'x", "check\n", "a $(b)", "x\\", "check > log"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
