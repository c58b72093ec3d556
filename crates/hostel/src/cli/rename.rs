//! `hostel rename`: another name for an image that does not run.

use std::ffi::OsString;

use hostel_image::images;

use super::image::{names, told, with_places};
use super::{Outcome, Verb};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "rename",
    args: "OLD NEW",
    about: "rename an image, with its settings, root hash and place among those that are enabled",
    options: &[],
    examples: &[("hostel rename debian debian-12", "what is running under a name is not renamed")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let Some(names) = names(&VERB, args, 2, 2)? else { return Ok(0) };
    told(with_places(|places| images::rename(places, &names[0], &names[1])))?;
    Ok(0)
}
