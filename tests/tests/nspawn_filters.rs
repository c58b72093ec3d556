//! `--suppress-sync=`, `--restrict-address-families=`: as PID 1 finds it.

use hostel_tests::Bed;

#[test]
fn syncs_are_suppressed_on_request() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let without = "EBADF EBADF EBADF done done done";
    let suppressed = "done done done EINVAL EINVAL done";
    bed.nspawn(&tree, ["/probe", "syncs"]).run().exits(0).prints(without);
    bed.nspawn(&tree, ["--suppress-sync=no", "/probe", "syncs"]).run().exits(0).prints(without);
    for users in ["--private-users=no", "-U"] {
        bed.nspawn(&tree, [users, "--suppress-sync=yes", "/probe", "syncs"]).run().exits(0).prints(suppressed);
    }
    bed.nspawn(&tree, ["-a", "--suppress-sync=yes", "/probe", "syncs"]).run().exits(0).prints(suppressed);
    bed.nspawn(&tree, ["/probe", "syncs"]).env("SYSTEMD_SUPPRESS_SYNC", "1").run().exits(0).prints(suppressed);
    let name = tree.name();
    bed.nspawn(&tree, ["-M", &name, "/probe", "syncs"]).env("SYSTEMD_SUPPRESS_SYNC", "0").run().exits(0).prints(without);
}

#[test]
fn families_of_sockets() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let seen = |options: &[&str]| bed.nspawn(&tree, options.iter().chain(&["/probe", "sockets", "1", "2", "10", "16"])).run().exits(0).text();
    assert_eq!(seen(&[]).trim(), "done done done done");
    assert_eq!(seen(&["--restrict-address-families=AF_UNIX AF_INET"]).trim(), "done done EAFNOSUPPORT EAFNOSUPPORT");
    assert_eq!(seen(&["--restrict-address-families=~AF_INET6"]).trim(), "done done EAFNOSUPPORT done");
    assert_eq!(seen(&["--restrict-address-families=none"]).trim(), "EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT");
    assert_eq!(seen(&["--restrict-address-families=none", "--restrict-address-families="]).trim(), "done done done done");
    bed.nspawn(&tree, ["--restrict-address-families=AF_NONSENSE", "true"]).run().exits(1).says("no address family AF_NONSENSE");
    bed.nspawn(&tree, ["--restrict-address-families=none", "true"]).env("SYSTEMD_SECCOMP", "0").run().exits(1).says("needs a filter");
}

#[test]
fn labels_are_refused_without_selinux() {
    let Some(bed) = Bed::start() else { return };
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        println!("skipped: this host has SELinux");
        return;
    }
    let tree = bed.little();
    for option in ["-Zsystem_u:system_r:svirt_t:s0", "--selinux-apifs-context=system_u:object_r:svirt_file_t:s0"] {
        bed.nspawn(&tree, [option, "/probe", "touch", "/etc/started"]).run().exits(1).says("SELinux is not enabled on this host");
    }
    assert!(!tree.at("/etc/started").exists());
}
