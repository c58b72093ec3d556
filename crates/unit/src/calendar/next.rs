//! The next moment of a [`Calendar`].

use super::{Calendar, Part, SECOND, YEARS};
use crate::zone::{Zone, civil, days_in_month, days_of};

/// A local time: days since 1970 and microseconds of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Local {
    days: i64,
    micros: u64,
}

const DAY: u64 = 86_400 * SECOND as u64;
const MINUTE: u32 = 60 * SECOND;

/// How many local times that do not exist, or come again, are passed over: a few a year are possible.
const SKIPS_MAX: u32 = 2000;

impl Calendar {
    /// The first moment after `after`, both in microseconds since 1970 UTC; `None` when there is none until 2199.
    ///
    /// A local time that a change of the clock leaves out does not count; of one that comes twice the first does.
    pub fn next(&self, after: u64, zone: &Zone) -> Option<u64> {
        let (second, fraction) = (i64::try_from(after / u64::from(SECOND)).ok()?, after % u64::from(SECOND));
        let local = second.checked_add(zone.offset_at(second).into())?;
        let mut from = Local { days: local.div_euclid(86_400), micros: local.rem_euclid(86_400) as u64 * u64::from(SECOND) + fraction };
        for _ in 0..SKIPS_MAX {
            from.micros += 1;
            if from.micros == DAY {
                from = Local { days: from.days + 1, micros: 0 };
            }
            from = self.first_at(from)?;
            let local = from.days * 86_400 + (from.micros / u64::from(SECOND)) as i64;
            let moment = zone.to_unix(local).and_then(|t| u64::try_from(t).ok());
            let moment = moment.and_then(|t| t.checked_mul(SECOND.into())).map(|t| t + from.micros % u64::from(SECOND));
            match moment {
                Some(moment) if moment > after => return Some(moment),
                _ => {}
            }
        }
        None
    }

    /// The first local time of the set that is not before `from`.
    fn first_at(&self, from: Local) -> Option<Local> {
        let (year, month, day) = civil(from.days);
        let year = u32::try_from(year).unwrap_or(0).max(YEARS.0);
        for y in (year..=YEARS.1).filter(|y| within(&self.years, *y)) {
            let first_month = if y == year { month } else { 1 };
            for m in (first_month..=12).filter(|m| within(&self.months, *m)) {
                let last = days_in_month(y, m);
                let first_day = if (y, m) == (year, month) { day } else { 1 };
                for d in (first_day..=last).filter(|d| self.on_day(*d, last)) {
                    let days = days_of(y.into(), m, d);
                    if self.weekdays != 0 && self.weekdays & 1 << (days + 3).rem_euclid(7) == 0 {
                        continue;
                    }
                    let earliest = if days == from.days { from.micros } else { 0 };
                    if let Some(micros) = self.first_time(earliest) {
                        return Some(Local { days, micros });
                    }
                }
            }
        }
        None
    }

    /// Whether day `day` of a month of `last` days is in the set.
    fn on_day(&self, day: u32, last: u32) -> bool {
        if !self.from_end {
            return within(&self.days, day);
        }
        self.days.iter().any(|part| {
            // counted from the end a range is turned around, while steps still go forward
            let at = |n: u32| (last + 1).saturating_sub(n);
            match part.stop {
                Some(stop) => day >= at(stop) && day <= at(part.start) && (day - at(stop)).is_multiple_of(part.step.max(1)),
                None => has(&Part { start: at(part.start), ..*part }, day),
            }
        })
    }

    /// The first time of the day that is not before `from`, in microseconds.
    fn first_time(&self, from: u64) -> Option<u64> {
        let (hour, minute) = ((from / DAY_HOUR) as u32, (from % DAY_HOUR / u64::from(MINUTE)) as u32);
        for h in (hour..24).filter(|h| within(&self.hours, *h)) {
            let first_minute = if h == hour { minute } else { 0 };
            for m in (first_minute..60).filter(|m| within(&self.minutes, *m)) {
                let start = u64::from(h) * DAY_HOUR + u64::from(m) * u64::from(MINUTE);
                let earliest = from.saturating_sub(start) as u32;
                if let Some(micros) = first_of(&self.micros, earliest, MINUTE - 1) {
                    return Some(start + u64::from(micros));
                }
            }
        }
        None
    }
}

const DAY_HOUR: u64 = 3600 * SECOND as u64;

fn within(parts: &[Part], value: u32) -> bool {
    parts.is_empty() || parts.iter().any(|part| has(part, value))
}

fn has(part: &Part, value: u32) -> bool {
    if value < part.start || part.stop.is_some_and(|stop| value > stop) {
        return false;
    }
    match part.step {
        0 => value == part.start,
        step => (value - part.start).is_multiple_of(step),
    }
}

/// The least value of the list from `from` to `most`; an empty list is every value.
fn first_of(parts: &[Part], from: u32, most: u32) -> Option<u32> {
    if parts.is_empty() {
        return (from <= most).then_some(from);
    }
    let first = |part: &Part| {
        let value = match (from.checked_sub(part.start), part.step) {
            (None | Some(0), _) => part.start,
            (Some(_), 0) => return None,
            (Some(past), step) => part.start + past.div_ceil(step) * step,
        };
        (value <= part.stop.unwrap_or(most).min(most)).then_some(value)
    };
    parts.iter().filter_map(first).min()
}
