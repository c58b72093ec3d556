//! Every init we have a tree for: boot, enter, stop early, late and twice, reboot; its file system stays writable; nothing is left.

use std::path::Path;
use std::time::Duration;

use hostel_tests::{Bed, Value, eventually};

/// How long a boot or a stop may take here (openrc on sysvinit needs five seconds on an idle machine).
const LONG: Duration = Duration::from_secs(40);

/// One init: its tree, what `ps` calls it, and options it needs.
struct Init {
    tree: &'static str,
    shown: &'static str,
    options: &'static [&'static str],
}

const SYSTEMD: Init = Init { tree: "debian", shown: "systemd", options: &[] };
const SYSTEMD_257: Init = Init { tree: "trixie", shown: "systemd", options: &[] };
const SYSTEMD_SID: Init = Init { tree: "sid", shown: "systemd", options: &[] };
const SYSVINIT: Init = Init { tree: "sysvinit", shown: "sysvinit", options: &[] };
const SYSVINIT_3: Init = Init { tree: "sysvinit3", shown: "sysvinit", options: &[] };
const OPENRC: Init = Init { tree: "openrc", shown: "sysvinit", options: &[] };
const OPENRC_INIT: Init = Init { tree: "openrc-init", shown: "openrc-init", options: &[] };
const RUNIT: Init = Init { tree: "runit", shown: "runit", options: &[] };
const FINIT: Init = Init { tree: "finit", shown: "finit", options: &[] };
const S6: Init = Init { tree: "s6", shown: "s6", options: &[] };
const BUSYBOX: Init = Init { tree: "bbinit", shown: "busybox", options: &[] };
const BUSYBOX_BARE: Init = Init { tree: "busybox", shown: "busybox", options: &[] };
const TINI: Init = Init { tree: "tini", shown: "tini", options: &[] };

/// A machine of this init on a disk of its own.
struct Booted<'a> {
    bed: &'a Bed,
    init: &'static Init,
    name: String,
    disk: std::path::PathBuf,
}

impl<'a> Booted<'a> {
    #[track_caller]
    fn start(bed: &'a Bed, init: &'static Init) -> Option<Booted<'a>> {
        let tree = bed.tree_on_own_file_system(init.tree)?;
        let name = bed.name();
        let disk = tree.path().parent().expect("a parent").to_path_buf();
        let outcome = bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).args(init.options).limit(LONG).run().exits(0);
        assert!(!outcome.pipes_held, "{}", outcome.describe());
        Some(Booted { bed, init, name, disk })
    }
    fn row(&self) -> Option<Value> {
        let all = self.bed.hostel(["ps", "--json"]).run().exits(0).json();
        all.as_array().into_iter().flatten().find(|m| m["name"] == self.name.as_str()).cloned()
    }
    fn leader(&self) -> Option<i64> {
        self.row().and_then(|m| m["leader"].as_i64().or_else(|| m["leader"]["pid"].as_i64()))
    }
    #[track_caller]
    fn wait_up(&self) {
        let up = eventually(LONG, || self.bed.hostel(["exec", &self.name, "test", "-e", "/run/hostel-test-up"]).run().code == Some(0));
        assert!(up, "{} did not come up: {}", self.init.tree, self.bed.hostel(["logs", &self.name]).run().describe());
    }
    /// It is gone, its cgroups and mounts too, and its file system can still be written: the guest's shutdown did not flip it.
    #[track_caller]
    fn assert_gone(&self) {
        assert!(eventually(LONG, || self.row().is_none()), "{} is still there: {:?}", self.init.tree, self.row());
        let canary = self.disk.join("still-writable");
        std::fs::write(&canary, "yes").unwrap_or_else(|e| panic!("{}: the host's file system was made read-only: {e}", self.init.tree));
        self.bed.assert_clean();
    }
    #[track_caller]
    fn stop(&self) -> Duration {
        let outcome = self.bed.hostel(["stop", &self.name]).limit(Duration::from_secs(100)).run().exits(0);
        assert!(!outcome.errors().contains("killed"), "{} did not end by itself: {}", self.init.tree, outcome.describe());
        outcome.time
    }
}

