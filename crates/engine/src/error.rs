//! One error type for the engine: verb, object, cause, and a hint for the command line to print.

use std::fmt;
use std::io;

use hostel_spec::Hint;

/// What could not be done, to what, and why.
#[derive(Debug)]
pub struct Error {
    /// Verb in the infinitive: `mount`, `open`.
    pub verb: &'static str,
    /// What the verb was done to.
    pub object: String,
    /// Cause.
    pub cause: String,
    /// What the user can do; put into words, and printed, by the command line only.
    pub hint: Option<Hint>,
    /// The machine is busy (already running, or its tree is): a distinct exit status natively.
    pub busy: bool,
}

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Builds an error out of anything that can say its cause.
    pub fn new(verb: &'static str, object: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { verb, object: object.into(), cause: cause.to_string(), hint: None, busy: false }
    }
    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Marks it as "somebody else runs this".
    #[must_use]
    pub fn busy(mut self) -> Self {
        self.busy = true;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.verb, self.object, self.cause)
    }
}
impl std::error::Error for Error {}

/// The text of an I/O error without Rust's `(os error N)`.
pub fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

/// Turns an I/O result into an engine result.
pub trait Context<T> {
    /// Names what was being done.
    fn context(self, verb: &'static str, object: impl Into<String>) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, verb: &'static str, object: impl Into<String>) -> Result<T> {
        self.map_err(|e| Error::new(verb, object, io_text(&e)))
    }
}
impl<T> Context<T> for rustix::io::Result<T> {
    fn context(self, verb: &'static str, object: impl Into<String>) -> Result<T> {
        self.map_err(|e| Error::new(verb, object, io_text(&e.into())))
    }
}
