//! The one process that owns a running machine.
