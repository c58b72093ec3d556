//! Streams between the caller and a process in a machine.
