//! What this host can do, captured once.
