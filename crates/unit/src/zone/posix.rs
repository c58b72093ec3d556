//! Rules of the variable TZ: `CET-1CEST,M3.5.0,M10.5.0/3` (tzset(3), RFC 8536 3.3.1).

use super::{civil, days_in_month, days_of};

/// An offset, and for a part of the year another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    standard: i32,
    summer: Option<Summer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Summer {
    offset: i32,
    begins: Date,
    ends: Date,
}

/// A day of each year, and the second of that day by the clock that is valid until then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Date {
    day: Day,
    second: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Day {
    /// `Jn`, from 1, 29 February never counted.
    Julian(u32),
    /// `n`, from 0.
    OfYear(u32),
    /// `Mm.w.d`: the w-th (5: last) such day of the week (0: Sunday) of a month.
    Weekday { month: u32, week: u32, weekday: u32 },
}

impl Rule {
    pub(super) fn offset_at(&self, unix: i64) -> i32 {
        let Some(summer) = &self.summer else { return self.standard };
        let year = civil((unix + i64::from(self.standard)).div_euclid(86_400)).0;
        let begins = summer.begins.second_in(year) - i64::from(self.standard);
        let ends = summer.ends.second_in(year) - i64::from(summer.offset);
        // south of the equator summer goes over new year
        let in_summer = if begins < ends { (begins..ends).contains(&unix) } else { !(ends..begins).contains(&unix) };
        if in_summer { summer.offset } else { self.standard }
    }
}

impl Date {
    fn second_in(&self, year: i64) -> i64 {
        let leap = days_of(year, 3, 1) - days_of(year, 2, 1) == 29;
        let first = days_of(year, 1, 1);
        let day = match self.day {
            Day::Julian(n) => first + i64::from(n) - 1 + i64::from(leap && n > 59),
            Day::OfYear(n) => first + i64::from(n),
            Day::Weekday { month, week, weekday } => {
                let start = days_of(year, month, 1);
                // 1970-01-01 was a Thursday
                let ahead = (i64::from(weekday) - (start + 4).rem_euclid(7)).rem_euclid(7);
                let length = i64::from(days_in_month(u32::try_from(year).unwrap_or(1), month));
                let mut day = ahead + 7 * (i64::from(week) - 1);
                if day >= length {
                    day -= 7;
                }
                start + day
            }
        };
        day * 86_400 + i64::from(self.second)
    }
}

pub(super) fn parse(text: &str) -> Option<Rule> {
    let rest = name(text)?;
    let (behind, rest) = clock(rest, 24)?;
    let standard = -behind;
    if rest.is_empty() {
        return Some(Rule { standard, summer: None });
    }
    let rest = name(rest)?;
    let (offset, rest) = match clock(rest, 24) {
        Some((behind, rest)) => (-behind, rest),
        None => (standard + 3600, rest),
    };
    let (begins, rest) = date(rest.strip_prefix(',')?)?;
    let (ends, rest) = date(rest.strip_prefix(',')?)?;
    rest.is_empty().then_some(Rule { standard, summer: Some(Summer { offset, begins, ends }) })
}

/// Skips `CET` or `<+03>`.
fn name(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('<') {
        return rest.split_once('>').filter(|(inside, _)| inside.len() >= 3).map(|(_, after)| after);
    }
    let length = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    (length >= 3).then(|| &text[length..])
}

/// `[+-]h[:m[:s]]` in seconds.
fn clock(text: &str, hours_max: u32) -> Option<(i32, &str)> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (hours, mut rest) = number(rest, hours_max)?;
    let mut seconds = hours * 3600;
    for weight in [60, 1] {
        let Some(after) = rest.strip_prefix(':') else { break };
        let (value, after) = number(after, 59)?;
        seconds += value * weight;
        rest = after;
    }
    Some((sign * i32::try_from(seconds).ok()?, rest))
}

fn number(text: &str, most: u32) -> Option<(u32, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let value = text[..end].parse().ok().filter(|n| *n <= most)?;
    Some((value, &text[end..]))
}

fn date(text: &str) -> Option<(Date, &str)> {
    let (day, rest) = if let Some(rest) = text.strip_prefix('M') {
        let (month, rest) = number(rest, 12)?;
        let (week, rest) = number(rest.strip_prefix('.')?, 5)?;
        let (weekday, rest) = number(rest.strip_prefix('.')?, 6)?;
        (month > 0 && week > 0).then_some((Day::Weekday { month, week, weekday }, rest))?
    } else if let Some(rest) = text.strip_prefix('J') {
        let (day, rest) = number(rest, 365)?;
        (day > 0).then_some((Day::Julian(day), rest))?
    } else {
        let (day, rest) = number(text, 365)?;
        (Day::OfYear(day), rest)
    };
    let (second, rest) = match rest.strip_prefix('/') {
        Some(rest) => clock(rest, 167)?,
        None => (7200, rest),
    };
    Some((Date { day, second }, rest))
}
