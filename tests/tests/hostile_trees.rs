//! Trees that lie: wherever hostel touches a path inside a tree, what is there may be a link out, a file, a FIFO, a
//! loop or something huge. Every start must end by itself within five seconds, run or refuse, and touch nothing outside.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Trap, Tree};

/// What takes the place of the touched path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    AbsoluteLink,
    RelativeLink,
    LinkToFile,
    File,
    Fifo,
    Directory,
    Loop,
    Huge,
    ModeZero,
}

const LIES: [Lie; 9] =
    [Lie::AbsoluteLink, Lie::RelativeLink, Lie::LinkToFile, Lie::File, Lie::Fifo, Lie::Directory, Lie::Loop, Lie::Huge, Lie::ModeZero];
const LIMIT: Duration = Duration::from_secs(5);

/// Puts the lie at `path` of the tree, pointing (if it points) at the trap.
fn tell(tree: &Tree, path: &str, lie: Lie, trap: &Trap) {
    tree.remove(path);
    let at = tree.at(path);
    if let Some(parent) = at.parent() {
        let _ = std::fs::create_dir_all(parent);
    }
    let linked = |target: &Path| symlink(target, &at).unwrap_or_else(|e| panic!("link {path}: {e}"));
    let up = || Path::new("../../../../../../../../../..").join(trap.path().strip_prefix("/").unwrap_or(trap.path()));
    match lie {
        Lie::AbsoluteLink => linked(trap.path()),
        Lie::RelativeLink => linked(&up()),
        Lie::LinkToFile => linked(&trap.path().join("file")),
        Lie::File => std::fs::write(&at, "a file\n").unwrap_or_else(|e| panic!("{e}")),
        Lie::Fifo => drop(Invocation::new("mkfifo").arg(&at).run().exits(0)),
        Lie::Directory => std::fs::create_dir_all(at.join("with/content")).unwrap_or_else(|e| panic!("{e}")),
        Lie::Loop => linked(Path::new(at.file_name().unwrap_or_default())),
        Lie::Huge => std::fs::File::create(&at).and_then(|f| f.set_len(1 << 34)).unwrap_or_else(|e| panic!("{e}")),
        Lie::ModeZero => {
            std::fs::create_dir_all(&at).unwrap_or_else(|e| panic!("{e}"));
            let _ = std::fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(0o0));
        }
    }
}

/// Every lie at one path, with these options and this command.
#[track_caller]
fn all_lies_at(path: &str, options: &[&str], command: &[&str]) {
    let Some(bed) = Bed::start() else { return };
    for lie in LIES {
        let trap = Trap::set(bed.dir().join(format!("trap-{}", bed.name())));
        let host = Trap::watch_host_etc();
        let tree = bed.little();
        if options.contains(&"-b") {
            tree.init_is_probe("say ran then poweroff");
        }
        tell(&tree, path, lie, &trap);
        let trap = Trap::watch(trap.path().into());
        let story = format!("{path} is {lie:?}, options {options:?}");
        let outcome = bed.nspawn(&tree, options).args(command).limit(LIMIT).run();
        assert!(!outcome.timed_out, "{story}: hung: {}", outcome.describe());
        assert!(outcome.signal.is_none() && outcome.code != Some(101) && !outcome.errors().contains("panicked"), "{story}: {}", outcome.describe());
        assert!(outcome.code == Some(0) || !outcome.stderr.is_empty() || !outcome.stdout.is_empty(), "{story}: refused without a word");
        trap.assert_untouched(&story);
        host.assert_untouched(&story);
    }
}

