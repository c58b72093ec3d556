//! `-M NAME`: units of a machine of this host, asked of `hostel init` in it, or of its tree at rest.

use std::ffi::OsString;

use hostel_engine::stop::Evidence;
use hostel_image::open::{self, Kind};
use hostel_spec::OsText;

use super::options::Options;
use super::{Outcome, dispatch};
use crate::cli::exec::{Order, run_in};
use crate::cli::look;
use crate::foreign;
use crate::personality::nspawn_enter::failed;

/// This system itself, as there.
pub(super) const HERE: &str = ".host";

/// Does in a machine what the command line asks for.
pub(super) fn run(asked: &str, options: &Options, words: &[String], args: &[OsString]) -> Outcome {
    if options.root.is_some() {
        return Err("Please specify at most one of --root=, --machine=.".to_owned());
    }
    let name = look::name(asked.as_ref()).map_err(|_| format!("{asked:?} is no name of a machine."))?;
    let leader = match foreign::leader(&name) {
        Ok(leader) => leader,
        Err(why) => {
            return match open::find(&name) {
                Ok(open::Found { kind: Kind::Directory | Kind::Subvolume, path }) => {
                    dispatch(&Options { root: Some(path), machine: None, ..options.clone() }, words)
                }
                _ => Err(format!("Failed to connect to machine {name}: {why}")),
            };
        }
    };
    if Evidence::at_a_glance(&leader).label() != "hostel" {
        return Err(format!("Failed to connect to machine {name}: its init is another one; `hostel exec {name} systemctl` asks that."));
    }
    let mut order = Order::new(name);
    // its own program is this one; the first of several names of machines counts
    let own = ["/proc/1/exe", "ctl", "--machine", HERE].map(OsText::from);
    order.process.argv = own.into_iter().chain(args.iter().cloned().map(OsText::from)).collect();
    run_in(&order).map_err(|failure| {
        failed("systemctl", &failure);
        String::new()
    })
}
