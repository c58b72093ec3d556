//! `hostel clone`: an image once more, under another name.

use std::ffi::OsString;

use hostel_image::images::{self, Places};

use super::image::{names, told};
use super::progress::Bar;
use super::{Outcome, Verb};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "clone",
    args: "OLD NEW",
    about: "copy an image and its settings: as a snapshot or sharing blocks where that can be done",
    options: &[],
    examples: &[("hostel clone debian web", "a second one to change")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let Some(names) = names(&VERB, args, 2, 2)? else { return Ok(0) };
    let bar = Bar::new(&format!("copying {}", names[0]), None);
    let done = images::clone(&Places::host(), &names[0], &names[1], Some(&|p| bar.set(p.bytes)));
    bar.end();
    told(done)?;
    Ok(0)
}