/// One test per touched path, so that a failure names it; each nine lies.
macro_rules! lies {
    ($($name:ident: $path:literal, [$($option:literal),*], [$($word:literal),*];)*) => {
        $(#[test] fn $name() { all_lies_at($path, &[$($option),*], &[$($word),*]); })*
    };
}

lies! {
    dev: "/dev", [], ["/probe", "say", "ran"];
    dev_with_users: "/dev", ["-U"], ["/probe", "say", "ran"];
    dev_pts: "/dev/pts", [], ["/probe", "say", "ran"];
    dev_null: "/dev/null", [], ["/probe", "say", "ran"];
    dev_console: "/dev/console", [], ["/probe", "say", "ran"];
    dev_shm: "/dev/shm", [], ["/probe", "say", "ran"];
    proc: "/proc", [], ["/probe", "say", "ran"];
    proc_with_users: "/proc", ["-U"], ["/probe", "say", "ran"];
    sys: "/sys", [], ["/probe", "say", "ran"];
    sys_with_own_network: "/sys", ["--private-network"], ["/probe", "say", "ran"];
    run: "/run", [], ["/probe", "say", "ran"];
    run_with_users: "/run", ["-U"], ["/probe", "say", "ran"];
    run_host: "/run/host", [], ["/probe", "say", "ran"];
    tmp: "/tmp", [], ["/probe", "say", "ran"];
    etc: "/etc", ["--resolv-conf=copy-host", "--timezone=copy"], ["/probe", "say", "ran"];
    resolv_conf_copied: "/etc/resolv.conf", ["--resolv-conf=copy-host"], ["/probe", "say", "ran"];
    resolv_conf_replaced: "/etc/resolv.conf", ["--resolv-conf=replace-host"], ["/probe", "say", "ran"];
    resolv_conf_bound: "/etc/resolv.conf", ["--resolv-conf=bind-host"], ["/probe", "say", "ran"];
    resolv_conf_deleted: "/etc/resolv.conf", ["--resolv-conf=delete"], ["/probe", "say", "ran"];
    localtime_copied: "/etc/localtime", ["--timezone=copy"], ["/probe", "say", "ran"];
    localtime_bound: "/etc/localtime", ["--timezone=bind"], ["/probe", "say", "ran"];
    localtime_symlinked: "/etc/localtime", ["--timezone=symlink"], ["/probe", "say", "ran"];
    localtime_deleted: "/etc/localtime", ["--timezone=delete"], ["/probe", "say", "ran"];
    machine_id: "/etc/machine-id", [], ["/probe", "say", "ran"];
    machine_id_booting: "/etc/machine-id", ["-b"], [];
    passwd: "/etc/passwd", ["-u", "alice"], ["/probe", "say", "ran"];
    group: "/etc/group", ["-u", "alice"], ["/probe", "say", "ran"];
    usr: "/usr", [], ["/probe", "say", "ran"];
    usr_volatile: "/usr", ["--volatile=yes"], ["/probe", "say", "ran"];
    init: "/usr/sbin/init", ["-b"], [];
    os_release: "/usr/lib/os-release", ["-b"], [];
    etc_os_release: "/etc/os-release", ["-b"], [];
    var: "/var", ["--volatile=state"], ["/probe", "say", "ran"];
    root_home: "/root", ["--pipe"], [];
    sbin: "/sbin", ["-b"], [];
    bind_target: "/mnt", ["--bind=/usr/share:/mnt/deep/er"], ["/probe", "say", "ran"];
    bind_target_itself: "/mnt", ["--bind=/usr/share:/mnt"], ["/probe", "say", "ran"];
    bind_file_target: "/mnt", ["--bind=/etc/hostname:/mnt/file"], ["/probe", "say", "ran"];
    bind_inside_source: "/srv", ["--bind=+/srv:/mnt"], ["/probe", "say", "ran"];
    tmpfs_target: "/mnt", ["--tmpfs=/mnt"], ["/probe", "say", "ran"];
    overlay_target: "/mnt", ["--overlay=/usr/share::/mnt"], ["/probe", "say", "ran"];
    overlay_of_tree: "/srv", ["--overlay=+/srv::/mnt"], ["/probe", "say", "ran"];
    overlay_upper_layer: "/srv", ["--overlay=/usr/share:+/srv:/mnt"], ["/probe", "say", "ran"];
    overlay_upper_layers_parent: "/srv", ["--overlay=/usr/share:+/srv/sub:/mnt"], ["/probe", "say", "ran"];
    inaccessible_target: "/srv", ["--inaccessible=/srv"], ["/probe", "say", "ran"];
    working_directory: "/srv", ["--chdir=/srv"], ["/probe", "say", "ran"];
    root_chowned: "/srv", ["--private-users=655360", "--private-users-ownership=chown"], ["/probe", "say", "ran"];
    ephemeral_copy: "/srv", ["-x"], ["/probe", "say", "ran"];
}

#[test]
fn links_inside_mean_the_machines_own_root() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    // an absolute link is a link in the machine: legal, and resolved there
    tree.remove("/mnt");
    symlink("/srv/real", tree.at("/mnt")).expect("link");
    std::fs::create_dir_all(tree.at("/srv/real")).expect("mkdir");
    let shared = bed.fresh("shared");
    std::fs::write(shared.join("f"), "through\n").expect("write");
    bed.nspawn(&tree, [&format!("--bind={}:/mnt/deep", shared.display()), "cat", "/srv/real/deep/f"]).run().exits(0).prints("through");
    assert!(!Path::new("/srv/real").exists());
}