/// The command that asks for the end is no zombie that keeps the machine from ending (it was, until the supervisor woke up).
#[test]
fn the_asking_command_is_reaped_at_once() {
    let Some(bed) = Bed::start() else { return };
    let Some(machine) = Booted::start(&bed, &OPENRC) else { return };
    machine.wait_up();
    std::thread::sleep(Duration::from_secs(3));
    let supervisor = machine.row().and_then(|m| m["supervisor"].as_i64()).expect("a supervisor");
    let stopping = bed.hostel(["stop", &machine.name]).start();
    // A zombie of the supervisor's is seen at two looks in a row only if nobody reaps it.
    let mut before: Vec<i64> = Vec::new();
    let ended = eventually(LONG, || {
        let now = zombies_of(supervisor);
        let both: Vec<&i64> = now.iter().filter(|pid| before.contains(pid)).collect();
        assert!(both.is_empty(), "not reaped: {both:?}");
        before = now;
        std::thread::sleep(Duration::from_millis(700));
        stopping.has_ended()
    });
    assert!(ended, "it still runs");
    stopping.finish(LONG).exits(0);
    machine.assert_gone();
}

fn zombies_of(parent: i64) -> Vec<i64> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let is_zombie = |pid: &i64| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "));
    children.split_whitespace().filter_map(|c| c.parse().ok()).filter(is_zombie).collect()
}

#[track_caller]
fn boots_and_stops(init: &'static Init) {
    let Some(bed) = Bed::start() else { return };
    let Some(machine) = Booted::start(&bed, init) else { return };
    machine.wait_up();
    let row = machine.row().expect("listed");
    assert_eq!(row["init"], init.shown, "{row}");
    bed.hostel(["exec", &machine.name, "sh", "-c", "exit 23"]).run().exits(23);
    bed.hostel(["exec", &machine.name, "hostname"]).run().exits(0);
    let time = machine.stop();
    println!("{}: stopped in {time:?}", init.tree);
    machine.assert_gone();
}

#[track_caller]
fn stops_early(init: &'static Init) {
    let Some(bed) = Bed::start() else { return };
    for pause in [0, 100, 500] {
        let Some(machine) = Booted::start(&bed, init) else { return };
        std::thread::sleep(Duration::from_millis(pause));
        let outcome = bed.hostel(["stop", &machine.name]).limit(Duration::from_secs(110)).run().exits(0);
        println!("{}: stopped {pause} ms after its start in {:?}", init.tree, outcome.time);
        machine.assert_gone();
    }
}

#[track_caller]
fn stops_twice_at_once(init: &'static Init) {
    let Some(bed) = Bed::start() else { return };
    let Some(machine) = Booted::start(&bed, init) else { return };
    machine.wait_up();
    let one = bed.hostel(["stop", &machine.name]).start();
    let two = bed.hostel(["stop", &machine.name]).start();
    let (one, two) = (one.finish(Duration::from_secs(100)), two.finish(Duration::from_secs(100)));
    assert!(one.code == Some(0) || two.code == Some(0), "{}\n{}", one.describe(), two.describe());
    assert!(!one.timed_out && !two.timed_out);
    machine.assert_gone();
    let again = bed.hostel(["stop", &machine.name]).run();
    assert!(!again.timed_out && again.code == Some(0), "stopping what is stopped is done already: {}", again.describe());
    let strict = bed.hostel(["stop", "--strict", &machine.name]).run();
    assert_eq!(strict.code, Some(3), "{}", strict.describe());
}

#[track_caller]
fn reboots(init: &'static Init, how: &[&str]) {
    let Some(bed) = Bed::start() else { return };
    let Some(machine) = Booted::start(&bed, init) else { return };
    machine.wait_up();
    let first = machine.leader().expect("a leader");
    bed.hostel(["exec", &machine.name]).args(how).run().ends();
    assert!(eventually(LONG, || machine.leader().is_some_and(|l| l != first)), "{} did not come again", init.tree);
    machine.wait_up();
    machine.stop();
    machine.assert_gone();
}

