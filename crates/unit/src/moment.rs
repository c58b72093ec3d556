//! Moments as people write them: `now`, `yesterday`, `-1h`, `2 days ago`, `2026-01-01 12:00`, `@12345` (systemd.time(7), "PARSING TIMESTAMPS").

use crate::zone::{Zone, civil, days_in_month, days_of};
use crate::{Span, SyntaxError, TimeUnit, time_span};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// Parses a moment; both it and `now` are microseconds since 1970. Without another zone (`UTC`, `Z`, `+02:00`) it is one of `zone`.
pub fn moment(text: &str, now: u64, zone: &Zone) -> Result<u64, SyntaxError> {
    let refuse = |why| SyntaxError::new("timestamp", text, why);
    let found = read(text.trim(), now, zone).map_err(refuse)?;
    u64::try_from(found).map_err(|_| refuse("it is before 1970"))
}

fn read(text: &str, now: u64, zone: &Zone) -> Result<i64, &'static str> {
    let at = i64::try_from(now).map_err(|_| "the clock is wrong")?;
    let span = |text: &str| match time_span(text, TimeUnit::Seconds) {
        Ok(Span::Micros(micros)) => i64::try_from(micros).map_err(|_| "it is too far away"),
        Ok(Span::Infinity) => Err("it is too far away"),
        Err(_) => Err("it is no span of time"),
    };
    const FAR: &str = "it is too far away";
    if text == "now" {
        return Ok(at);
    }
    if let Some(rest) = text.strip_prefix('+') {
        return at.checked_add(span(rest)?).ok_or(FAR);
    }
    if let Some(rest) = text.strip_prefix('-') {
        return Ok(at.saturating_sub(span(rest)?).max(0));
    }
    if let Some(rest) = text.strip_prefix('@') {
        return span(rest);
    }
    if let Some(rest) = text.strip_suffix(" ago") {
        return Ok(at.saturating_sub(span(rest)?).max(0));
    }
    if let Some(rest) = text.strip_suffix(" left") {
        return at.checked_add(span(rest)?).ok_or(FAR);
    }
    let (text, given) = zone_of(text)?;
    let zone = if given.is_some() { &Zone::UTC } else { zone };
    let local = at / SECOND + i64::from(zone.offset_at(at / SECOND));
    let today = local.div_euclid(DAY);
    let (days, micros) = match text {
        "today" => (today, 0),
        "yesterday" => (today - 1, 0),
        "tomorrow" => (today + 1, 0),
        _ => date_and_time(text, today)?,
    };
    let seconds = days * DAY + micros / SECOND - i64::from(given.unwrap_or(0));
    let unix = zone.to_unix(seconds).ok_or("clocks never show that time")?;
    unix.checked_mul(SECOND).and_then(|unix| unix.checked_add(micros % SECOND)).ok_or(FAR)
}

/// Cuts off ` UTC`, `Z`, `+02:00`, `-0500`; the offset is in seconds.
fn zone_of(text: &str) -> Result<(&str, Option<i32>), &'static str> {
    if let Some(rest) = text.strip_suffix(" UTC").or_else(|| text.strip_suffix('Z')) {
        return Ok((rest.trim_end(), Some(0)));
    }
    // only after a time: dates have dashes, too
    let Some(time) = text.find(':') else { return Ok((text, None)) };
    let Some(at) = text.get(time..).and_then(|rest| rest.rfind(['+', '-'])).map(|at| at + time) else { return Ok((text, None)) };
    const BAD: &str = "it is no offset from UTC";
    let digits: String = text[at + 1..].chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BAD);
    }
    let (hours, minutes) = digits.split_at(2);
    let hours: i32 = hours.parse().map_err(|_| BAD)?;
    let minutes: i32 = if minutes.is_empty() { 0 } else { minutes.parse().map_err(|_| BAD)? };
    if hours > 14 || minutes > 59 {
        return Err(BAD);
    }
    let offset = hours * 3600 + minutes * 60;
    Ok((text[..at].trim_end(), Some(if text.as_bytes()[at] == b'-' { -offset } else { offset })))
}

fn number(text: &str, most: i64) -> Result<i64, &'static str> {
    const BAD: &str = "it is no date and no time";
    let fits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| fits && *n <= most).ok_or(BAD)
}

