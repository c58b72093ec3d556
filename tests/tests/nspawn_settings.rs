//! Settings files: where they are found, who is trusted, who wins, and that a hostile one does no harm.
//!
//! Every command runs in a mount namespace of its own where /etc/systemd, /run/systemd/nspawn and /var/lib/machines are the
//! test's: nothing is written to the host's.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Tree};

/// What stands in for the directories of the host.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn new(bed: &Bed) -> Place {
        let place = Place { dir: bed.fresh("settings") };
        for dir in ["etc/nspawn", "run", "machines"] {
            std::fs::create_dir_all(place.dir.join(dir)).expect("make directory");
        }
        place
    }

    /// Writes `/etc/systemd/nspawn/…` (`etc/nspawn/…`) or `/run/systemd/nspawn/…` (`run/…`).
    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.dir.join(file);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("make directory");
        std::fs::write(&path, text).expect("write");
        path
    }

    /// The command, with these directories in place of the host's; `tree` is bound as /var/lib/machines/NAME.
    fn within(&self, command: Invocation, tree: Option<(&Tree, &str)>) -> Invocation {
        let bind = tree.map_or_else(String::new, |(tree, name)| {
            format!("mkdir -p $D/machines/{name}; mount --bind {} $D/machines/{name}; ", tree.path().display())
        });
        let script = format!(
            "D={}; export D; mkdir -p /etc/systemd /run/systemd/nspawn /var/lib/machines; exec unshare -m sh -ec '\
             {bind}mount --bind $D/etc /etc/systemd; mount --bind $D/run /run/systemd/nspawn; mount --rbind $D/machines /var/lib/machines; \
             exec \"$@\"' sh \"$@\"",
            self.dir.display()
        );
        command.through_shell(&script)
    }
}

/// A file beside a tree.
fn beside(tree: &Tree, text: &str) -> PathBuf {
    let path = tree.path().with_file_name(format!("{}.nspawn", tree.name()));
    std::fs::write(&path, text).expect("write");
    path
}

#[test]
fn a_file_in_etc_counts_in_full() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    let shared = bed.fresh("shared");
    std::fs::write(shared.join("greeting"), "hello").expect("write");
    let text = format!(
        "# a machine\n[Exec]\nParameters=/probe json\nEnvironment=A=1 \\\n  \"B=x y\"\nHostname=file.example\nWorkingDirectory=/srv\n\
         DropCapability=CAP_MKNOD CAP_NET_RAW\nNoNewPrivileges=yes\nLimitNOFILE=123:456\nOOMScoreAdjust=77\nMachineID=00112233445566778899aabbccddeeff\n\
         [Files]\nReadOnly=yes\nBindReadOnly={}:/mnt\nTemporaryFileSystem=/srv:mode=0700\n[Network]\nVirtualEthernet=no\nPrivate=yes\n\
         [X-Hostel-Resources]\nPids=50\n",
        shared.display()
    );
    place.write(&format!("etc/nspawn/{}.nspawn", tree.name()), &text);
    let outcome = place.within(bed.nspawn(&tree, [""; 0]), None).run().exits(0).says_nothing();
    let view = outcome.view();
    assert_eq!((view.env("A").as_deref(), view.env("B").as_deref()), (Some("1"), Some("x y")));
    assert_eq!(view.text("/hostname"), "file.example");
    assert_eq!(view.text("/cwd"), "/srv");
    assert!(!view.caps("bnd").contains("mknod") && !view.caps("bnd").contains("net_raw") && view.caps("bnd").contains("net_admin"));
    assert_eq!(view.links(), ["lo"]);
    assert!(view.mount_has("/", "ro") && view.mount_has("/mnt", "ro") && view.mount_type("/srv") == "tmpfs");
    assert_eq!(view.env("container_uuid").as_deref(), Some("00112233-4455-6677-8899-aabbccddeeff"));
    // a command, and a mount, on the command line: their groups are the command line's
    let arguments = ["--tmpfs=/srv", "sh", "-c", "ulimit -Hn; ls /mnt; cat /proc/self/oom_score_adj"];
    place.within(bed.nspawn(&tree, arguments), None).run().exits(0).prints("456\n77");
}

