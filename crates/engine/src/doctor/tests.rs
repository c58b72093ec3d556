use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::kernel::{Sysctls, controllers_finding, kernel_finding, lacks, layout_finding, parse_release};
use super::mounts::kind_of;
use super::network::{error_of, message};
use super::privileges::{SCARCE, capabilities, limits};
use super::{Finding, State, can_run, host};
use crate::cgroup::Layout;

#[test]
fn kernels() {
    for (release, version) in
        [("6.18.44", Some((6, 18))), ("5.10.0-8-amd64", Some((5, 10))), ("6.1-rc3", Some((6, 1))), ("x", None), ("", None), ("6", None)]
    {
        assert_eq!(parse_release(release), version, "{release}");
    }
    assert!(lacks((6, 1)).is_empty());
    assert_eq!(lacks((5, 15)), ["overlays over idmapped mounts"]);
    assert_eq!(lacks((4, 19)).len(), 8);
    for (release, state) in [("6.1.0", State::Ok), ("5.15.0", State::Limited), ("5.4.0", State::Missing), ("weird", State::Limited)] {
        let finding = kernel_finding(release);
        assert_eq!(finding.state, state, "{release}");
        assert_eq!(finding.advice.is_some(), !matches!(state, State::Ok) && release != "weird", "{release}");
    }
}

#[test]
fn user_namespaces() {
    let row = |most, unprivileged, apparmor| Sysctls { most, unprivileged, apparmor }.finding().state;
    assert_eq!(row(Some(1000), None, None), State::Ok);
    assert_eq!(row(Some(1000), Some(1), Some(0)), State::Ok);
    assert_eq!(row(Some(1000), Some(0), None), State::Limited);
    assert_eq!(row(Some(1000), None, Some(1)), State::Limited);
    assert_eq!(row(Some(0), None, None), State::Missing);
    assert_eq!(row(None, None, None), State::Missing);
}

#[test]
fn cgroup_layouts() {
    let v2 = "30 29 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
    let hybrid = "30 29 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n31 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    let pure = Layout::parse(v2, "0::/\n");
    let mixed = Layout::parse(hybrid, "1:memory:/\n0::/\n");
    let none = Layout::parse("", "");
    assert_eq!([&pure, &mixed, &none].map(|l| layout_finding(l).state), [State::Ok, State::Limited, State::Limited]);
    assert!(layout_finding(&pure).means.contains("/sys/fs/cgroup/hostel"));
    assert_eq!(controllers_finding(&pure, "cpuset cpu io memory pids\n").state, State::Ok);
    let some = controllers_finding(&mixed, "hugetlb\n");
    assert_eq!((some.state, some.found.as_str()), (State::Limited, "memory; not pids cpu cpuset io"));
    assert_eq!(some.means, "refused: --pids, --cpus, AllowedCPUs=, IOWeight=");
    assert_eq!(controllers_finding(&none, "").state, State::Missing);
}

#[test]
fn privileges() {
    assert_eq!(capabilities(u64::MAX, 40).state, State::Ok);
    let without = |cap: u8| capabilities(!(1 << cap), 40);
    assert_eq!((without(24).state, without(24).found.as_str()), (State::Limited, "all but cap_sys_resource"));
    assert!(without(24).means.contains("limits"));
    assert_eq!(without(21).state, State::Missing);
    assert_eq!(capabilities(0, 40).found, "41 are missing");

    assert_eq!(limits(true, |_| Some(1)).state, State::Ok);
    let low = limits(false, |resource| (resource == 7).then_some(20_000));
    assert_eq!((low.state, low.found.as_str()), (State::Limited, "at most nofile 20000, nproc infinity, memlock infinity, sigpending infinity"));
    assert!(low.means.ends_with(": nofile"), "{}", low.means);
    for row in SCARCE {
        assert_eq!([row.finding(1).state, row.finding(1 << 30).state], [State::Limited, State::Ok], "{}", row.sysctl);
    }
}

#[test]
fn file_systems() {
    let text = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /run rw - tmpfs tmpfs rw\n3 1 8:2 / /var rw shared:1 - xfs /dev/b rw\n4 1 8:2 / /var rw - btrfs /dev/c rw\nbad line\n";
    for (path, kind) in [("/", "ext4"), ("/etc", "ext4"), ("/run/hostel", "tmpfs"), ("/runner", "ext4"), ("/var/lib", "btrfs")] {
        assert_eq!(kind_of(text, Path::new(path)), Some(kind), "{path}");
    }
    assert_eq!(kind_of("", Path::new("/")), None);
    assert_eq!(host::state_finding(Path::new("/run/hostel"), "tmpfs").state, State::Ok);
    assert_eq!(host::state_finding(Path::new("/run/hostel"), "ext4").state, State::Limited);
}

#[test]
fn netlink_answers() {
    let error = |code: i32| message(2, 0, &code.to_ne_bytes());
    assert!(error_of(&error(0)).is_ok());
    assert_eq!(error_of(&error(-95)).unwrap_err().raw_os_error(), Some(95));
    assert!(error_of(&error(i32::MIN)).is_err());
    assert!(error_of(&message(0x0a0f, 0, &[0; 4])).is_ok(), "what was asked for");
    for bad in [&[][..], &[0; 5], &message(2, 0, &[])] {
        assert_eq!(error_of(bad).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn tools_are_found_by_path_alone() {
    let tar = host::TOOLS.iter().find(|t| t.name == "tar").unwrap();
    assert_eq!(tar.finding(OsStr::new("/nowhere:relative::/usr/bin:/bin")).state, State::Ok);
    let names: HashSet<_> = host::TOOLS.iter().map(|t| t.name).collect();
    assert_eq!(names.len(), host::TOOLS.len());
}

#[test]
fn what_is_needed_decides() {
    let row = |state, needed| Finding { needed, ..Finding::new("x", state, "", "") };
    assert!(can_run(&[row(State::Ok, true), row(State::Missing, false), row(State::Limited, true)]));
    assert!(!can_run(&[row(State::Ok, true), row(State::Missing, true)]));
    assert_eq!(Finding::new("x", State::Ok, "", "").advise("nothing to do").advice, None);
}
