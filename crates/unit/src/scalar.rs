//! Booleans.

use crate::SyntaxError;

/// Parses `1 yes y true t on` as true and `0 no n false f off` as false, in any case.
pub fn boolean(text: &str) -> Result<bool, SyntaxError> {
    const YES: [&str; 6] = ["1", "yes", "y", "true", "t", "on"];
    const NO: [&str; 6] = ["0", "no", "n", "false", "f", "off"];
    if YES.iter().any(|w| w.eq_ignore_ascii_case(text)) {
        Ok(true)
    } else if NO.iter().any(|w| w.eq_ignore_ascii_case(text)) {
        Ok(false)
    } else {
        Err(SyntaxError::new("boolean", text, "it is neither yes nor no"))
    }
}
