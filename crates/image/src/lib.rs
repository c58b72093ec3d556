//! Trees at rest: open, copy, snapshot, shift, remove.
