//! Entering a running machine.
