//! clone3, setns, pidfds, execveat.
