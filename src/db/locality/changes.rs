//! What no plan shows: which columns a statement's text sets, and what it writes into `region`.
//! Reads only the SQL of our own statements (keywords in capitals). Anything it does not understand
//! comes out as a value that is no region parameter, so it is reported.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Insert,
    Update,
    Delete,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Change<'a> {
    pub verb: Verb,
    pub table: &'a str,
    pub columns: Vec<&'a str>,
    /// The values of the first inserted column (one for each part of a UNION), or of `region` where
    /// that is set.
    pub values: Vec<&'a str>,
}

impl Change<'_> {
    /// Whether it writes `column`. An INSERT writes all; `(a, b) = ...`, which may set anything, is
    /// not used.
    pub fn sets(&self, column: &str) -> bool {
        self.verb == Verb::Insert || self.columns.iter().any(|set| *set == column || *set == "(")
    }
}

pub fn changes(text: &str) -> Vec<Change<'_>> {
    let words = words(text);
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let mut found: Vec<Change> = Vec::new();
    for at in 0..words.len() {
        match (word(at), word(at + 1)) {
            ("DELETE", "FROM") => {
                found.push(Change { verb: Verb::Delete, table: word(at + 2), columns: Vec::new(), values: Vec::new() });
            }
            ("INSERT", "INTO") => {
                let columns = words.iter().skip(at + 4).take_while(|w| **w != ")").filter(|w| **w != ",");
                let columns: Vec<&str> = columns.copied().collect();
                let values = inserted(words.get(at + 4 + 2 * columns.len()..).unwrap_or_default());
                found.push(Change { verb: Verb::Insert, table: word(at + 2), columns, values });
            }
            ("UPDATE", "SET") => {
                // ON CONFLICT ... DO UPDATE SET: the table of the INSERT before it.
                let table = found.iter().rev().find(|c| c.verb == Verb::Insert).map_or("", |c| c.table);
                found.push(updated(table, words.get(at + 2..).unwrap_or_default()));
            }
            ("UPDATE", table) if word(at + 2) == "SET" => {
                found.push(updated(table, words.get(at + 3..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    found
}

/// The first value of each row or SELECT after the column list of an INSERT.
fn inserted<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let (mut depth, mut rows, mut values) = (0, false, Vec::new());
    for (at, word) in words.iter().enumerate() {
        match *word {
            "ON" | "RETURNING" | ")" if depth == 0 => break,
            "VALUES" if depth == 0 => rows = true,
            "SELECT" if depth == 0 => values.push(alone(words, at + 1)),
            "(" => {
                if depth == 0 && rows {
                    values.push(alone(words, at + 1));
                }
                depth += 1;
            }
            ")" => depth -= 1,
            _ => {}
        }
    }
    values
}

fn updated<'a>(table: &'a str, words: &[&'a str]) -> Change<'a> {
    let mut change = Change { verb: Verb::Update, table, columns: Vec::new(), values: Vec::new() };
    let (mut depth, mut begins) = (0, true);
    for (at, word) in words.iter().enumerate() {
        match *word {
            "FROM" | "WHERE" | "RETURNING" | ")" if depth == 0 => break,
            "," if depth == 0 => {
                begins = true;
                continue;
            }
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if std::mem::take(&mut begins) {
            change.columns.push(word);
            if matches!(*word, "region" | "(") {
                change.values.push(alone(words, at + 2));
            }
        }
    }
    change
}

/// The word at `at` if it is a whole expression, otherwise nothing.
fn alone<'a>(words: &[&'a str], at: usize) -> &'a str {
    match (words.get(at), words.get(at + 1)) {
        (Some(word), Some(&("," | ")" | "FROM" | "WHERE" | "RETURNING"))) => word,
        _ => "",
    }
}

/// Whether `word` is a parameter cast to a region, the only way to name one.
pub fn is_region(word: &str) -> bool {
    let number = word.strip_prefix('$').and_then(|rest| rest.strip_suffix("::TEXT::crdb_internal_region"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Whether regions come from parameters alone, so that `($1)::crdb_internal_region` in a plan is
/// one and not the result of a part of the statement.
pub fn only_parameters(text: &str) -> bool {
    words(text).iter().filter(|word| word.ends_with("crdb_internal_region")).all(|word| is_region(word))
}

/// The table and column that parameter `number` is compared with, where that is plain.
pub fn compared(text: &str, number: usize) -> Option<(&str, &str)> {
    let words = words(text);
    let at = words.windows(2).position(|two| matches!(two, ["=" | ">", word] if is_parameter(word, number)))?;
    let column = words.get(at.checked_sub(1)?)?.rsplit('.').next()?;
    let before = words.get(..at)?;
    let table = before.iter().rposition(|word| matches!(*word, "FROM" | "UPDATE" | "JOIN"))?;
    Some((before.get(table + 1)?, column))
}

/// Whether parameter `number` is an upper bound: `< $1`, `<= $1`, `< ($1, `.
pub fn is_upper(text: &str, number: usize) -> bool {
    words(text).windows(3).any(|three| match three {
        ["<", "=" | "(", word] | [_, "<", word] => is_parameter(word, number),
        _ => false,
    })
}

fn is_parameter(word: &str, number: usize) -> bool {
    word.strip_prefix(&format!("${number}")).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let part_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | ':' | '[' | ']');
        let end = match first {
            '\'' => rest.get(1..).and_then(|tail| tail.find('\'')).map_or(rest.len(), |end| end + 2),
            c if part_of_word(c) => rest.find(|c| !part_of_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (word, tail) = rest.split_at(end);
        words.push(word);
        rest = tail.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_and_what_is_not_understood_is_no_region() {
        let text = "WITH a AS (INSERT INTO rides (region, id) SELECT $1::TEXT::crdb_internal_region, f(x, y) FROM g
              UNION ALL SELECT g.region, id FROM g ON CONFLICT (region, id) DO UPDATE SET id = excluded.id RETURNING 1),
            b AS (UPDATE users SET version = f(1, 2), region = $2::TEXT::crdb_internal_region FROM a WHERE x = 1),
            c AS (UPDATE users SET region = 'a' || $2::TEXT::crdb_internal_region, city = ')')
            DELETE FROM sessions WHERE true";
        let (one, two) = ("$1::TEXT::crdb_internal_region", "$2::TEXT::crdb_internal_region");
        let change = |verb, table, columns: &[&'static str], values: &[&'static str]| Change {
            verb,
            table,
            columns: columns.to_vec(),
            values: values.to_vec(),
        };
        assert_eq!(
            changes(text),
            [
                change(Verb::Insert, "rides", &["region", "id"], &[one, "g.region"]),
                change(Verb::Update, "rides", &["id"], &[]),
                change(Verb::Update, "users", &["version", "region"], &[two]),
                change(Verb::Update, "users", &["region", "city"], &[""]),
                change(Verb::Delete, "sessions", &[], &[]),
            ]
        );
        let rows = "INSERT INTO t (region, id) VALUES ($1::TEXT::crdb_internal_region, 1), (x.region, (2))";
        assert_eq!(changes(rows)[0].values, [one, "x.region"]);
    }

    #[test]
    fn regions_are_parameters_or_they_are_noticed() {
        assert!(is_region("$12::TEXT::crdb_internal_region"));
        for other in ["g.region", "$1", "$::TEXT::crdb_internal_region", "$1::crdb_internal_region", ""] {
            assert!(!is_region(other), "{other}");
        }
        assert!(only_parameters("SELECT 1 WHERE region = $1::TEXT::crdb_internal_region"));
        assert!(!only_parameters("SELECT 1 WHERE region = (SELECT x FROM t)::crdb_internal_region"));
        assert!(!only_parameters("SELECT 1 WHERE region = CAST(x AS crdb_internal_region)"));
    }

    #[test]
    fn a_parameter_is_found_with_its_column() {
        let text = "SELECT 1 FROM users WHERE region = $1::TEXT::crdb_internal_region AND users.id = $10 AND x > $1";
        assert_eq!(compared(text, 10), Some(("users", "id")));
        assert_eq!(compared(text, 2), None);
        let text = "SELECT 1 WHERE a < $1 AND b <= $2::INT8 AND (c, d) < ($3, $4) AND e > $5 AND f < $60";
        assert_eq!([1, 2, 3, 4, 5, 6].map(|number| is_upper(text, number)), [true, true, true, false, false, false]);
    }
}
