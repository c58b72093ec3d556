//! From text to [`Calendar`].

use super::{Calendar, CalendarZone, Part, SECOND, YEARS};
use crate::zone::civil;
use crate::{Arrange as _, SyntaxError};

/// Longest list of one field.
const PARTS_MAX: usize = 240;

pub(super) const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Words for whole expressions.
const SHORTHANDS: [(&str, &str); 9] = [
    ("minutely", "*:*:00"),
    ("hourly", "*:00:00"),
    ("daily", "00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("weekly", "Mon 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
];
const BIANNUAL: [(&str, &str); 3] = [("anually", "*-01-01 00:00:00"), ("biannually", "*-01,07-01 00:00:00"), ("bi-annually", "*-01,07-01 00:00:00")];

type Why = &'static str;

pub(super) fn parse(text: &str) -> Result<Calendar, SyntaxError> {
    read(text).map_err(|why| SyntaxError::new("calendar expression", text, why))
}

fn read(text: &str) -> Result<Calendar, Why> {
    let mut calendar = Calendar {
        weekdays: 0,
        years: Vec::new(),
        months: Vec::new(),
        days: Vec::new(),
        from_end: false,
        hours: Vec::new(),
        minutes: Vec::new(),
        micros: Vec::new(),
        zone: CalendarZone::Local,
    };
    let mut rest = text.trim_matches(|c: char| c.is_ascii_whitespace());
    if rest.is_empty() {
        return Err("it is empty");
    }
    if let Some((before, zone)) = zone_at_end(rest) {
        calendar.zone = zone;
        rest = before;
    }
    if let Some(seconds) = rest.strip_prefix('@') {
        return at_second(calendar, seconds);
    }
    if let Some((_, meaning)) = SHORTHANDS.iter().chain(&BIANNUAL).find(|(word, _)| word.eq_ignore_ascii_case(rest)) {
        rest = meaning;
    }
    let (mask, after) = weekdays(rest)?;
    calendar.weekdays = if mask == 0x7f { 0 } else { mask };
    rest = date(&mut calendar, after)?;
    time(&mut calendar, rest)?;
    check(&mut calendar)?;
    Ok(calendar)
}

/// The last of several words, when it is the name of a zone rather than a date, a time or days of the week.
fn zone_at_end(text: &str) -> Option<(&str, CalendarZone)> {
    let (before, last) = text.rsplit_once(' ')?;
    let before = before.trim_end();
    if last.eq_ignore_ascii_case("UTC") {
        return Some((before, CalendarZone::Utc));
    }
    let named = last.starts_with(|c: char| c.is_ascii_alphabetic()) && last.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
    let days = weekdays(last).is_ok_and(|(mask, _)| mask != 0);
    (named && !days).then(|| (before, CalendarZone::Named(last.to_owned())))
}

/// `@1700000000`: one moment, in UTC.
fn at_second(mut calendar: Calendar, seconds: &str) -> Result<Calendar, Why> {
    let (whole, fraction) = number(seconds).ok_or("there is no number of seconds after the @")?;
    let (fraction, rest) = match fraction.strip_prefix('.') {
        Some(digits) => micros_of(digits)?,
        None => (0, fraction),
    };
    if !rest.is_empty() {
        return Err("there is more after the number of seconds");
    }
    let (days, second) = ((whole / 86_400) as i64, (whole % 86_400) as u32);
    let (year, month, day) = civil(days);
    let one = |start| vec![Part { start, stop: None, step: 0 }];
    calendar.years = one(u32::try_from(year).ok().filter(|y| (YEARS.0..=YEARS.1).contains(y)).ok_or("the year is out of range")?);
    calendar.months = one(month);
    calendar.days = one(day);
    calendar.hours = one(second / 3600);
    calendar.minutes = one(second / 60 % 60);
    calendar.micros = one(second % 60 * SECOND + fraction);
    calendar.zone = CalendarZone::Utc;
    Ok(calendar)
}

/// Days of the week at the beginning; mask 0 when there are none.
fn weekdays(text: &str) -> Result<(u8, &str), Why> {
    let mut rest = text;
    let mut mask = 0u8;
    let mut first: Option<usize> = None;
    loop {
        let length = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, after) = rest.split_at(length);
        let named = |name: &str| name.eq_ignore_ascii_case(word) || name[..3].eq_ignore_ascii_case(word);
        let Some(day) = WEEKDAYS.iter().position(|name| named(name)) else {
            return if rest.len() == text.len() { Ok((0, text)) } else { Err("a day of the week is unknown") };
        };
        match first.take() {
            Some(from) if from > day => return Err("a range of days of the week goes backwards"),
            Some(from) => (from..=day).for_each(|d| mask |= 1 << d),
            None => mask |= 1 << day,
        }
        if after.is_empty() {
            return Ok((mask, after));
        }
        if after.starts_with(' ') {
            return Ok((mask, after.trim_start_matches(' ')));
        }
        rest = if let Some(next) = after.strip_prefix(',') {
            next
        } else if let Some(next) = after.strip_prefix("..").or_else(|| after.strip_prefix('-')) {
            first = Some(day);
            next
        } else {
            return Err("a day of the week is unknown");
        };
    }
}