#[test]
fn a_file_beside_the_tree_may_only_take_away() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    let text = "[Exec]\nEnvironment=A=1\nCapability=all\nDropCapability=CAP_MKNOD\nSystemCallFilter=bpf\n\
        [Files]\nBind=/etc:/mnt\n[Network]\nVirtualEthernet=yes\n[X-Hostel-Resources]\nMemory=infinity\n";
    let path = beside(&tree, text);
    let run = |options: &[&str]| place.within(bed.nspawn(&tree, options).args(["/probe", "json"]), None).run();
    let outcome = run(&[]).exits(0);
    let view = outcome.view();
    assert_eq!(view.env("A").as_deref(), Some("1"));
    assert!(!view.caps("bnd").contains("mknod") && !view.caps("bnd").contains("sys_module"));
    assert!(view.mount("/mnt").is_none() && !view.links().contains(&"host0".to_owned()));
    // each of the others by name, with file and line, although --quiet was given
    for (line, key) in [(3, "Capability=all"), (5, "SystemCallFilter=bpf"), (7, "Bind="), (9, "VirtualEthernet=yes"), (11, "Memory=infinity")] {
        let outcome = run(&[]).says(&format!("{}:{line}: ignore {key}", path.display())).says("the file is not trusted");
        assert_eq!(outcome.errors().lines().count(), 5, "{}", outcome.describe());
    }
    let outcome = run(&["--settings=trusted"]).exits(0).says_nothing();
    assert!(outcome.view().caps("bnd").contains("sys_module") && outcome.view().mount("/mnt").is_some());
    let outcome = run(&["--settings=no"]).exits(0).says_nothing();
    assert_eq!(outcome.view().env("A"), None);
}

#[test]
fn the_first_file_of_a_name_counts() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    let name = tree.name();
    let environment = |options: &[&str]| place.within(bed.nspawn(&tree, options).args(["sh", "-c", "echo ${A:-none}"]), None).run().exits(0);
    beside(&tree, "[Exec]\nEnvironment=A=beside\n");
    environment(&[]).prints("beside");
    place.write(&format!("run/{name}.nspawn"), "[Exec]\nEnvironment=A=run\n");
    environment(&[]).prints("run");
    let etc = place.write(&format!("etc/nspawn/{name}.nspawn"), "[Exec]\nEnvironment=A=etc\n");
    environment(&[]).prints("etc");
    // the name counts, with -x the one before the suffix
    place.write("etc/nspawn/other.nspawn", "[Exec]\nEnvironment=A=other\n");
    environment(&["-M", "other"]).prints("other");
    environment(&["-x"]).prints("etc");
    // empty, or a link to the null device: a mask
    std::fs::write(&etc, "").expect("write");
    environment(&[]).prints("none");
    std::fs::remove_file(&etc).expect("remove");
    std::os::unix::fs::symlink("/dev/null", &etc).expect("link");
    environment(&[]).prints("none");
    // a link to nowhere is nothing
    std::fs::remove_file(&etc).expect("remove");
    std::os::unix::fs::symlink("/no/where", &etc).expect("link");
    environment(&[]).prints("run");
}

#[test]
fn override_and_its_reverse() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    let file = format!("etc/nspawn/{}.nspawn", tree.name());
    place.write(&file, "[Exec]\nHostname=file\nProcessTwo=yes\nParameters=sh -c \"hostname; echo $$\"\n");
    let run = |options: &[&str]| place.within(bed.nspawn(&tree, options), None).run().exits(0);
    run(&[]).prints("file\n2");
    run(&["--hostname=argv", "hostname"]).prints("argv");
    run(&["--settings=override", "--hostname=argv", "hostname"]).prints("file\n2");
    // an empty file takes nothing, neither options nor the capability that comes with a network
    place.write(&file, "");
    let view = run(&["--settings=override", "-n", "--hostname=argv", "/probe", "json"]).view();
    assert!(view.caps("bnd").contains("net_admin") && view.text("/hostname") == "argv" && view.links().contains(&"host0".to_owned()));
    place.write(&file, "[Network]\nPrivate=no\n");
    let view = run(&["--settings=override", "-n", "/probe", "json"]).view();
    assert!(!view.caps("bnd").contains("net_admin") && !view.links().contains(&"host0".to_owned()));
}

