//! Whole numbers as systemd reads them: decimal, or `0x`, `0o`, `0b`, or octal after a leading zero.

use crate::SyntaxError;

/// Parses an unsigned number; a leading `+` is allowed, a `-` is not.
pub fn unsigned(text: &str) -> Result<u64, SyntaxError> {
    let refuse = |why| Err(SyntaxError::new("number", text, why));
    if text.starts_with('-') {
        return refuse("it must not be negative");
    }
    match magnitude(text.strip_prefix('+').unwrap_or(text)) {
        Ok(n) => Ok(n),
        Err(why) => refuse(why),
    }
}

/// Parses a signed number.
pub fn integer(text: &str) -> Result<i64, SyntaxError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let refuse = |why| Err(SyntaxError::new("number", text, why));
    let n = match magnitude(digits) {
        Ok(n) => n,
        Err(why) => return refuse(why),
    };
    let signed = if negative { 0i64.checked_sub_unsigned(n) } else { i64::try_from(n).ok() };
    signed.map_or_else(|| refuse("it is too large"), Ok)
}

fn magnitude(text: &str) -> Result<u64, &'static str> {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        [b'0', _, ..] => (8, &text[1..]),
        _ => (10, text),
    };
    if digits.is_empty() {
        return Err("there are no digits");
    }
    if !digits.bytes().all(|b| (b as char).is_digit(radix)) {
        return Err("it is not a whole number");
    }
    u64::from_str_radix(digits, radix).map_err(|_| "it is too large")
}
