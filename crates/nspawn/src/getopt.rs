//! The fold of getopt_long(3) in its `+` mode: options up to the first other argument, every spelling glibc takes.
//!
//! `--name=value`, `--name value`, unambiguous beginnings of names, clusters `-qbD dir`, `-Ddir`, and `--`.
//! Nothing is allocated but the list of entries and their values.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use hostel_spec::Arrange as _;

use crate::doc::{Doc, Entry, Origin};
use crate::error::{GetoptError, UsageError};
use crate::options::{self, OptionRow, Takes};

/// Folds `args` (without the program's name). Never fails: a bad option ends the fold and is kept in [`Doc::stopped`].
pub fn fold(args: &[OsString]) -> Doc {
    let mut fold = Fold { args, next: 0, doc: Doc { entries: Vec::with_capacity(args.len().min(32)), ..Doc::default() } };
    if let Err(error) = fold.options() {
        fold.doc.stopped = Some(error);
    } else {
        fold.doc.payload = args[fold.next..].to_vec();
    }
    fold.doc
}

struct Fold<'a> {
    args: &'a [OsString],
    /// Index of the next argument to look at.
    next: usize,
    doc: Doc,
}

impl Fold<'_> {
    fn options(&mut self) -> Result<(), UsageError> {
        while let Some(arg) = self.args.get(self.next) {
            match arg.as_bytes() {
                b"--" => {
                    self.next += 1;
                    return Ok(());
                }
                [b'-', b'-', name @ ..] => {
                    self.next += 1;
                    self.long(name)?;
                }
                [b'-', letters @ ..] if !letters.is_empty() => {
                    self.next += 1;
                    self.cluster(letters)?;
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn long(&mut self, argument: &[u8]) -> Result<(), UsageError> {
        let (name, attached) = match argument.iter().position(|b| *b == b'=') {
            Some(at) => (&argument[..at], Some(&argument[at + 1..])),
            None => (argument, None),
        };
        let at = self.next;
        let (row, name) = find_long(name, argument)?;
        let value = match (row.takes, attached) {
            (Takes::Nothing, Some(_)) => return Err(GetoptError::NotAllowed { name }.into()),
            (Takes::Nothing, None) | (Takes::Maybe(_) | Takes::MaybeNext(_), None) if !self.takes_next(row) => None,
            (_, Some(bytes)) => Some(text(row, bytes)?),
            _ => match self.take() {
                Some(next) => Some(text(row, next.as_bytes())?),
                None => return Err(GetoptError::Requires { name }.into()),
            },
        };
        self.push(row, value, at);
        Ok(())
    }

    fn cluster(&mut self, letters: &[u8]) -> Result<(), UsageError> {
        let at = self.next;
        for (i, letter) in letters.iter().enumerate() {
            let shown = if letter.is_ascii() { *letter as char } else { char::REPLACEMENT_CHARACTER };
            let Some(row) = options::by_short(*letter) else {
                return Err(GetoptError::InvalidLetter { letter: shown }.into());
            };
            if row.takes == Takes::Nothing {
                self.push(row, None, at);
                continue;
            }
            let rest = &letters[i + 1..];
            let value = if !rest.is_empty() {
                text(row, rest)?
            } else {
                match self.take() {
                    Some(next) => text(row, next.as_bytes())?,
                    None => return Err(GetoptError::LetterRequires { letter: shown }.into()),
                }
            };
            self.push(row, Some(value), at);
            break;
        }
        Ok(())
    }

    fn takes_next(&self, row: &OptionRow) -> bool {
        matches!(row.takes, Takes::MaybeNext(_)) && self.args.get(self.next).is_some_and(|a| !a.as_bytes().starts_with(b"-"))
    }

    fn take(&mut self) -> Option<&OsStr> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        Some(arg)
    }

    fn push(&mut self, row: &'static OptionRow, value: Option<String>, at: usize) {
        self.doc.entries.push(Entry { row, value, origin: Origin::Argv(at) });
    }
}

/// The option a long name means: the exact one, else the only one that begins so. Ours must be spelt out,
/// so that a script's abbreviation of an original option keeps working.
fn find_long(name: &[u8], argument: &[u8]) -> Result<(&'static OptionRow, &'static str), GetoptError> {
    if let Some(row) = options::by_long(name) {
        let long = row.long.iter().find(|l| l.as_bytes() == name).copied().unwrap_or_default();
        return Ok((row, long));
    }
    let candidates = || {
        options::rows()
            .filter(|r| !r.is_extension())
            .flat_map(|row| row.long.iter().map(move |long| (row, *long)))
            .filter(|(_, long)| long.as_bytes().starts_with(name))
    };
    let argument = || String::from_utf8_lossy(argument).into_owned();
    let mut all = candidates();
    match (all.next(), all.next()) {
        (None, _) => Err(GetoptError::Unrecognized { argument: argument() }),
        (Some(only), None) => Ok(only),
        _ => {
            let mut possible: Vec<&'static str> = candidates().map(|(_, long)| long).collect();
            possible.arrange_by_key(|long| options::original_rank(long));
            Err(GetoptError::Ambiguous { argument: argument(), possible })
        }
    }
}

fn text(row: &OptionRow, bytes: &[u8]) -> Result<String, UsageError> {
    let refuse = |why| UsageError::value(row, String::from_utf8_lossy(bytes), why);
    if bytes.contains(&0) {
        return Err(refuse("it contains a NUL byte"));
    }
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| refuse("it is not UTF-8"))
}
