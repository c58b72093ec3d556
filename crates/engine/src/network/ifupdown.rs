//! The host's ends of cables that go to no bridge are what /etc/network/interfaces says of them, where ifupdown is installed.

use std::path::Path;

use hostel_spec::OsText;

use super::wire::Wiring;
use crate::image::program;
use crate::program::Program;

/// Sets up what goes to no bridge, and VLANs.
pub(super) fn raise(wiring: &Wiring, raised: &mut Vec<String>, notices: &mut Vec<String>) {
    let ends = wiring.extra.iter().filter_map(|c| Some((c, c.ends.as_ref()?)));
    let names = ends.flat_map(|(cable, ends)| {
        let known = ends.bridge.is_some() || wiring.host.iter().any(|end| end.name == cable.host);
        let own = (!known).then(|| cable.host.clone());
        own.into_iter().chain(ends.vlans.iter().map(|id| format!("{}.{id}", cable.host)))
    });
    for name in names {
        if program("ifup").is_none() {
            notices.push(format!("{name} is up and has no address: ifup is not installed"));
            continue;
        }
        // What it believes of a former interface of that name.
        if run("ifquery", &["--state", &name]).is_some_and(|told| !told.is_empty()) {
            lower(&name);
        }
        match run("ifup", &[&name]) {
            Some(_) => raised.push(name),
            None => notices.push(format!("{name} is up, but ifup did not set it up")),
        }
    }
}

/// Takes an interface down for ifupdown, whether it is still there or not.
pub(super) fn lower(name: &str) {
    let _ = run("ifdown", &["--force", name]);
}

/// What it printed; `None`: it is missing, or failed.
fn run(name: &str, args: &[&str]) -> Option<Vec<u8>> {
    let path = program(name)?.into_os_string().into();
    let words: Vec<OsText> = std::iter::once(path).chain(args.iter().map(|word| (*word).into())).collect();
    let env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin".into()];
    Program { words: &words, directory: Path::new("/"), env: &env, log: Path::new("/var/log/hostel/ifup.log") }.run().ok()
}