#[test]
fn dropins_add_up() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    let name = tree.name();
    beside(&tree, "[Exec]\nEnvironment=A=beside B=%i\n[Files]\nBind=/etc:/mnt\n");
    place.write(&format!("etc/nspawn/{name}.nspawn.d/20-more.conf"), "[Exec]\nEnvironment=C=%i D=%%i E=%H\n[Files]\nTemporaryFileSystem=/srv\n");
    place.write(&format!("run/{name}.nspawn.d/10-first.conf"), "[Exec]\nEnvironment=C=first F=run\n");
    place.write(&format!("run/{name}.nspawn.d/20-more.conf"), "[Exec]\nEnvironment=C=hidden\n");
    place.write(&format!("run/{name}.nspawn.d/30-masked.conf"), "[Exec]\nEnvironment=\n");
    std::os::unix::fs::symlink("/dev/null", place.dir.join(format!("etc/nspawn/{name}.nspawn.d/30-masked.conf"))).expect("link");
    let outcome = place.within(bed.nspawn(&tree, ["/probe", "json"]), None).run().exits(0).says("ignore Bind=");
    let view = outcome.view();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("read");
    for (variable, value) in [("A", "beside"), ("B", "%i"), ("C", name.as_str()), ("D", "%i"), ("E", host.trim()), ("F", "run")] {
        assert_eq!(view.env(variable).as_deref(), Some(value), "{variable}");
    }
    assert!(view.mount_type("/srv") == "tmpfs" && view.mount("/mnt").is_none());
}

#[test]
fn what_cannot_be_read_refuses_the_start() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    let run = || place.within(bed.nspawn(&tree, ["/bin/touch", "/ran"]), None).limit(Duration::from_secs(10)).run();
    let refused = |path: &Path, cause: &str| {
        run().exits(1).says(&format!("systemd-nspawn: read {}{cause}", path.display())).says("hint: ").says("--settings=no");
        assert!(!tree.at("/ran").exists());
    };
    let path = tree.path().with_file_name(format!("{}.nspawn", tree.name()));
    // a pipe is not waited for
    Invocation::new("mkfifo").arg(&path).run().exits(0);
    refused(&path, ": it is no regular file");
    std::fs::remove_file(&path).expect("remove");
    std::fs::create_dir(&path).expect("make");
    refused(&path, ": it is no regular file");
    std::fs::remove_dir(&path).expect("remove");
    let file = std::fs::File::create(&path).expect("make");
    file.set_len(1 << 40).expect("lengthen");
    refused(&path, ": it is larger than 1 MiB");
    for (text, cause) in
        [(&b"[Exec\n"[..], ":1: the section header \"[Exec\" does not end in a bracket"), (b"[Exec]\nEnvironment=A=\xff\n", ":2: it is not UTF-8")]
    {
        std::fs::write(&path, text).expect("write");
        refused(&path, cause);
    }
    let etc = place.write(&format!("etc/nspawn/{}.nspawn", tree.name()), "");
    std::fs::remove_file(&etc).expect("remove");
    std::fs::create_dir(&etc).expect("make");
    refused(Path::new(&format!("/etc/systemd/nspawn/{}.nspawn", tree.name())), ": it is no regular file");
}

/// Beside the tree, whoever can write the directory chooses what a link leads to.
#[test]
fn links_beside_the_tree() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    let run = || place.within(bed.nspawn(&tree, ["sh", "-c", "echo ${A:-none}"]), None).run();
    let target = place.write("target", "[Exec]\nEnvironment=A=linked\n");
    let link = tree.path().with_file_name(format!("{}.nspawn", tree.name()));
    std::os::unix::fs::symlink(target, &link).expect("link");
    run().exits(0).prints("linked");
    let parent = tree.path().parent().expect("a directory");
    let before = std::fs::metadata(parent).expect("look").permissions();
    std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o777)).expect("open up");
    run().exits(1).says("it is a link, in a directory that not only root can write");
    std::fs::set_permissions(parent, before).expect("close");
}

