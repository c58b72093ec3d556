//! `hostel remove`: delete images. What `run --keep` kept is deleted by `hostel rm`.

use std::ffi::OsString;

use hostel_image::images;

use super::image::{hinted, names, with_places};
use super::{Failure, Outcome, Verb};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "remove",
    args: "NAME...",
    about: "delete images with their settings, without asking; none that runs",
    options: &[],
    examples: &[("hostel remove web", "its name is gone at once, its files a moment later"), ("hostel rm try1", "for what `hostel run --keep` kept")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let Some(names) = names(&VERB, args, 1, usize::MAX)? else { return Ok(0) };
    // All that can be are removed; the last failure is the verb's, those before it are told here.
    let mut failed: Option<hostel_engine::error::Error> = None;
    for name in &names {
        if let Err(error) = with_places(|places| images::remove(places, name))
            && let Some(earlier) = failed.replace(hinted(error.into()))
        {
            output::tell(format_args!("hostel: {earlier}"));
        }
    }
    failed.map_or(Ok(0), |error| Err(Failure::Engine(error)))
}
