//! Calendar expressions: `Mon..Fri *-*-* 10:00`, `daily`, `*:0/15` (systemd.time(7), "CALENDAR EVENTS").
//!
//! ```text
//!  [WEEKDAYS] [[YEAR-]MONTH-DAY] [HOUR:MINUTE[:SECOND]] [ZONE]      each a list of  *  A  A/STEP  A..B  A..B/STEP
//! ```
//! Parsing is in `parse.rs`, printing in `show.rs`, the next moment that matches in `next.rs`.

mod next;
mod parse;
mod show;

use crate::SyntaxError;

/// Microseconds of a second: how seconds are counted in [`Calendar`].
pub(crate) const SECOND: u32 = 1_000_000;

/// First and last year of an expression.
pub(crate) const YEARS: (u32, u32) = (1970, 2199);

/// One item of a list: a value, every `step` from it, or a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    start: u32,
    stop: Option<u32>,
    /// 0: none.
    step: u32,
}

/// In which zone an expression is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CalendarZone {
    /// That of the system.
    Local,
    /// UTC.
    Utc,
    /// One of the time zone database, by name; whether it exists is not known here.
    Named(String),
}

/// A set of moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Bit 0 is Monday; 0 is any.
    weekdays: u8,
    /// Lists; an empty one is `*`.
    years: Vec<Part>,
    months: Vec<Part>,
    days: Vec<Part>,
    /// Days are counted from the last of the month, which is 1.
    from_end: bool,
    hours: Vec<Part>,
    minutes: Vec<Part>,
    /// Microseconds of the minute.
    micros: Vec<Part>,
    zone: CalendarZone,
}

impl Calendar {
    /// Parses an expression.
    pub fn parse(text: &str) -> Result<Calendar, SyntaxError> {
        parse::parse(text)
    }

    /// The zone it is meant in.
    pub fn zone(&self) -> &CalendarZone {
        &self.zone
    }
}

#[cfg(test)]
mod tests;