#[test]
fn a_file_in_etc_that_others_can_write_is_not_trusted() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    let path = place.write(&format!("etc/nspawn/{}.nspawn", tree.name()), "[Exec]\nEnvironment=A=1\n[Files]\nBind=/etc:/mnt\n");
    let run = || place.within(bed.nspawn(&tree, ["sh", "-c", "echo $A; ls /mnt | wc -l"]), None).run().exits(0);
    assert_ne!(run().says_nothing().text(), "1\n0\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("open up");
    run().says("ignore Bind=/etc:/mnt: the file is not trusted, it is not root's alone").prints("1\n0");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("close");
    std::os::unix::fs::chown(&path, Some(1000), Some(1000)).expect("give away");
    run().says("it is not root's alone").prints("1\n0");
}

#[test]
fn what_is_not_built_is_not_ignored() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    let path = format!("/etc/systemd/nspawn/{}.nspawn", tree.name());
    // of an option that will not be built
    place.write(&format!("etc/nspawn/{}.nspawn", tree.name()), "[Exec]\nBogus=1\nPrivateUsersDelegate=2\n");
    let outcome = place.within(bed.nspawn(&tree, ["/bin/touch", "/ran"]), None).run().exits(1);
    outcome
        .says(&format!("{path}:2: ignore Bogus=: section Exec has no such key"))
        .says(&format!("{path}:3: PrivateUsersDelegate= is not supported"));
    assert!(!tree.at("/ran").exists());
    place.within(bed.nspawn(&tree, ["-U", "true"]), None).run().exits(0);
}

#[test]
fn native_machines_by_name() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place) = (bed.busybox(), Place::new(&bed));
    tree.init_is_probe("json then poweroff");
    let name = bed.name();
    let file = format!("/etc/systemd/nspawn/{name}.nspawn");
    place.write(&format!("etc/nspawn/{name}.nspawn"), "[Exec]\nHostname=file\nEnvironment=A=1\n[X-Hostel-Resources]\nPids=40\n");
    place.write(&format!("machines/{name}.nspawn"), "[Exec]\nEnvironment=A=image\n");
    let run = |words: &[&str]| place.within(bed.hostel(words), Some((&tree, &name))).run().exits(0);
    let view = run(&["boot", &name, "--console=pipe"]).view();
    assert_eq!((view.env("A").as_deref(), view.text("/hostname")), (Some("1"), "file"));
    // where it is from
    let spec = run(&["spec", "boot", &name]);
    let lines: Vec<String> = spec.text().lines().take(3).map(str::to_owned).collect();
    assert_eq!(lines, [format!("{file}:2: Hostname=file"), format!("{file}:3: Environment=A=1"), format!("{file}:5: Pids=40")]);
    assert_eq!(run(&["spec", "--json", "boot", &name]).json()["settings"][0]["from"], format!("{file}:2"));
    run(&["nspawn", "-M", &name, "--dump-doc"]).prints_with(&format!("{file}:2 --hostname = file\n"));
    // not by path, unless asked for; never for a throw-away machine
    let path = format!("/var/lib/machines/{name}");
    run(&["spec", "boot", &path]).prints_without("Hostname=file");
    run(&["spec", "boot", &path, "--settings=yes"]).prints_with("Hostname=file");
    run(&["spec", "boot", &name, "--settings=no"]).prints_without("Hostname=file");
    run(&["spec", "run", "--tree", &path, "--", "true"]).prints_without("Hostname=file");
    // what the file says of the command and of changes, beside a command line that says otherwise
    let refused = |words: &[&str]| place.within(bed.hostel(words), Some((&tree, &name))).run().exits(2);
    place.write(&format!("etc/nspawn/{name}.nspawn"), "[Exec]\nProcessTwo=yes\nParameters=/probe say two\n");
    run(&["boot", &name, "--console=pipe"]).prints("two");
    refused(&["boot", &name, "--as-pid2"]).says("combine boot and --as-pid2");
    let kept = format!("{name}-kept");
    place.write(&format!("etc/nspawn/{kept}.nspawn"), "[Exec]\nEphemeral=yes\n");
    refused(&["boot", &name, "--keep", &kept]).says(&format!("combine --keep and Ephemeral= of /etc/systemd/nspawn/{kept}.nspawn:2: "));
    place.write(&format!("etc/nspawn/{kept}.nspawn"), "[Exec]\nEphemeral=no\nHostname=kept\n");
    run(&["spec", "boot", &name, "--keep", &kept]).prints_with("Hostname=kept");
    // an error without advice of its own: the file may be why
    place.write(&format!("etc/nspawn/{name}.nspawn"), "[Exec]\nBoot=yes\n");
    refused(&["boot", &name, "--share-system"]).says("hint: ").says(&format!("{file}:2 counts too; --settings=no leaves it out"));
}

