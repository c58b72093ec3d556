//! The supervisor's side of a machine's console.
