//! Time zones: what a clock on the wall says, out of the files of the time zone database (tzfile(5), RFC 8536).

mod posix;

use posix::Rule;

use crate::SyntaxError;

/// Longest file taken; the longest there is has 4 KiB.
pub const ZONE_FILE_MAX: usize = 1 << 20;

/// One zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// `(second since 1970 UTC, offset from then on)`, ascending.
    changes: Vec<(i64, i32)>,
    /// Before the first change.
    first: i32,
    /// After the last one.
    rule: Option<Rule>,
}

impl Zone {
    /// UTC.
    pub const UTC: Zone = Zone { changes: Vec::new(), first: 0, rule: None };

    /// Reads a compiled zone. Leap seconds (the `right/` files) are refused.
    pub fn parse(bytes: &[u8]) -> Result<Zone, SyntaxError> {
        read(bytes).map_err(|why| SyntaxError::new("time zone", "file", why))
    }

    /// A zone by its rule, as in TZ: `CET-1CEST,M3.5.0,M10.5.0/3`.
    pub fn parse_rule(text: &str) -> Result<Zone, SyntaxError> {
        let rule = posix::parse(text).ok_or_else(|| SyntaxError::new("time zone", text, "it is no rule as in TZ"))?;
        Ok(Zone { changes: Vec::new(), first: 0, rule: Some(rule) })
    }

    /// Seconds to add to UTC at this second.
    pub fn offset_at(&self, unix: i64) -> i32 {
        let after = self.changes.partition_point(|(at, _)| *at <= unix);
        if after == self.changes.len()
            && let Some(rule) = &self.rule
        {
            return rule.offset_at(unix);
        }
        after.checked_sub(1).map_or(self.first, |last| self.changes[last].1)
    }

    /// The second at which clocks show `local`, the first when they do so twice; `None` when they never do.
    pub fn to_unix(&self, local: i64) -> Option<i64> {
        let around = [self.offset_at(local - 86_400), self.offset_at(local + 86_400)];
        let found =
            around.into_iter().map(|offset| (local - i64::from(offset), offset)).filter(|(t, offset)| self.offset_at(*t) == *offset).map(|(t, _)| t);
        found.min()
    }
}

/// The date of a day counted from 1970-01-01 (proleptic Gregorian calendar): year, month, day.
pub fn civil(days: i64) -> (i64, u32, u32) {
    // years that begin in March, so that the leap day is the last
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month as u32, of_month as u32)
}

/// The day of a date, counted from 1970-01-01.
pub fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = i64::from((month + 9) % 12);
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// How many days a month has.
pub fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Counts in a header.
struct Header {
    utc: usize,
    standard: usize,
    leaps: usize,
    times: usize,
    types: usize,
    chars: usize,
}

const HEADER: usize = 44;

fn header(bytes: &[u8]) -> Result<Header, &'static str> {
    let Some(head) = bytes.get(..HEADER).filter(|head| head.starts_with(b"TZif")) else { return Err("it is no time zone file") };
    let count = |i: usize| u32::from_be_bytes([head[20 + 4 * i], head[21 + 4 * i], head[22 + 4 * i], head[23 + 4 * i]]) as usize;
    let header = Header { utc: count(0), standard: count(1), leaps: count(2), times: count(3), types: count(4), chars: count(5) };
    let all = [header.utc, header.standard, header.leaps, header.times, header.types, header.chars];
    if all.into_iter().any(|n| n > ZONE_FILE_MAX) { Err("a count in it is too large") } else { Ok(header) }
}

impl Header {
    /// Bytes of the block after the header, with times of `width` bytes.
    fn block(&self, width: usize) -> usize {
        self.times * (width + 1) + self.types * 6 + self.chars + self.leaps * (width + 4) + self.standard + self.utc
    }
}

fn read(bytes: &[u8]) -> Result<Zone, &'static str> {
    const SHORT: &str = "it is shorter than it says";
    if bytes.len() > ZONE_FILE_MAX {
        return Err("it is longer than 1 MiB");
    }
    let old = header(bytes)?;
    let new = bytes.get(4).is_some_and(|version| *version >= b'2');
    let (header, block, width) = if new {
        let second = bytes.get(HEADER + old.block(4)..).ok_or(SHORT)?;
        (header(second)?, &second[HEADER..], 8)
    } else {
        (old, &bytes[HEADER..], 4)
    };
    if header.leaps > 0 {
        return Err("it counts leap seconds");
    }
    let length = header.block(width);
    let (data, footer) = (block.get(..length).ok_or(SHORT)?, &block[length..]);
    let (times, rest) = data.split_at(header.times * width);
    let (indices, rest) = rest.split_at(header.times);
    let types = &rest[..header.types * 6];
    let offset = |index: usize| types.get(index * 6..index * 6 + 4).map(|b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let sane = |offset: i32| (-93_600..=93_600).contains(&offset);
    let mut changes = Vec::with_capacity(header.times);
    for (time, index) in times.chunks_exact(width).zip(indices) {
        // sign-extended, big end first
        let filled = if time[0] & 0x80 == 0 { 0i64 } else { -1 };
        let at = time.iter().fold(filled, |sum, byte| sum << 8 | i64::from(*byte));
        changes.push((at, offset((*index).into()).filter(|o| sane(*o)).ok_or("it names a type of time that is not in it")?));
    }
    if !changes.is_sorted_by_key(|(at, _)| *at) {
        return Err("its changes are not in order");
    }
    let first = offset(0).filter(|o| sane(*o)).ok_or("it has no type of time")?;
    let rule = match footer.strip_prefix(b"\n").and_then(|f| f.iter().position(|b| *b == b'\n').map(|end| &f[..end])) {
        Some(text) if new && !text.is_empty() => {
            let text = std::str::from_utf8(text).ok().and_then(posix::parse);
            Some(text.ok_or("its last line is no rule")?)
        }
        _ => None,
    };
    Ok(Zone { changes, first, rule })
}

#[cfg(test)]
mod tests;
