//! One error for the whole crate: a sentence and a number, as `error_string` and `error_num` want them.

use std::fmt::{self, Display};

use hostel_image::Cause;
use rustix::io::Errno;

/// What could not be done.
///
/// ```
/// use hostel_container::Container;
/// let error = Container::new("a/b", Some("/var/lib/lxc")).unwrap_err();
/// assert_eq!((error.to_string().as_str(), error.number), ("name container a/b: a slash is in it", 22));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Verb, object, cause.
    pub text: String,
    /// The nearest number of errno(3).
    pub number: i32,
}

/// Result of what can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl Error {
    /// An error of doing `verb` to `object` that nothing but `number` and `why` say more of.
    pub fn new(verb: &str, object: impl Display, why: impl Display, number: Errno) -> Error {
        Error::of(verb, &object, &why, number)
    }
    /// For whatever object and cause: once, not anew for each type of them.
    fn of(verb: &str, object: &dyn Display, why: &dyn Display, number: Errno) -> Error {
        Error { text: format!("{verb} {object}: {why}"), number: number.raw_os_error() }
    }
    /// Whether this is its number.
    pub(crate) fn is(&self, number: Errno) -> bool {
        self.number == number.raw_os_error()
    }
}

fn number(cause: &Cause) -> Errno {
    match cause {
        Cause::Os(errno) => *errno,
        Cause::NoSpace { .. } => Errno::NOSPC,
        Cause::Busy { .. } => Errno::BUSY,
        Cause::TooLarge => Errno::FBIG,
        Cause::NotRegular | Cause::Why(_) | Cause::Said(_) => Errno::INVAL,
    }
}

impl From<hostel_image::Error> for Error {
    fn from(error: hostel_image::Error) -> Error {
        Error { text: error.to_string(), number: number(&error.cause).raw_os_error() }
    }
}

/// `?` with verb and object.
pub(crate) trait On<T> {
    /// Makes the error one of doing `verb` to `object`.
    fn on(self, verb: &str, object: impl Display) -> Result<T>;
}

impl<T, E: Into<Cause>> On<T> for std::result::Result<T, E> {
    fn on(self, verb: &str, object: impl Display) -> Result<T> {
        self.map_err(|e| failed(verb, &object, &e.into()))
    }
}

fn failed(verb: &str, object: &dyn Display, cause: &Cause) -> Error {
    Error::of(verb, object, cause, number(cause))
}
