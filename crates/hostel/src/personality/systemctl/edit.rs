//! `edit --stdin`: a drop-in, or a whole unit file, out of standard input.

use std::io::Read;

use hostel_init::catalogue::Found;
use hostel_unit::dropin;

use super::options::Options;
use super::say::names;
use super::{Outcome, catalogue, root};
use crate::output;

/// Longest text that is taken.
const TEXT_MAX: u64 = 1 << 20;

pub(super) fn edit(options: &Options, words: &[String]) -> Outcome {
    if !options.stdin {
        return Err("edit without --stdin is not implemented yet: no editor is run.".to_owned());
    }
    let drop_in = match &options.drop_in {
        None => "override.conf".to_owned(),
        Some(name) if name.ends_with(".conf") => name.clone(),
        Some(name) => format!("{name}.conf"),
    };
    if !dropin::is_dropin(&drop_in) {
        return Err(format!("Invalid drop-in file name '{drop_in}'."));
    }
    let names = names("edit", words)?;
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    for name in &names {
        match catalogue.find(name) {
            Found::File { .. } => {}
            Found::Masked { .. } => return Err(format!("Cannot edit {name}: unit is masked.")),
            _ if options.force => {}
            _ => return Err(format!("No files found for {name}.\nRun 'systemctl edit --force --full {name}' to create a new unit.")),
        }
    }
    let mut text = Vec::new();
    std::io::stdin().lock().take(TEXT_MAX + 1).read_to_end(&mut text).map_err(|e| format!("Failed to read standard input: {e}"))?;
    if text.len() as u64 > TEXT_MAX {
        return Err("Standard input is longer than 1 MiB.".to_owned());
    }
    // what could not be read back is not written
    hostel_unit::file::File::parse(&text).map_err(|e| format!("Standard input is no unit file: line {}: {}", e.line, e.why))?;
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err("Edit canceled: standard input is empty.".to_owned());
    }
    let config = catalogue.search.config(options.runtime);
    for name in &names {
        let path = if options.full { format!("{config}/{name}") } else { format!("{config}/{name}.d/{drop_in}") };
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        root.make_directories(directory).and_then(|()| root.write(&path, &text)).map_err(|e| format!("Failed to edit {name}: {e}"))?;
        if !options.quiet {
            output::tell(format_args!("Successfully installed edited file '{}'.", root.shown(&path)));
        }
    }
    Ok(0)
}
