//! Pseudo terminals out of a given devpts instance.
