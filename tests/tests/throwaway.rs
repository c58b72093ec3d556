//! What a run throws away is made in directories that may be somebody else's: he moves it about, cleans up beside it, kills.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Signal, Trap, Tree, eventually};

const SOON: Duration = Duration::from_secs(15);

/// The directories of a kind in `directory`.
fn found(directory: &Path, start: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("list");
    entries.flatten().map(|e| e.path()).filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(start))).collect()
}

/// The layer of a running `-x` machine.
#[track_caller]
fn layer(tree: &Tree) -> PathBuf {
    let mut all = found(tree.path().parent().expect("parent"), ".#hostel-ephemeral-");
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// A link to the trap in its place; where it is then.
fn exchange(path: &Path, trap: &Trap) -> PathBuf {
    let away = path.with_file_name("moved-away");
    std::fs::rename(path, &away).and_then(|()| symlink(trap.path(), path)).expect("exchange");
    away
}

/// A directory that the machine sees as /mnt, and waits for a file in.
fn signals(bed: &Bed) -> (PathBuf, String) {
    let dir = bed.fresh("signals");
    let bind = format!("--bind={}:/mnt", dir.display());
    (dir, bind)
}

const WRITES: &str =
    "echo up; until [ -e /mnt/go ]; do sleep 0.1; done; echo text > /root/later && mkdir /root/dir && cat /root/later && echo written";

#[test]
fn nobody_sweeps_the_layer_of_a_running_machine() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let (go, bind) = signals(&bed);
    let running = bed.nspawn(&tree, ["-x", &bind, "sh", "-c", WRITES]).start();
    running.expect("up");
    let layer = layer(&tree);
    // A template is copied to the same directory: what killed ones left there is swept.
    let left = layer.with_file_name(".#hostel-ephemeral-left-0");
    std::fs::create_dir(&left).expect("mkdir");
    let other = bed.hostel(["nspawn", "--quiet", "--register=no", "--keep-unit", "-D"]).arg(tree.path().with_file_name("other"));
    let template = format!("--template={}", tree.path().display());
    other.args([&template, "/probe", "say", "copied"]).run().exits(0).prints("copied");
    assert!(!left.exists(), "nothing was swept");
    bed.clean();
    assert!(layer.join("upper").exists(), "the layer of a running machine was swept");
    std::fs::write(go.join("go"), "").expect("write");
    running.finish(SOON).exits(0).prints_with("written");
    assert!(!layer.exists());
}

#[test]
fn a_layer_that_is_exchanged_is_the_machines_all_the_same() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let trap = Trap::set(bed.dir().join("trap"));
    for dir in ["upper", "work"] {
        std::fs::create_dir(trap.path().join(dir)).expect("mkdir");
    }
    let trap = Trap::watch(trap.path().into());
    // Each life opens the layer anew: what the second writes must be beside what the first wrote.
    let script = "#!/bin/sh\n[ -e /first ] && { echo two >/second; exec /probe say second then sleep; }\necho one >/first; echo first; until [ -e /mnt/go ]; do sleep 0.1; done; exec /probe reboot\n";
    tree.remove("/usr/sbin/init").write("/usr/sbin/init", script).executable("/usr/sbin/init");
    let name = bed.name();
    let (go, bind) = signals(&bed);
    // With --keep-unit it would be somebody else who starts it again.
    let running = bed.hostel(["nspawn", "--quiet", "--register=no", "-x", "-b", &bind, "-M", &name, "-D"]).arg(tree.path()).start();
    running.expect("first");
    let link = layer(&tree);
    let away = exchange(&link, &trap);
    std::fs::write(go.join("go"), "").expect("write");
    running.expect("second");
    assert_eq!(std::fs::read_to_string(away.join("upper/second")).expect("what the second life wrote"), "two\n");
    bed.hostel(["stop", "--force", &name]).run();
    running.finish(SOON);
    trap.assert_untouched("a layer that was exchanged");
    // What it had is gone, what is in its place is not ours.
    assert_eq!(std::fs::read_dir(&away).expect("list").count(), 0);
    std::fs::remove_dir(&away).and_then(|()| std::fs::remove_file(&link)).expect("remove");
}

#[test]
fn a_link_in_the_place_of_what_a_killed_run_left_blocks_no_name() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let trap = Trap::set(bed.dir().join("trap"));
    for options in [&["-x"][..], &["--overlay=/usr/share:+/srv/sub:/mnt"]] {
        std::fs::create_dir_all(tree.at("/srv/sub")).expect("mkdir");
        let name = bed.name();
        let running = bed.nspawn(&tree, ["-M", &name]).args(options).args(["/probe", "say", "up", "then", "sleep"]).start();
        running.expect("up");
        let mut made = found(tree.path().parent().expect("parent"), ".#hostel-ephemeral-");
        made.extend(found(&tree.at("/srv"), ".#hostel-work-"));
        let links: Vec<_> = made.iter().map(|path| (path, exchange(path, &trap))).collect();
        running.signal(Signal::KILL);
        running.finish(SOON);
        bed.clean();
        bed.nspawn(&tree, ["-M", &name, "/probe", "say", "again"]).run().exits(0).prints("again");
        trap.assert_untouched("the place of what a killed run left");
        for (link, away) in links {
            std::fs::remove_dir_all(away).and_then(|()| std::fs::remove_file(link)).expect("remove");
        }
    }
}

#[test]
fn a_swapper_of_layers_leads_no_machine_elsewhere() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let trap = Trap::set(bed.dir().join("trap"));
    for dir in ["upper", "work"] {
        std::fs::create_dir(trap.path().join(dir)).expect("mkdir");
    }
    let trap = Trap::watch(trap.path().into());
    let place = tree.path().parent().expect("parent");
    let script = format!(
        "cd {}; n=0; while :; do for l in .#hostel-ephemeral-*; do [ -d \"$l\" ] && [ ! -L \"$l\" ] && n=$((n+1)) && \
         mv -T \"$l\" \"stolen$n\" && ln -s {} \"$l\"; done; done 2>/dev/null",
        place.display(),
        trap.path().display()
    );
    let swapper = Invocation::new("/bin/bash").args(["-c", &script]).start();
    let mut stolen = 0;
    for n in 0..40 {
        let name = format!("{}-{n}", bed.name());
        let outcome = bed.nspawn(&tree, ["-x", "-M", &name, "sh", "-c", "echo text >/written; echo ran"]).limit(SOON).run();
        assert!(!outcome.timed_out, "{}", outcome.describe());
        trap.assert_untouched("a layer that was swapped while it was made");
        bed.hostel(["clean"]).run().exits(0);
        stolen += found(place, "stolen").len();
    }
    swapper.signal(Signal::KILL);
    swapper.finish(SOON);
    assert!(stolen > 0, "the swapper never had one");
    assert!(eventually(SOON, || bed.hostel(["clean"]).run().code == Some(0)));
    for path in found(place, "stolen").into_iter().chain(found(place, ".#hostel-ephemeral-")) {
        if path.is_symlink() { std::fs::remove_file(path) } else { std::fs::remove_dir_all(path) }.expect("remove");
    }
}
