//! The caller's own terminal: raw mode, size.
