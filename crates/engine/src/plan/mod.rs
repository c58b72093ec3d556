//! The ordered steps that make a spec true.