#[test]
fn no_program_is_hostel_itself() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    // What is /proc/self/exe while the program is being executed is our own file on the host.
    symlink("/proc/self/exe", tree.at("/opt/link")).expect("link");
    symlink("/proc/thread-self/exe", tree.at("/opt/other-link")).expect("link");
    symlink("link", tree.at("/opt/link-to-link")).expect("link");
    for (name, line) in [("script", "#!/proc/self/exe --help\n"), ("script-by-link", "#! /opt/link\n"), ("script-of-script", "#!/opt/script\n")] {
        tree.write(&format!("/opt/{name}"), line).executable(&format!("/opt/{name}"));
    }
    for name in ["link", "other-link", "link-to-link", "script", "script-by-link", "script-of-script"] {
        let path = format!("/opt/{name}");
        for options in [&[][..], &["-a"], &["-u", "alice"], &["--setenv=PATH=/opt"]] {
            let word = if options == ["--setenv=PATH=/opt"] { name } else { &path };
            bed.nspawn(&tree, options).arg(word).run().exits(1).says("lead out of the machine");
        }
    }
    for place in ["/usr/lib/systemd/systemd", "/usr/sbin/init"] {
        tree.remove(place);
        std::fs::create_dir_all(tree.at(place).parent().expect("parent")).expect("mkdir");
        symlink("/opt/script", tree.at(place)).expect("link");
    }
    bed.nspawn(&tree, ["-b"]).run().exits(1).says("lead out of the machine");
}

#[test]
fn no_working_directory_leads_out_by_a_descriptor() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for number in 3..32 {
        for (place, options) in
            [("/root", &["--pipe"][..]), ("/srv", &["--pipe", "--chdir=/srv", "/bin/sh"]), ("/srv", &["--pipe", "-a", "--chdir=/srv", "/bin/sh"])]
        {
            tree.remove(place);
            symlink(format!("/proc/self/fd/{number}"), tree.at(place)).expect("link");
            let outcome = bed
                .nspawn(&tree, options)
                .input("pwd -P; cat ../../../../etc/machine-id ../../../../../../etc/hostname; echo end\n")
                .limit(LIMIT)
                .run();
            let host = std::fs::read_to_string("/etc/machine-id").unwrap_or_else(|_| "no machine id".into());
            assert!(!outcome.text().contains(host.trim()), "{place} is descriptor {number}: {}", outcome.describe());
            assert!(outcome.text().is_empty() || outcome.text().starts_with("/\n"), "{place} is descriptor {number}: {}", outcome.describe());
        }
    }
}

#[test]
fn a_volatile_usr_is_never_the_hosts() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    tree.remove("/usr");
    symlink("/etc", tree.at("/usr")).expect("link");
    tree.remove("/bin");
    symlink("usr/bin", tree.at("/bin")).expect("link");
    bed.nspawn(&tree, ["--volatile=yes", "--bind-ro=/bin/busybox:/busybox", "/busybox", "cat", "/usr/passwd"])
        .run()
        .fails()
        .prints_without("root:")
        .says("symbolic link");
}

#[test]
fn a_tree_that_is_a_link_itself_is_the_users_word() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let link = bed.dir().join(format!("{}-link", bed.name()));
    symlink(tree.path(), &link).expect("link");
    bed.hostel(["nspawn", "-q", "--register=no", "--keep-unit", "-D"]).arg(&link).args(["/probe", "say", "ran"]).run().exits(0).prints("ran");
}

