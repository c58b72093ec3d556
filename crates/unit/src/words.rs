//! Splitting a text into words as systemd does (systemd.syntax(7), "QUOTING").

use crate::SyntaxError;
use crate::quote::escape_at;

/// What a backslash in a word does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escapes {
    /// It introduces a C escape (`\n`, `\x41`, `\u00e4`).
    C,
    /// It takes the next character literally.
    Literal,
    /// Nothing: it is a character like others.
    None,
}

/// How words are told apart.
#[derive(Debug, Clone, Copy)]
pub struct WordRules<'a> {
    /// Characters between words.
    pub separators: &'a str,
    /// Single and double quotes group.
    pub unquote: bool,
    /// What a backslash does.
    pub escapes: Escapes,
    /// Each separator ends a word, so that empty words exist (`a::b`); otherwise runs of separators count once.
    pub keep_empty: bool,
}

impl WordRules<'static> {
    /// A command line or list in a unit file: white space, quotes, C escapes.
    pub const UNIT: Self = Self { separators: " \t\n\r", unquote: true, escapes: Escapes::C, keep_empty: false };
    /// A list of strings in a configuration file (`Environment=` of a .nspawn file): white space, quotes, no escapes.
    pub const STRINGS: Self = Self { separators: " \t\n\r", unquote: true, escapes: Escapes::None, keep_empty: false };
    /// Parts of a path list as in `--bind=SRC:DST`: `\:` is a literal colon, empty parts count.
    pub const PATHS: Self = Self { separators: ":", unquote: false, escapes: Escapes::Literal, keep_empty: true };
    /// A comma-separated list, empty parts are skipped.
    pub const COMMA: Self = Self { separators: ",", unquote: false, escapes: Escapes::Literal, keep_empty: false };
    /// White space separates, nothing else is special but the backslash.
    pub const SPACE: Self = Self { separators: " \t\n\r", unquote: false, escapes: Escapes::Literal, keep_empty: false };
}

/// Takes the first word off `text`; `None` at the end.
///
/// `text` is `Some(rest)` while there is something left; it becomes `None` once the last word was taken, which is how
/// `a:` (two words, the second empty) differs from `a` under [`WordRules::PATHS`].
pub fn first_word(text: &mut Option<&str>, rules: WordRules<'_>) -> Result<Option<String>, SyntaxError> {
    let Some(mut rest) = *text else { return Ok(None) };
    let separator = |c: char| rules.separators.contains(c);
    if !rules.keep_empty {
        rest = rest.trim_start_matches(separator);
        if rest.is_empty() {
            *text = None;
            return Ok(None);
        }
    }
    let refuse = |why| SyntaxError::new("words", rest, why);
    let mut word = String::new();
    let mut quote = None;
    let mut at = 0;
    while let Some(c) = rest[at..].chars().next() {
        let next = at + c.len_utf8();
        match quote {
            Some(q) if c == q => quote = None,
            None if rules.unquote && (c == '"' || c == '\'') => quote = Some(c),
            None if separator(c) => {
                *text = Some(&rest[next..]);
                return Ok(Some(word));
            }
            // single quotes do not switch escapes off: that is systemd's rule, not the shell's
            _ if c == '\\' && rules.escapes != Escapes::None => {
                let used = if rules.escapes == Escapes::C {
                    let (unescaped, used) = escape_at(&rest[next..]).map_err(refuse)?;
                    word.push(unescaped);
                    used
                } else {
                    let literal = rest[next..].chars().next().ok_or_else(|| refuse("it ends in a backslash"))?;
                    word.push(literal);
                    literal.len_utf8()
                };
                at = next + used;
                continue;
            }
            _ => word.push(c),
        }
        at = next;
    }
    if quote.is_some() {
        return Err(refuse("a quote is not closed"));
    }
    *text = None;
    Ok(Some(word))
}

/// All words of `text`.
pub fn words(text: &str, rules: WordRules<'_>) -> Result<Vec<String>, SyntaxError> {
    let mut rest = Some(text);
    let mut all = Vec::new();
    while let Some(word) = first_word(&mut rest, rules)? {
        all.push(word);
    }
    Ok(all)
}
