//! Stopping any init cleanly.
