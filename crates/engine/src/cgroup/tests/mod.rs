//! Tables for the pure parts; the kernel itself for the rest, as root, with machines named `hostel-test-…`.

mod kernel;
mod layout;
mod limits;
mod recovery;
mod speed;

use rustix::process::geteuid;

/// Says why and returns true where a test cannot run.
fn not_root(test: &str) -> bool {
    if geteuid().is_root() {
        return false;
    }
    eprintln!("skipped {test}: needs root");
    true
}
