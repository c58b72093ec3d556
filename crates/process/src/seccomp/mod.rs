//! System call policies as programs.