/// The service's defaults, and over them what the machine's settings files say.
#[test]
fn start_reads_them() {
    let Some(bed) = Bed::start() else { return };
    let (tree, place, name) = (bed.copy("bbinit"), Place::new(&bed), bed.name());
    let machine = || place.within(bed.hostel(["start", &name]), Some((&tree, &name)));
    let file = format!("etc/nspawn/{name}.nspawn");
    let path = place.write(&file, "[Exec]\nDropCapability=CAP_SYS_CHROOT\nNo such line\n");
    place.write(&format!("run/{name}.nspawn.d/host.conf"), "[Exec]\nHostname=from-a-drop-in\n");
    machine().run().exits(0).says(&format!("warning: /etc/systemd/nspawn/{name}.nspawn:3: ignore the line"));
    let up = || bed.hostel(["exec", &name, "test", "-e", "/run/hostel-test-up"]).run().code == Some(0);
    assert!(hostel_tests::eventually(Duration::from_secs(20), up));
    let shown = bed.hostel(["exec", &name, "sh", "-c", "grep CapBnd /proc/1/status; hostname"]).run().exits(0).text();
    let bounding = shown.split_whitespace().nth(1).and_then(|word| u64::from_str_radix(word, 16).ok()).expect("a set");
    assert!(bounding & 1 << 18 == 0 && bounding & 1 << 21 != 0, "{shown}");
    assert!(shown.contains("from-a-drop-in"), "{shown}");
    bed.hostel(["stop", &name]).run().exits(0);
    std::fs::remove_file(&path).and_then(|()| std::fs::create_dir(&path)).expect("a directory instead");
    machine().run().exits(1).says(&format!("read /etc/systemd/nspawn/{name}.nspawn: it is no regular file"));
    assert!(!bed.state_of(&name).exists());
    bed.assert_clean();
}

/// `hostel cat` shows the files that `hostel start` reads, in the order in which they count, and no other.
#[test]
fn cat_prints_what_counts() {
    let Some(bed) = Bed::start() else { return };
    let (place, name) = (Place::new(&bed), bed.name());
    let cat = || place.within(bed.hostel(["cat", &name]), None).run();
    cat().exits(1).says(&format!("find settings of {name}"));
    std::fs::create_dir_all(place.dir.join(format!("machines/{name}"))).expect("mkdir");
    place.write(&format!("machines/{name}.nspawn"), "beside");
    place.write(&format!("machines/{name}.nspawn.d/never.conf"), "never");
    let d = |top: &str, file: &str| place.write(&format!("{top}/{name}.nspawn.d/{file}"), &format!("# in {top}\n"));
    d("run", "10-a.conf");
    d("run", "20-b.conf");
    d("etc/nspawn", "20-b.conf");
    d("etc/nspawn", "notes.txt");
    let (etc, run) = (format!("/etc/systemd/nspawn/{name}.nspawn"), format!("/run/systemd/nspawn/{name}.nspawn"));
    let drop_ins = format!("\n# {run}.d/10-a.conf\n# in run\n\n# {etc}.d/20-b.conf\n# in etc/nspawn\n");
    assert_eq!(cat().exits(0).text(), format!("# /var/lib/machines/{name}.nspawn\nbeside\n{drop_ins}"));
    place.write(&format!("run/{name}.nspawn"), "runtime\n");
    assert_eq!(cat().exits(0).text(), format!("# {run}\nruntime\n{drop_ins}"));
    // A vendor's drop-ins count, too.
    let vendor = place.dir.join("vendor");
    std::fs::create_dir_all(vendor.join(format!("nspawn/{name}.nspawn.d"))).expect("mkdir");
    std::fs::write(vendor.join(format!("nspawn/{name}.nspawn.d/05-vendor.conf")), "vendor\n").expect("write");
    let bind = format!("mount --bind {} /usr/lib/systemd; exec \"$@\"", vendor.display());
    if Path::new("/usr/lib/systemd").is_dir() {
        let shown = place.within(bed.hostel(["cat", &name]).through_shell(&bind), None).run().exits(0).text();
        assert!(shown.contains(&format!("\n# /usr/lib/systemd/nspawn/{name}.nspawn.d/05-vendor.conf\nvendor\n")), "{shown}");
    }
    bed.assert_clean();
}

