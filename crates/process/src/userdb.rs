//! Users and groups of a given root, read from its files.
