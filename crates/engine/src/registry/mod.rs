//! Which machines run: state directories, locks, recovery.
