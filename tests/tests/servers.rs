//! apt in a machine whose init is hostel's: three servers are installed, started, restarted, stopped. `scripts/servers.sh` has them all.
//!
//! Without a `Bed`: its network leads nowhere, and packages come from a mirror. The machine has a cable of its own.

use std::path::Path;
use std::process::Command;

#[test]
fn three_servers_from_apt() {
    if std::env::var_os("HOSTEL_QUICK").is_some() {
        return println!("skipped: HOSTEL_QUICK is set, and this takes a Debian tree and a mirror");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let program = hostel_tests::binary("hostel", "HOSTEL_BIN");
    let out = Command::new(root.join("scripts/servers.sh")).args(["cron", "nginx", "redis-server"]).env("HOSTEL_BIN", program).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if out.status.code() == Some(77) {
        return println!("{}", errors.lines().last().unwrap_or("skipped"));
    }
    assert!(out.status.success() && said.contains("servers: 3 of 3"), "{said}\n{errors}");
}
