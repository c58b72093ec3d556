//! Sizes in bytes: `512M`, `1.5G`, `4T 3G`, base 1024.

use crate::SyntaxError;

const UNITS: [(u8, u32); 7] = [(b'E', 60), (b'P', 50), (b'T', 40), (b'G', 30), (b'M', 20), (b'K', 10), (b'B', 0)];

/// Parses a size in bytes: digits, optionally a fraction, a unit `B K M G T P E` (base 1024) or none;
/// several parts may follow each other from large to small (`1G 512M`).
pub fn size(text: &str) -> Result<u64, SyntaxError> {
    let refuse = |why| SyntaxError::new("size", text, why);
    let mut rest = text.trim_matches(|c: char| c.is_ascii_whitespace());
    if rest.is_empty() {
        return Err(refuse("it is empty"));
    }
    if rest.starts_with('-') {
        return Err(refuse("it must not be negative"));
    }
    let mut total = 0u64;
    let mut largest_shift = u32::MAX;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        if whole.is_empty() {
            return Err(refuse("it does not start with a digit"));
        }
        let (fraction, after) = match after.strip_prefix('.') {
            Some(f) => digits(f),
            None => ("", after),
        };
        let after = after.trim_start();
        let (shift, after) = match after.bytes().next() {
            None => (0, after),
            Some(b) if b.is_ascii_digit() => return Err(refuse("a unit is missing between its parts")),
            Some(b) => match UNITS.iter().find(|(u, _)| *u == b) {
                Some((_, shift)) => (*shift, &after[1..]),
                None => return Err(refuse("the unit is none of K, M, G, T, P, E")),
            },
        };
        if shift >= largest_shift {
            return Err(refuse("its units do not go from large to small"));
        }
        largest_shift = shift;
        let part = scaled(whole, fraction, shift).ok_or_else(|| refuse("it is too large"))?;
        total = total.checked_add(part).ok_or_else(|| refuse("it is too large"))?;
        rest = after.trim_start();
    }
    Ok(total)
}

/// `whole.fraction` times 2^shift.
fn scaled(whole: &str, fraction: &str, shift: u32) -> Option<u64> {
    let mut value = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    let mut weight = u128::from(1u64 << shift);
    let mut part = 0u128;
    // 18 decimals are finer than one byte of an exbibyte
    let mut divisor = 1u128;
    for b in fraction.bytes().take(18) {
        divisor *= 10;
        part = part * 10 + u128::from(b - b'0');
    }
    weight *= part;
    value = value.checked_add(u64::try_from(weight / divisor).ok()?)?;
    Some(value)
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// `512M`, `1.5G`, `17B`: the largest unit, at most one decimal.
pub fn show_size(bytes: u64) -> String {
    for (unit, shift) in UNITS {
        if bytes >> shift == 0 || shift == 0 {
            continue;
        }
        let tenths = (u128::from(bytes) * 10) >> shift;
        let (whole, tenth) = (tenths / 10, tenths % 10);
        let unit = unit as char;
        return if tenth == 0 { format!("{whole}{unit}") } else { format!("{whole}.{tenth}{unit}") };
    }
    format!("{bytes}B")
}
