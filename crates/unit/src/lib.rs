//! The systemd file language: files of sections, specifiers, the order of drop-ins; and values: booleans, sizes, time spans,
//! percentages, CPU lists, words and quoting; names of units, exit statuses, calendar expressions and time zones. Pure.
//!
//! Every parser takes the text as a person wrote it and returns either the value or a [`SyntaxError`] that
//! names the text and the cause; a file comes as bytes, and what it says keeps its line. Grammar: systemd.syntax(7),
//! systemd.time(7), systemd.resource-control(5).

mod arrange;
mod calendar;
mod cpus;
pub mod dropin;
mod exit;
pub mod file;
mod moment;
mod name;
mod number;
mod quote;
mod scalar;
mod share;
mod size;
mod span;
pub mod specifier;
mod words;
pub mod zone;

pub use arrange::{Arrange, Gather};
pub use calendar::{Calendar, CalendarZone};
pub use cpus::{CPU_MAX, cpu_list, show_cpus};
pub use exit::{exit_status, exit_status_name};
pub use moment::moment;
pub use name::{Kind, UnitName, escape_name, escape_path, unescape_name, unescape_path};
pub use number::{integer, unsigned};
pub use quote::{printable, quote, unescape, unescape_bytes};
pub use scalar::boolean;
pub use share::{percent_unbounded, permyriad};
pub use size::{show_size, size};
pub use span::{Span, TimeUnit, show_span, time_span};
pub use words::{Escapes, WordRules, first_word, words};

/// A text that is not what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {what} {}: {why}", printable(.text))]
pub struct SyntaxError {
    /// The kind of value, for example `size`.
    pub what: &'static str,
    /// The text that was given.
    pub text: String,
    /// Why it is refused.
    pub why: &'static str,
}

impl SyntaxError {
    pub(crate) fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        Self { what, text: text.to_owned(), why }
    }
}

#[cfg(test)]
mod tests;