/// Four tests for one init.
macro_rules! matrix {
    ($($name:ident: $init:ident, reboot [$($word:literal),*];)*) => { $(
        mod $name {
            #[test] fn boots_and_stops() { super::boots_and_stops(&super::$init); }
            #[test] fn stops_early() { super::stops_early(&super::$init); }
            #[test] fn stops_twice_at_once() { super::stops_twice_at_once(&super::$init); }
            #[test] fn reboots() { super::reboots(&super::$init, &[$($word),*]); }
        }
    )* };
}

matrix! {
    systemd_252: SYSTEMD, reboot ["systemctl", "--no-block", "reboot"];
    systemd_257: SYSTEMD_257, reboot ["systemctl", "--no-block", "reboot"];
    systemd_sid: SYSTEMD_SID, reboot ["systemctl", "--no-block", "reboot"];
    sysvinit_3_06: SYSVINIT, reboot ["init", "6"];
    sysvinit_3_14: SYSVINIT_3, reboot ["init", "6"];
    openrc_on_sysvinit: OPENRC, reboot ["init", "6"];
    openrc_init: OPENRC_INIT, reboot ["openrc-shutdown", "--reboot", "now"];
    runit: RUNIT, reboot ["init", "6"];
    finit: FINIT, reboot ["initctl", "reboot"];
    s6: S6, reboot ["sh", "-c", "echo reboot >/run/s6-ends-as; exec s6-svscanctl -t /run/service"];
    busybox: BUSYBOX, reboot ["reboot"];
}

#[test]
fn busybox_without_an_inittab() {
    boots_and_stops(&BUSYBOX_BARE);
}

#[test]
fn a_stub_ends_with_its_program() {
    boots_and_stops(&TINI);
}

#[test]
fn systemd_exit_code_becomes_ours() {
    let Some(bed) = Bed::start() else { return };
    let Some(tree) = bed.tree("debian") else { return };
    let name = bed.name();
    let running = bed.hostel(["nspawn", "-q", "--register=no", "--keep-unit", "-b", "-M", &name, "-D"]).arg(tree.path()).start();
    running.expect("HOSTEL-TEST-UP");
    bed.hostel(["exec", &name, "systemctl", "exit", "7"]).run().ends();
    running.finish(LONG).exits(7);
}

#[test]
fn systemd_boots_under_the_nspawn_personality_in_every_user_mode() {
    let Some(bed) = Bed::start() else { return };
    for options in [&[][..], &["-U"], &["--private-network"], &["--volatile=overlay"], &["-U", "--network-veth"]] {
        let Some(tree) = bed.tree_on_own_file_system("debian") else { return };
        let running = bed.nspawn(&tree, options).arg("-b").start();
        running.expect("HOSTEL-TEST-UP").signal(hostel_tests::Signal::TERM);
        let outcome = running.finish(LONG).exits(0);
        assert!(!outcome.text().contains("Failed to create /init.scope"), "{options:?}: {}", outcome.describe());
        assert!(
            !Path::new("/sys/fs/cgroup/unified/init.scope").exists() && !Path::new("/sys/fs/cgroup/systemd/init.scope").exists(),
            "{options:?}: cgroups in the host's root"
        );
    }
}

#[test]
fn systemd_is_running_without_failed_units() {
    let Some(bed) = Bed::start() else { return };
    let Some(machine) = Booted::start(&bed, &SYSTEMD) else { return };
    machine.wait_up();
    let settled = eventually(LONG, || bed.hostel(["exec", &machine.name, "systemctl", "is-system-running"]).run().text().trim() == "running");
    let failed = bed.hostel(["exec", &machine.name, "systemctl", "--failed", "--no-legend", "--plain"]).run();
    assert!(settled, "degraded: {}", failed.describe());
    machine.stop();
    machine.assert_gone();
}
