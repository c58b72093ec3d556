//! `hostel set-limit`: how large an image may grow.

use std::ffi::OsString;

use hostel_engine::error::Error;
use hostel_image::images::{self, Places};
use lexopt::Arg::{Long, Short, Value};

use super::image::{size, told};
use super::{Failure, Outcome, Verb, look};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "set-limit",
    args: "NAME BYTES",
    about: "limit how large a btrfs subvolume may grow (quota); `-` takes the limit away",
    options: &[],
    examples: &[("hostel set-limit web 10G", "needs quotas on that file system: btrfs quota enable")],
    run,
};

fn run(args: &[OsString]) -> Outcome {
    let mut words = lexopt::Parser::from_args(args);
    let mut given = Vec::new();
    while let Some(arg) = words.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(output::show(&super::verb_help(&VERB))),
            Value(word) if given.len() < 2 => given.push(word),
            other => return Err(other.unexpected().into()),
        }
    }
    let (name, bytes) = match &given[..] {
        [name, bytes] => (look::name(name)?, size(&bytes.to_string_lossy())?),
        [bytes] => {
            size(&bytes.to_string_lossy())?;
            let error = Error::new("limit", "the pool of images", "there is no pool of its own, images lie in the file system of /var/lib/machines");
            return Err(Failure::Engine(error.hint("name an image to limit that one")));
        }
        _ => return Err(Failure::Usage("set-limit takes an image and a size".into())),
    };
    told(images::set_limit(&Places::host(), &name, bytes))?;
    Ok(0)
}
