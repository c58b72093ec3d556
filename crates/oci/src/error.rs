//! Why a `config.json` is refused: one line that names the key.

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not the JSON that the specification describes.
    #[error("read config.json: {0}")]
    Json(String),
    /// A value that cannot be.
    #[error("config.json: {key}: {why}")]
    Value {
        /// The key, dots between its parts.
        key: String,
        /// The cause.
        why: String,
    },
    /// Known, but not built.
    #[error("config.json: {key}: not implemented yet{}{why}", if .why.is_empty() { "" } else { ": " })]
    NotYet {
        /// The key, dots between its parts.
        key: String,
        /// Why it waits, or what does it.
        why: &'static str,
    },
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

pub(crate) fn value(key: impl Into<String>, why: impl Into<String>) -> Error {
    Error::Value { key: key.into(), why: why.into() }
}

pub(crate) fn not_yet(key: impl Into<String>, why: &'static str) -> Error {
    Error::NotYet { key: key.into(), why }
}
