//! The systemd file language: sizes, time spans, quoting, specifiers. Pure.
