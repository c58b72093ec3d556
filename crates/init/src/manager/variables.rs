//! `$NAME` and `${NAME}` in command lines (systemd.service(5), "COMMAND LINES"), and files of variables. Pure.

/// The environment as pairs, later ones replacing earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

/// Most variables of one environment.
const VARIABLES_MAX: usize = 4096;

impl Environment {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Sets a variable; one with a name that is none is left out.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        if !is_name(name) {
            return;
        }
        let value: String = value.into();
        if value.contains('\0') {
            return;
        }
        if let Some((_, old)) = self.0.iter_mut().find(|(known, _)| known == name) {
            *old = value;
        } else if self.0.len() < VARIABLES_MAX {
            self.0.push((name.to_owned(), value));
        }
    }

    /// Takes `NAME=value`; false when it is none.
    pub fn assign(&mut self, text: &str) -> bool {
        match text.split_once('=') {
            Some((name, value)) if is_name(name) => {
                self.set(name, value);
                true
            }
            _ => false,
        }
    }

    /// Removes a name, or with `NAME=value` that pair only.
    pub fn unset(&mut self, text: &str) {
        match text.split_once('=') {
            Some((name, value)) => self.0.retain(|(n, v)| !(n == name && v == value)),
            None => self.0.retain(|(n, _)| n != text),
        }
    }

    /// Every pair.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Whether a variable may be called so.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Replaces variables in the words of a command. A word that is `$NAME` alone becomes as many words as its value has; names that
/// are not set become nothing and are returned to be told of.
pub fn expand(argv: &[String], environment: &Environment) -> (Vec<String>, Vec<String>) {
    let mut out = Vec::with_capacity(argv.len());
    let mut missing = Vec::new();
    for word in argv {
        if let Some(name) = word.strip_prefix('$').filter(|name| is_name(name)) {
            match environment.get(name) {
                // quotes in the value hold words together
                Some(value) => match hostel_unit::words(value, hostel_unit::WordRules::STRINGS) {
                    Ok(words) => out.extend(words),
                    Err(_) => out.extend(value.split_ascii_whitespace().map(str::to_owned)),
                },
                None => missing.push(name.to_owned()),
            }
            continue;
        }
        out.push(inside(word, environment, &mut missing));
    }
    (out, missing)
}

/// `${NAME}` and `$$`. A `$NAME` within a word is nobody's but the program's, such as a shell's.
fn inside(word: &str, environment: &Environment, missing: &mut Vec<String>) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        let (name, next) = if let Some(next) = after.strip_prefix('$') {
            out.push('$');
            rest = next;
            continue;
        } else if let Some((name, next)) = after.strip_prefix('{').and_then(|braced| braced.split_once('}')).filter(|(name, _)| is_name(name)) {
            (name, next)
        } else {
            out.push('$');
            rest = after;
            continue;
        };
        match environment.get(name) {
            Some(value) => out.push_str(value),
            None => missing.push(name.to_owned()),
        }
        rest = next;
    }
    out.push_str(rest);
    out
}

/// Reads a file of variables (EnvironmentFile=): `NAME=value` lines, quotes as a shell has them, `#` and `;` begin comments, a
/// backslash at the end joins lines. What is none is left out.
pub fn read_file(text: &str) -> Environment {
    let mut environment = Environment::default();
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        let mut line = String::new();
        let mut first = true;
        // one logical line: quotes may hold newlines, a backslash joins
        let mut quote = None;
        let mut comment = false;
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\n', None) => break,
                ('\\', q) if q != Some('\'') && !comment => match chars.next() {
                    Some('\n') => {}
                    Some(next) => {
                        // in double quotes only these lose their backslash
                        if q == Some('"') && !"\"\\`$".contains(next) {
                            line.push('\\');
                        }
                        line.push(next);
                    }
                    None => break,
                },
                ('#' | ';', None) if first => comment = true,
                ('"' | '\'', None) if !comment && line.contains('=') => quote = Some(c),
                (c, Some(q)) if c == q => quote = None,
                _ if comment => {}
                (c, _) => line.push(c),
            }
            first = first && c.is_whitespace();
        }
        if let Some((name, value)) = line.split_once('=') {
            let name = name.trim();
            environment.set(name.strip_prefix("export ").map_or(name, str::trim), value.trim());
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let mut out = Environment::default();
        pairs.iter().for_each(|(name, value)| out.set(name, *value));
        out
    }

    #[test]
    fn words() {
        let known = environment(&[("ONE", "one"), ("TWO", "two two"), ("Q", "a 'b c'"), ("E", "")]);
        #[rustfmt::skip]
        let table: &[(&[&str], &[&str])] = &[
            (&["x", "$ONE", "$TWO", "${TWO}"], &["x", "one", "two", "two", "two two"]),
            (&["$Q"], &["a", "b c"]),
            (&["$E", "${E}", "$GONE", "a${GONE}b"], &["", "ab"]),
            (&["$$ONE", "a$ONE-b", "$", "$-", "${", "${ONE"], &["$ONE", "a$ONE-b", "$", "$-", "${", "${ONE"]),
        ];
        for (given, expected) in table {
            let given: Vec<String> = given.iter().map(|w| (*w).to_owned()).collect();
            assert_eq!(expand(&given, &known).0, *expected, "{given:?}");
        }
        assert_eq!(expand(&["$GONE".into(), "${ALSO}".into()], &known).1, ["GONE", "ALSO"]);
    }

    #[test]
    fn files() {
        let text = "# c\nA=1\n  B = 'two  words' \nC=\"a\\\"b\\n\" # no comment\nbad\n1X=2\nD=a\\\nb\n; c=2\nexport E=5\nF='x\ny'\n";
        let found = read_file(text);
        let pairs: Vec<_> = found.iter().collect();
        assert_eq!(pairs, [("A", "1"), ("B", "two  words"), ("C", "a\"b\\n # no comment"), ("D", "ab"), ("E", "5"), ("F", "x\ny")]);
    }

    #[test]
    fn changes() {
        let mut known = environment(&[("A", "1"), ("B", "2"), ("A", "3"), ("1", "x"), ("", "x")]);
        assert_eq!(known.iter().collect::<Vec<_>>(), [("A", "3"), ("B", "2")]);
        known.unset("A=1");
        known.unset("B=2");
        assert_eq!(known.iter().collect::<Vec<_>>(), [("A", "3")]);
        assert!(!known.assign("x") && known.assign("Y=z=w"));
        assert_eq!(known.get("Y"), Some("z=w"));
    }
}
