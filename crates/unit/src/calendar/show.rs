//! From [`Calendar`] to the one text that means it.

use std::fmt::{self, Display, Formatter, Write as _};

use super::parse::WEEKDAYS;
use super::{Calendar, CalendarZone, Part, SECOND};

impl Display for Calendar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.weekdays != 0 {
            show_weekdays(self.weekdays, f)?;
            f.write_char(' ')?;
        }
        show(&self.years, 4, f)?;
        f.write_char('-')?;
        show(&self.months, 2, f)?;
        f.write_char(if self.from_end { '~' } else { '-' })?;
        show(&self.days, 2, f)?;
        f.write_char(' ')?;
        show(&self.hours, 2, f)?;
        f.write_char(':')?;
        show(&self.minutes, 2, f)?;
        f.write_char(':')?;
        show_seconds(&self.micros, f)?;
        match &self.zone {
            CalendarZone::Local => Ok(()),
            CalendarZone::Utc => f.write_str(" UTC"),
            CalendarZone::Named(name) => write!(f, " {name}"),
        }
    }
}

/// `Mon,Tue` for two that follow each other, `Mon..Wed` for three.
fn show_weekdays(mask: u8, f: &mut Formatter<'_>) -> fmt::Result {
    let mut day = 0;
    let mut first = true;
    while day < 7 {
        let run = (day..7).take_while(|d| mask & 1 << d != 0).count();
        if run == 0 {
            day += 1;
            continue;
        }
        if !first {
            f.write_char(',')?;
        }
        first = false;
        f.write_str(&WEEKDAYS[day][..3])?;
        if run > 1 {
            write!(f, "{}{}", if run > 2 { ".." } else { "," }, &WEEKDAYS[day + run - 1][..3])?;
        }
        day += run;
    }
    Ok(())
}

fn show(parts: &[Part], width: usize, f: &mut Formatter<'_>) -> fmt::Result {
    if parts.is_empty() {
        return f.write_char('*');
    }
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_char(',')?;
        }
        write!(f, "{:0width$}", part.start)?;
        if let Some(stop) = part.stop {
            write!(f, "..{stop:0width$}")?;
        }
        if part.step > 0 && !(part.stop.is_some() && part.step == 1) {
            write!(f, "/{}", part.step)?;
        }
    }
    Ok(())
}

fn show_seconds(parts: &[Part], f: &mut Formatter<'_>) -> fmt::Result {
    if let [Part { start: 0, stop: None, step: SECOND }] = parts {
        return f.write_char('*');
    }
    // one fraction makes all of a part have six digits
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_char(',')?;
        }
        let seconds = |micros: u32, width: usize| match micros % SECOND {
            0 => format!("{:0width$}", micros / SECOND),
            fraction => format!("{:0width$}.{fraction:06}", micros / SECOND),
        };
        f.write_str(&seconds(part.start, 2))?;
        if let Some(stop) = part.stop {
            write!(f, "..{}", seconds(stop, 2))?;
        }
        if part.step > 0 && !(part.stop.is_some() && part.step == SECOND) {
            write!(f, "/{}", seconds(part.step, 1))?;
        }
    }
    Ok(())
}