#[test]
fn swapping_a_mount_target_while_machines_start_never_reaches_the_host() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let trap = Trap::set(bed.dir().join("trap"));
    // /srv of the tree flips between a directory and a link to the trap as fast as it can, below every start
    let script = format!(
        "cd {tree}/srv/.. && mkdir -p a && ln -s {trap} b; while :; do mv -T srv x 2>/dev/null; mv -T b srv 2>/dev/null; mv -T srv b 2>/dev/null; mv -T x srv 2>/dev/null; done",
        tree = tree.path().display(),
        trap = trap.path().display()
    );
    let trap = Trap::watch(trap.path().into());
    let swapper = Invocation::new("/bin/bash").args(["-c", &script]).start();
    for _ in 0..60 {
        let outcome = bed.nspawn(&tree, ["--bind=/usr/share:/srv/deep/made", "--tmpfs=/srv/other", "/probe", "say", "ran"]).limit(LIMIT).run();
        assert!(!outcome.timed_out, "{}", outcome.describe());
        trap.assert_untouched("a swapped mount target");
    }
    swapper.signal(hostel_tests::Signal::KILL);
}

#[test]
fn swapping_the_place_of_an_upper_layer_never_reaches_the_host() {
    let Some(bed) = Bed::start() else { return };
    if Invocation::new("strace").arg("-V").run().code != Some(0) {
        return println!("skipped: no strace");
    }
    let tree = bed.busybox();
    let trap = Trap::set(bed.dir().join("trap"));
    std::fs::create_dir_all(tree.at("/srv/sub")).expect("mkdir");
    // The work directory is made beside the layer. Where it will be is written down first; then, because strace makes that
    // last long enough, /srv becomes a link to the trap.
    let name = bed.name();
    let line = bed.nspawn(&tree, ["-M", &name, "--overlay=/usr/share:+/srv/sub:/mnt", "/probe", "say", "ran"]);
    let slow = "exec strace -qq -o /dev/null -e trace=mkdir,mkdirat -e inject=mkdir,mkdirat:delay_enter=200000 \"$@\"";
    let running = line.through_shell(slow).start();
    let journal = bed.state_of(&name).join("undo");
    let written = || std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("/srv/.#hostel-"));
    assert!(hostel_tests::eventually(Duration::from_secs(10), written), "no work directory was written down");
    std::fs::rename(tree.at("/srv"), tree.at("/opt-srv")).and_then(|()| symlink(trap.path(), tree.at("/srv"))).expect("swap");
    running.finish(Duration::from_secs(20)).exits(0).prints("ran");
    trap.assert_untouched("a swapped directory of an upper layer");
}

#[test]
fn an_upper_layer_that_is_the_tree_is_refused() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    // Beside the tree is the host.
    tree.remove("/srv");
    symlink("/", tree.at("/srv")).expect("link");
    let host = std::fs::metadata(tree.path().parent().expect("parent")).and_then(|m| m.modified()).expect("time");
    for upper in ["/", "/srv", "/srv/srv"] {
        bed.nspawn(&tree, [&format!("--overlay=/usr/share:+{upper}:/mnt"), "/probe", "say", "ran"]).run().exits(1).says("it is the tree itself");
    }
    let after = std::fs::metadata(tree.path().parent().expect("parent")).and_then(|m| m.modified()).expect("time");
    assert_eq!(host, after, "something was made beside the tree");
}

#[test]
fn swapping_dev_while_machines_start_never_reaches_the_host() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let trap = Trap::set(bed.dir().join("trap"));
    let script = format!(
        "cd {tree} && ln -s {trap} b; while :; do for d in dev run tmp proc; do mv -T $d x 2>/dev/null; mv -T b $d 2>/dev/null; mv -T $d b 2>/dev/null; mv -T x $d 2>/dev/null; done; done",
        tree = tree.path().display(),
        trap = trap.path().display()
    );
    let trap = Trap::watch(trap.path().into());
    let swapper = Invocation::new("/bin/bash").args(["-c", &script]).start();
    for _ in 0..60 {
        let outcome = bed.nspawn(&tree, ["-U", "/probe", "say", "ran"]).limit(LIMIT).run();
        assert!(!outcome.timed_out, "{}", outcome.describe());
        trap.assert_untouched("a swapped /dev, /run, /tmp or /proc");
    }
    swapper.signal(hostel_tests::Signal::KILL);
}