/// `[YEAR-]MONTH-DAY`, or nothing; returns what follows.
fn date<'t>(calendar: &mut Calendar, text: &'t str) -> Result<&'t str, Why> {
    if text.is_empty() {
        return Ok(text);
    }
    let (first, rest) = list(text, 1)?;
    // it was the hour
    if rest.starts_with(':') {
        return Ok(text);
    }
    let mut from_end = rest.starts_with('~');
    let rest = rest.strip_prefix(['-', '~']).ok_or("the date is incomplete")?;
    let (second, rest) = list(rest, 1)?;
    let (years, months, days, rest) = match rest.strip_prefix(['-', '~']) {
        Some(_) if from_end => return Err("there is a '~' between year and month"),
        Some(after) => {
            from_end = rest.starts_with('~');
            let (third, rest) = list(after, 1)?;
            (first, second, third, rest)
        }
        None => (Vec::new(), first, second, rest),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err("the date is followed by something else");
    }
    (calendar.years, calendar.months, calendar.days) = (years, months, days);
    calendar.from_end = from_end && !calendar.days.is_empty();
    Ok(rest.trim_start_matches(' '))
}

/// `HOUR:MINUTE[:SECOND]`, or nothing, which is midnight.
fn time(calendar: &mut Calendar, text: &str) -> Result<(), Why> {
    let zero = || vec![Part { start: 0, stop: None, step: 0 }];
    if text.is_empty() {
        (calendar.hours, calendar.minutes, calendar.micros) = (zero(), zero(), zero());
        return Ok(());
    }
    let (hours, rest) = list(text, 1)?;
    let rest = rest.strip_prefix(':').ok_or("the time is incomplete")?;
    let (minutes, rest) = list(rest, 1)?;
    let (micros, rest) = match rest.strip_prefix(':') {
        Some(after) => list(after, SECOND)?,
        None => (zero(), rest),
    };
    if !rest.is_empty() {
        return Err("the time is followed by something else");
    }
    (calendar.hours, calendar.minutes, calendar.micros) = (hours, minutes, micros);
    Ok(())
}

/// One field: `*` (an empty list; of seconds every whole one) or parts with commas between. `unit` is [`SECOND`] for seconds,
/// which may have fractions, else 1.
fn list(text: &str, unit: u32) -> Result<(Vec<Part>, &str), Why> {
    if let Some(rest) = text.strip_prefix('*') {
        let every = if unit == SECOND { vec![Part { start: 0, stop: None, step: SECOND }] } else { Vec::new() };
        return Ok((every, rest));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (start, after) = value(rest, unit)?;
        let (stop, after) = match after.strip_prefix("..") {
            Some(after) => value(after, unit).map(|(stop, after)| (Some(stop), after))?,
            None => (None, after),
        };
        let (step, after) = match after.strip_prefix('/') {
            Some(after) => value(after, unit)?,
            None => (if stop.is_some() { unit } else { 0 }, after),
        };
        if after.len() < rest.len() && step == 0 && stop.is_some() || step == 0 && rest[..rest.len() - after.len()].contains('/') {
            return Err("a step is zero");
        }
        parts.push(Part { start, stop, step });
        if parts.len() > PARTS_MAX {
            return Err("a list is too long");
        }
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok((parts, after)),
        }
    }
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// One number, in units; of seconds with at most six digits after a point.
fn value(text: &str, unit: u32) -> Result<(u32, &str), Why> {
    let (whole, rest) = number(text).ok_or("a number is missing or too large")?;
    let whole = u32::try_from(whole).ok().and_then(|n| n.checked_mul(unit)).ok_or("a number is too large")?;
    let digits = rest.strip_prefix('.').filter(|after| unit == SECOND && after.starts_with(|c: char| c.is_ascii_digit()));
    let Some(digits) = digits else { return Ok((whole, rest)) };
    let (fraction, rest) = micros_of(digits)?;
    Ok((whole.checked_add(fraction).ok_or("a number is too large")?, rest))
}

/// Digits after the point as microseconds; the seventh and later are rounded away.
fn micros_of(text: &str) -> Result<(u32, &str), Why> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let digits = text[..end].bytes().map(|b| u32::from(b - b'0'));
    let micros = digits.chain(std::iter::repeat(0)).take(6).fold(0, |sum, digit| sum * 10 + digit);
    let up = text.as_bytes()[..end].get(6).is_some_and(|digit| *digit >= b'5');
    Ok((micros + u32::from(up), &text[end..]))
}

/// Years of two digits are of 1970 to 2069.
fn century(year: u32) -> u32 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        _ => year,
    }
}

/// Brings every list into its one form, and refuses what cannot be.
fn check(calendar: &mut Calendar) -> Result<(), Why> {
    for part in &mut calendar.years {
        part.start = century(part.start);
        part.stop = part.stop.map(century);
    }
    let from_end = calendar.from_end;
    settle(&mut calendar.years, YEARS, false, "the year is out of range")?;
    settle(&mut calendar.months, (1, 12), false, "the month is out of range")?;
    settle(&mut calendar.days, (1, 31), from_end, "the day is out of range")?;
    settle(&mut calendar.hours, (0, 23), false, "the hour is out of range")?;
    settle(&mut calendar.minutes, (0, 59), false, "the minute is out of range")?;
    settle(&mut calendar.micros, (0, 60 * SECOND - 1), false, "the second is out of range")
}

fn settle(parts: &mut Vec<Part>, (least, most): (u32, u32), from_end: bool, why: Why) -> Result<(), Why> {
    // no day is more than 28 days before the last
    let most = if from_end { most - 3 } else { most };
    for part in parts.iter_mut() {
        if let Some(stop) = part.stop {
            if part.start > stop {
                return Err("a range goes backwards");
            }
            let last = stop - (stop - part.start) % part.step;
            part.stop = (last > part.start).then_some(last);
            if part.stop.is_none() {
                part.step = 0;
            }
        }
        let far = match part.stop {
            Some(stop) => stop,
            None if from_end => {
                if part.step > 0 && part.start < least + part.step {
                    return Err(why);
                }
                part.start
            }
            None => part.start.saturating_add(part.step),
        };
        if part.start < least || part.start > most || far > most || part.step > most - least {
            return Err(why);
        }
    }
    parts.arrange();
    parts.dedup();
    Ok(())
}
