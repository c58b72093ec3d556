//! The systemd-nspawn dialect: its command line and settings files become a [`MachineSpec`]. Pure.
//!
//! ```text
//!  argv ──► getopt::fold ──► Doc ──► settings::merge ──► Doc ──► compile ──► Action::Run(MachineSpec)
//!           (glibc's rules)          (.nspawn files)     (--dump-doc)        or Help, Version, Print
//! ```
//! A new option is one row in `options/`, one arm in `compile/`, one line in the tests.

mod compile;
mod doc;
mod environment;
mod error;
mod getopt;

pub mod compat;
pub mod help;
pub mod options;
pub mod settings;

use std::ffi::OsString;

use hostel_spec::MachineSpec;

pub use compile::{bundle, compile, compile_over, default_spec};
pub use doc::{Doc, Entry, Origin};
pub use environment::{Environment, VARIABLES, VariableRow};
pub use error::{EXIT_STATUS, GetoptError, UsageError};
pub use getopt::fold;

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Run this machine.
    Run(Box<MachineSpec>),
    /// Take away what a killed supervisor of this machine left, and exit 0.
    Cleanup(Box<MachineSpec>),
    /// Print [`help::text`] and exit 0.
    Help,
    /// Print the version and exit 0.
    Version,
    /// Print this text, which ends in a line break, and exit 0.
    Print(String),
}

/// Parses and compiles a command line alone, without settings files; `args` goes without the program's name.
pub fn parse(args: &[OsString], env: &Environment) -> Result<Action, UsageError> {
    compile(&fold(args), env)
}

#[cfg(test)]
mod tests;
