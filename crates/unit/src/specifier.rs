//! `%` specifiers: `%i` in a value becomes what the table of the file's kind says (systemd.unit(5), "SPECIFIERS").

use std::borrow::Cow;

use crate::SyntaxError;
use crate::file::LINE_MAX;

/// What a letter stands for: `Ok(None)` = not in this table, `Err` = known, but not to be had here, and why.
pub type Meaning = Result<Option<String>, &'static str>;

/// Replaces every specifier of `text`; `%%` is a percent sign. What the table does not know stays as it is, so that `50%` and
/// `%d` in a value meant for somebody else do.
pub fn expand<'t>(text: &'t str, table: impl Fn(char) -> Meaning) -> Result<Cow<'t, str>, SyntaxError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let refuse = |why| SyntaxError::new("specifiers", text, why);
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let mut after = rest[at + 1..].chars();
        match after.next() {
            None => out.push('%'),
            Some('%') => out.push('%'),
            Some(letter) => match table(letter).map_err(refuse)? {
                Some(meaning) => out.push_str(&meaning),
                None => out.extend(['%', letter]),
            },
        }
        rest = after.as_str();
        if out.len() > LINE_MAX {
            return Err(refuse("it becomes longer than 1 MiB"));
        }
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}