/// `[WEEKDAY] [YEAR-MONTH-DAY] [HOUR:MINUTE[:SECOND[.FRACTION]]]`: the day, and microseconds of it.
fn date_and_time(text: &str, today: i64) -> Result<(i64, i64), &'static str> {
    // a T in a name of a day is none of a time
    let (mut weekday, mut clock) = (None, text);
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let (word, rest) = text.split_once(char::is_whitespace).ok_or("it is no date and no time")?;
        const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let word = word.trim_end_matches(',').to_ascii_lowercase();
        weekday =
            Some(DAYS.iter().position(|day| *day == word || word.len() == 3 && day.starts_with(&word)).ok_or("it is no date and no time")? as i64);
        clock = rest;
    }
    let mut parts = clock.split(|c: char| c.is_ascii_whitespace() || c == 'T').filter(|part| !part.is_empty()).peekable();
    let days = match parts.next_if(|part| part.contains('-')) {
        None => today,
        Some(date) => day(date, today)?,
    };
    if weekday.is_some_and(|weekday| (days + 3).rem_euclid(7) != weekday) {
        return Err("that day is another day of the week");
    }
    let micros = parts.next().map_or(Ok(0), time)?;
    if parts.next().is_some() || text.is_empty() {
        return Err("it is no date and no time");
    }
    Ok((days, micros))
}

fn day(date: &str, today: i64) -> Result<i64, &'static str> {
    let parts: Vec<&str> = date.split('-').collect();
    let (year, month, day) = match parts.as_slice() {
        [year, month, day] if year.len() == 2 => {
            let year = number(year, 99)?;
            (if year < 69 { 2000 + year } else { 1900 + year }, *month, *day)
        }
        [year, month, day] => (number(year, 9999)?, *month, *day),
        [month, day] => (civil(today).0, *month, *day),
        _ => return Err("it is no date and no time"),
    };
    let (month, day) = (number(month, 12)?, number(day, 31)?);
    if month == 0 || day == 0 || day > i64::from(days_in_month(year as u32, month as u32)) {
        return Err("there is no such day");
    }
    Ok(days_of(year, month as u32, day as u32))
}

fn time(text: &str) -> Result<i64, &'static str> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = clock.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] if fraction.is_empty() => (number(hour, 23)?, number(minute, 59)?, 0),
        [hour, minute, second] => (number(hour, 23)?, number(minute, 59)?, number(second, 60)?),
        _ => return Err("it is no date and no time"),
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err("it is no date and no time");
    }
    let micros: i64 = format!("{fraction:0<6}").get(..6).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    Ok((hour * 3600 + minute * 60 + second) * SECOND + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        // 2026-11-27 06:10:11.5 UTC, a Friday
        const NOW: u64 = 1_795_759_811_500_000;
        let zone = Zone::parse_rule("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |text: &str| moment(text, NOW, &Zone::UTC).map(|micros| micros as i64 - NOW as i64);
        const H: i64 = 3_600 * SECOND;
        let midnight = -(6 * H + 611 * SECOND + SECOND / 2);
        #[rustfmt::skip]
        let table = [
            ("now", 0), ("today", midnight), ("yesterday", midnight - 24 * H), ("tomorrow", midnight + 24 * H),
            ("-1h", -H), ("+1h 30min", H + H / 2), ("2 days ago", -48 * H), ("90", i64::MIN), ("5min left", 300 * SECOND),
            ("2026-11-27", midnight), ("2026-11-27 12:00", midnight + 12 * H), ("26-11-27 12:00:01.25", midnight + 12 * H + SECOND * 5 / 4),
            ("11-26", midnight - 24 * H), ("12:30", midnight + 12 * H + H / 2), ("Fri 2026-11-27", midnight), ("friday 2026-11-27 01:00:00", midnight + H),
            ("2026-11-27 12:00 UTC", midnight + 12 * H), ("2026-11-27T12:00:00Z", midnight + 12 * H), ("2026-11-27T12:00:00+02:00", midnight + 10 * H),
            ("2026-11-27 12:00:00-0500", midnight + 17 * H), ("@1795759811", -SECOND / 2),
            ("Thu 2026-11-27", i64::MIN), ("2026-02-30", i64::MIN), ("foo", i64::MIN), ("", i64::MIN), ("24:00", i64::MIN), ("2026-11-27 x", i64::MIN),
            ("Tuesday", i64::MIN), ("1:2:3:4", i64::MIN), ("2026-11-27 12:00+99", i64::MIN), ("-x", i64::MIN), ("12:00 13:00", i64::MIN),
        ];
        for (text, expected) in table {
            assert_eq!(at(text).unwrap_or(i64::MIN), expected, "{text:?}");
        }
        let local = moment("2026-07-01 12:00", NOW, &zone).unwrap();
        assert_eq!(local, moment("2026-07-01 10:00 UTC", NOW, &zone).unwrap());
        assert!(moment("2026-03-29 02:30", NOW, &zone).is_err(), "left out by summer time");
    }
}
