//! `hostel login`: a login prompt of a running machine, on a terminal of its own.

use std::ffi::OsString;
use std::path::Path;

use hostel_engine::aside;
use hostel_engine::error::{Error, Result};
use hostel_image::inroot;
use hostel_spec::{MachineName, OsText};
use rustix::fs::FileType;

use super::exec::{self, Order};
use super::{Outcome, Verb, look};
use crate::foreign;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "login",
    args: "NAME",
    about: "a login prompt of a running machine, whatever its init",
    options: &[],
    examples: &[("hostel login debian", "asks for user and password; ^] three times within a second leaves; `hostel shell` asks nothing")],
    run,
};

/// What asks for a name, best first. Each takes the terminal it is started on.
const PROMPTS: [(&str, &[&str]); 8] = [
    ("/sbin/agetty", &AGETTY),
    ("/usr/sbin/agetty", &AGETTY),
    ("/bin/login", &[]),
    ("/usr/bin/login", &[]),
    ("/usr/local/bin/login", &[]),
    ("/sbin/getty", &GETTY),
    ("/bin/getty", &GETTY),
    ("/bin/busybox", &["login"]),
];
const AGETTY: [&str; 5] = ["--noclear", "--keep-baud", "--noreset", "-", "38400"];
const GETTY: [&str; 2] = ["0", "-"];

fn run(args: &[OsString]) -> Outcome {
    let Some(name) = look::only_name(&VERB, args, |_| false)? else { return Ok(0) };
    login(name)
}

/// Shows the prompt until it ends.
pub(crate) fn login(name: MachineName) -> Outcome {
    let argv = prompt(&name)?;
    let mut order = Order::new(name);
    order.process.argv = argv;
    order.tty = Some(true);
    order.escape = true;
    exec::run_in(&order)
}

/// The first program there is.
fn prompt(name: &MachineName) -> Result<Vec<OsText>> {
    let leader = foreign::leader(name)?;
    let root = leader.root()?;
    let is_program = |path: &str| {
        inroot::stat(root, Path::new(path)).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile && s.st_mode & 0o111 != 0)
    };
    let which = aside::ask(aside::PATIENCE, &mut || PROMPTS.iter().position(|(path, _)| is_program(path)).map(|at| at as u8).into_iter().collect());
    let found = which.as_deref().and_then(|at| PROMPTS.get(usize::from(*at.first()?)));
    let (path, arguments) = found.ok_or_else(|| {
        let error = Error::new("log in to", format!("machine {name}"), "it has none of agetty, login, getty and busybox");
        error.hint(format!("`hostel shell {name}` needs none of them"))
    })?;
    Ok(std::iter::once(*path).chain(arguments.iter().copied()).map(OsText::from).collect())
}
