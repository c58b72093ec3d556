//! Escaping and quoting: C escapes read, and texts shown so that they stay on one line.

use crate::SyntaxError;

/// Longest text shown in an error, in characters: an argument can be megabytes long.
const SHOWN_MAX: usize = 120;

/// Reads one C escape after the backslash: the character and how many bytes of `text` it took.
pub(crate) fn escape_at(text: &str) -> Result<(char, usize), &'static str> {
    let Some(c) = text.chars().next() else { return Err("it ends in a backslash") };
    let simple = match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' | '"' | '\'' => c,
        's' => ' ',
        'x' => return coded(text, 1, 2, 16),
        'u' => return coded(text, 1, 4, 16),
        'U' => return coded(text, 1, 8, 16),
        '0'..='7' => return coded(text, 0, 3, 8),
        _ => return Err("it has an unknown escape after a backslash"),
    };
    Ok((simple, c.len_utf8()))
}

fn coded(text: &str, skip: usize, len: usize, radix: u32) -> Result<(char, usize), &'static str> {
    const BAD: &str = "it has an incomplete numeric escape";
    let digits = text.get(skip..skip + len).ok_or(BAD)?;
    if !digits.bytes().all(|b| (b as char).is_digit(radix)) {
        return Err(BAD);
    }
    let n = u32::from_str_radix(digits, radix).map_err(|_| BAD)?;
    if n == 0 {
        return Err("it has an escaped NUL");
    }
    // bytes above 0x7f given one by one are no characters; text in this crate is UTF-8
    if len < 4 && n > 0x7f {
        return Err("it has an escaped byte that is no ASCII character");
    }
    char::from_u32(n).map(|c| (c, skip + len)).ok_or("it has an escape for a character that does not exist")
}

/// Resolves every C escape of `text`.
pub fn unescape(text: &str) -> Result<String, SyntaxError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (c, used) = escape_at(&rest[at + 1..]).map_err(|why| SyntaxError::new("escaped text", text, why))?;
        out.push(c);
        rest = &rest[at + 1 + used..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Resolves every C escape of `text` into bytes: `\\x00` and `\\xff` are bytes like others.
pub fn unescape_bytes(text: &str) -> Result<Vec<u8>, SyntaxError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let used = match byte_escape(rest) {
            Some((byte, used)) => {
                out.push(byte);
                used
            }
            None => {
                let (c, used) = escape_at(rest).map_err(|why| SyntaxError::new("escaped text", text, why))?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                used
            }
        };
        rest = &rest[used..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// `xHH` or three octal digits after a backslash, and how many bytes of `text` it took.
fn byte_escape(text: &str) -> Option<(u8, usize)> {
    let (skip, len, radix) = if text.starts_with('x') { (1, 2, 16) } else { (0, 3, 8) };
    let digits = text.get(skip..skip + len)?;
    if !digits.bytes().all(|b| (b as char).is_digit(radix)) {
        return None;
    }
    u8::from_str_radix(digits, radix).ok().map(|byte| (byte, skip + len))
}

/// Writes `text` so that [`words`](crate::words) with [`WordRules::UNIT`](crate::WordRules::UNIT) reads it back as one word.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@+,%~^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    escape_into(text, &mut out);
    out.push('"');
    out
}

/// `text` on one line for an error message: quoted only when it has spaces, quotes or control characters; cut when very long.
pub fn printable(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((cut, _)) => format!("{}…", quote(&text[..cut])),
        None => quote(text),
    }
}

fn escape_into(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // writing to a String cannot fail
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            // invisible and direction-changing characters could make a message lie
            c if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
}
