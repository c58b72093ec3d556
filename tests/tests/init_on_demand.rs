//! systemctl where neither systemd nor our init runs: a manager is begun for as long as it is needed.

use std::time::Duration;

use hostel_tests::init::WAIT;
use hostel_tests::{Bed, Tree};

/// Runs a script in a busybox tree with these units, below a stub init; gives what it printed.
fn result(bed: &Bed, units: &[(&str, &str)], script: &str) -> String {
    let tree: Tree = bed.busybox();
    for (name, text) in units {
        tree.write(&format!("/etc/systemd/system/{name}"), text);
    }
    let managers = "managers() { ps -o args | grep -c 'hostel [i]nit --on-demand'; }\n";
    tree.write("/check", format!("{WAIT}{managers}{script}\n"));
    tree.remove("/usr/bin/systemctl").write("/usr/bin/systemctl", "");
    let program = bed.hostel(["x"]).program();
    let bind = format!("--bind-ro={}:/usr/bin/systemctl", program.to_string_lossy());
    let outcome = bed.nspawn(&tree, ["--console=pipe", "--as-pid2", "-q"]).arg(bind).args(["/bin/sh", "/check"]).limit(Duration::from_secs(40)).run();
    let text = String::from_utf8_lossy(&outcome.exits(0).stdout).into_owned();
    println!("{text}");
    text
}

#[test]
fn services_are_started_kept_and_ended_without_any_init() {
    let Some(bed) = Bed::start() else { return };
    #[rustfmt::skip]
    let units = [
        ("web.service", "[Unit]\nWants=helper.service\nAfter=helper.service network-online.target\nWants=network-online.target\n\
                         [Service]\nExecStart=/bin/sh -c 'echo up; exec sleep 1000'\nRestart=always\nRestartSec=10ms\n"),
        ("helper.service", "[Service]\nType=oneshot\nExecStart=/bin/touch /run/helped\n"),
        // of the system's beginning, which was long ago: not started by what comes after it
        ("early.service", "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/touch /run/early\n"),
        ("online.service", "[Service]\nType=oneshot\nExecStart=/bin/touch /run/early\n"),
        ("sysinit.target", "[Unit]\nWants=early.service\n"),
        ("network-online.target", "[Unit]\nWants=online.service\n"),
    ];
    let text = result(
        &bed,
        &units,
        "echo none $(managers); systemctl start web; echo rc=$?; wait_for '[ $(managers) = 1 ]'; echo one $(managers); systemctl is-active web\n\
         ls /run/helped /run/early 2>&1 | sed 's/^/ls /'\n\
         p=$(systemctl show -p MainPID --value web); tr '\\0' ' ' < /proc/$p/cmdline; echo\n\
         kill -9 $p; wait_for '[ $(systemctl show -p MainPID --value web) != '$p' ] && systemctl is-active web'; echo again $(systemctl is-active web)\n\
         systemctl stop web; echo stop=$?; wait_for '[ $(managers) = 0 ]'; echo gone $(managers) $(ps -o args | grep -c '^sleep 1000')\n\
         systemctl status web | grep -c 'inactive (dead)'; systemctl start nope; echo nope=$?; wait_for '[ $(managers) = 0 ]'; echo gone $(managers)",
    );
    for line in ["none 0", "rc=0", "one 1", "active", "ls /run/helped", "sleep 1000 ", "again active", "stop=0", "gone 0 0", "1", "nope=5", "gone 0"]
    {
        assert!(text.lines().any(|l| l == line), "{line:?} in {text}");
    }
    assert!(!text.contains("ls /run/early"), "{text}");
}

#[test]
fn failures_and_what_was_said_keep_it() {
    let Some(bed) = Bed::start() else { return };
    let units = [("bad.service", "[Service]\nExecStart=/bin/sh -c 'exit 3'\nType=oneshot\n")];
    let text = result(
        &bed,
        &units,
        "systemctl start bad 2>/dev/null; echo rc=$?; sleep 0.1; echo kept $(managers); systemctl is-failed bad; systemctl reset-failed bad\n\
         wait_for '[ $(managers) = 0 ]'; echo gone $(managers)\n\
         systemctl set-environment A=b; sleep 0.1; systemctl show-environment | grep ^A=; systemctl unset-environment A; wait_for '[ $(managers) = 0 ]'; echo gone $(managers)",
    );
    for line in ["rc=1", "kept 1", "failed", "gone 0", "A=b"] {
        assert!(text.lines().any(|l| l == line), "{line:?} in {text}");
    }
}

#[test]
fn one_manager_for_many_callers_and_it_ends_no_machine() {
    let Some(bed) = Bed::start() else { return };
    let service = "[Service]\nExecStart=/bin/sleep 1001\n";
    let names: Vec<String> = (0..8).map(|n| format!("s{n}.service")).collect();
    let units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), service)).collect();
    let text = result(
        &bed,
        &units,
        "for round in 1 2 3; do for n in 0 1 2 3 4 5 6 7; do systemctl start s$n & done; wait; wait_for '[ $(ps -o args | grep -c ^/bin/sleep.1001) = 8 ]'; echo $round: $(managers) $(ps -o args | grep -c '^/bin/sleep 1001')\n\
         for n in 0 1 2 3 4 5 6 7; do systemctl stop s$n & done; wait; done; wait_for '[ $(managers) = 0 ]'; echo gone $(managers)\n\
         systemctl poweroff; echo off=$?; systemctl start s0; systemctl poweroff; echo off=$?; systemctl is-active s0; systemctl exit; wait_for '[ $(managers) = 0 ]'; echo gone $(managers)",
    );
    for line in ["1: 1 8", "2: 1 8", "3: 1 8", "gone 0", "off=1", "active"] {
        assert!(text.lines().any(|l| l == line), "{line:?} in {text}");
    }
    assert!(!text.contains("off=0"), "{text}");
}