/// What is edited stays what it was: its owner's, its mode, and the file that a link leads to.
#[test]
fn edit_keeps_the_file() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let Some(bed) = Bed::start() else { return };
    let (place, name) = (Place::new(&bed), bed.name());
    let editor = bed.dir().join("editor");
    std::fs::write(&editor, "#!/bin/sh\nstat -c %a \"$1\"\necho '# edited' >>\"$1.new\"; mv \"$1.new\" \"$1\"\n").expect("write");
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let edit = || place.within(bed.hostel(["edit", &name]).env("SYSTEMD_EDITOR", &editor), None).run();
    let mode = |path: &Path| std::fs::metadata(path).map(|m| (m.uid(), m.gid(), m.mode() & 0o7777)).expect("stat");

    let file = place.dir.join(format!("etc/nspawn/{name}.nspawn"));
    edit().exits(0).prints("600");
    assert_eq!(mode(&file), (0, 0, 0o644));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    std::os::unix::fs::chown(&file, Some(3), Some(12)).expect("chown");
    std::fs::write(&file, "# before\n").expect("write");
    edit().exits(0).prints("600");
    assert_eq!((mode(&file), std::fs::read_to_string(&file).expect("read")), ((3, 12, 0o600), "# edited\n".into()));

    // A link stays one.
    let target = place.write("etc/shared.conf", "# shared\n");
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    std::fs::remove_file(&file).expect("remove");
    symlink("../shared.conf", &file).expect("link");
    edit().exits(0);
    assert!(std::fs::symlink_metadata(&file).expect("stat").is_symlink());
    assert_eq!((mode(&target), std::fs::read_to_string(&target).expect("read")), ((0, 0, 0o640), "# edited\n".into()));

    // Not one that leads into somebody else's directory, to nothing, or to the null device.
    let theirs = bed.fresh("theirs");
    std::fs::write(theirs.join("file"), "# theirs\n").expect("write");
    std::os::unix::fs::chown(&theirs, Some(65534), None).expect("chown");
    for (to, why) in [
        (theirs.join("file"), "in a directory that not only root can write"),
        ("/nowhere/at-all".into(), "No such file"),
        ("/dev/null".into(), "it is no regular file"),
    ] {
        std::fs::remove_file(&file).expect("remove");
        symlink(&to, &file).expect("link");
        edit().exits(1).says(why);
        assert_eq!(std::fs::read_link(&file).expect("link"), to);
    }
    assert_eq!(std::fs::read_dir(&theirs).expect("list").count(), 1);
    let left: Vec<_> = std::fs::read_dir(place.dir.join("etc/nspawn")).expect("list").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    bed.assert_clean();
}

/// Machine mode's set is smaller than systemd-nspawn's; what a trusted file asks for by name is in it.
#[test]
fn a_trusted_file_gives_capabilities_in_machine_mode() {
    let Some(bed) = Bed::start() else { return };
    let (place, name) = (Place::new(&bed), bed.name());
    std::fs::create_dir_all(place.dir.join(format!("machines/{name}"))).expect("mkdir");
    let bounding = |text: &str| {
        place.write(&format!("etc/nspawn/{name}.nspawn"), text);
        place.within(bed.hostel(["spec", "boot", &name]), None).run().exits(0).text()
    };
    assert!(!bounding("").contains("cap_audit_control"));
    assert!(bounding("[Exec]\nCapability=CAP_AUDIT_CONTROL\n").contains("cap_audit_control"));
}
