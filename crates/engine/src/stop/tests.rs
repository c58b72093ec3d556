use super::*;
use crate::enter::Facts;

fn evidence(program: &str, argv: &[&str], blocked: u64, caught: u64) -> Evidence {
    Evidence {
        program: program.into(),
        arguments: argv.iter().map(|a| (*a).into()).collect(),
        facts: Facts { blocked, caught, ..Facts::default() },
        ..Evidence::default()
    }
}

/// Masks as measured (spec/overlay-and-inits.md 4.3).
#[test]
fn fingerprints() {
    let cases: [(Evidence, InitKind); 16] = [
        (evidence("systemd", &["/sbin/init"], 0x7fe3_c0fe_2801_4a03, 0), InitKind::Systemd),
        (evidence("init", &["init [2]"], 0, 0x280b_2e03), InitKind::Sysvinit),
        (Evidence { initctl: true, ..evidence("init", &["init"], 0, 0) }, InitKind::Sysvinit),
        (evidence("init", &["/init"], 0, 0), InitKind::Generic),
        (evidence("init", &["/init"], !0, 0), InitKind::Generic),
        (evidence("openrc-init", &["/sbin/init"], 0xffff_fffe_5ffa_befd, 0x2001_4002), InitKind::OpenrcInit),
        (evidence("runit", &["runit"], 0, 0x2003_2002), InitKind::Runit),
        (evidence("s6-svscan", &["s6-svscan"], 0x2801_6a27, 0), InitKind::S6),
        (evidence("busybox", &["/sbin/init"], 0, 0x80000), InitKind::Busybox),
        (evidence("busybox", &["sh"], 0, 0), InitKind::Generic),
        (evidence("dinit", &["dinit"], 0xffff_fffe_7ffb_feff, 0), InitKind::Dinit),
        (evidence("finit", &["/sbin/init"], 0x2001_4b03, 0), InitKind::Finit),
        (evidence("tini", &["/tini", "--", "x"], 0, 0), InitKind::Stub),
        (evidence("guile", &["guile", "/usr/bin/shepherd"], 0, 0), InitKind::Shepherd),
        (evidence("hostel", &["hostel"], 0, 0), InitKind::Generic),
        (evidence("nginx", &["nginx"], 0, 0x4000), InitKind::Generic),
    ];
    for (evidence, kind) in cases {
        assert_eq!(evidence.kind(), kind, "{evidence:?}");
    }
    let stub = Evidence { facts: Facts { name: b"(sd-stubinit)".to_vec(), ..Facts::default() }, ..evidence("hostel", &["(sd-stubinit)"], 0, 0) };
    assert_eq!(stub.kind(), InitKind::Stub);
}

#[test]
fn first_choices() {
    let plain = Evidence::default();
    let first = |kind, goal, e: &Evidence| methods(kind, goal, e)[0].clone();
    for (kind, off, reboot) in [
        (InitKind::Systemd, Method::Signal(38), Method::Signal(39)),
        (InitKind::Sysvinit, Method::Runlevel(b'0'), Method::Runlevel(b'6')),
        (InitKind::OpenrcInit, Method::Signal(15), Method::Signal(2)),
        (InitKind::Runit, Method::Run(&["/sbin/init", "0"]), Method::Run(&["/sbin/init", "6"])),
        (InitKind::S6, Method::Signal(10), Method::Signal(2)),
        (InitKind::Busybox, Method::Signal(12), Method::Signal(15)),
        (InitKind::Dinit, Method::Signal(15), Method::Signal(2)),
        (InitKind::Finit, Method::Signal(12), Method::Signal(15)),
        (InitKind::Generic, Method::Kill, Method::Signal(39)),
    ] {
        assert_eq!(first(kind, Goal::PowerOff, &plain), off, "{kind:?}");
        assert_eq!(first(kind, Goal::Reboot, &plain), reboot, "{kind:?}");
    }
    let newer = evidence("init", &["init"], 0, 0x20_280b_2e03);
    assert_eq!(first(InitKind::Sysvinit, Goal::PowerOff, &newer), Method::Signal(38));
    let unknown = Evidence { booted: true, ..Evidence::default() };
    assert_eq!(methods(InitKind::Generic, Goal::PowerOff, &unknown), [Method::Signal(37), Method::Signal(15)]);
    let musl = Evidence { musl: true, ..Evidence::default() };
    assert_eq!(first(InitKind::Systemd, Goal::PowerOff, &musl), Method::Signal(39));
    assert_eq!(first(InitKind::Generic, Goal::PowerOff, &evidence("nginx", &[], 0, 0x4000)), Method::Signal(15));
    let s6 = Evidence { s6_term_shuts_down: true, ..Evidence::default() };
    assert_eq!(first(InitKind::S6, Goal::PowerOff, &s6), Method::Signal(15));
}

#[test]
fn rotation_begins_after_three_rounds() {
    let list = [Method::Signal(1), Method::Signal(2), Method::Signal(3)];
    let picked: Vec<i32> = (0..7)
        .filter_map(|round| match choose(&list, round) {
            Some(Method::Signal(n)) => Some(*n),
            _ => None,
        })
        .collect();
    assert_eq!(picked, [1, 1, 1, 2, 3, 1, 2]);
    assert_eq!(choose(&[Method::Kill], 9), Some(&Method::Kill));
}

#[test]
fn runlevel_request_is_as_sysvinit_reads_it() {
    let request = runlevel_request(b'0');
    assert_eq!(request.len(), 384);
    assert_eq!(request[..12], [0x69, 0x19, 0x09, 0x03, 1, 0, 0, 0, b'0', 0, 0, 0]);
}

#[test]
fn only_fifos_inside_the_root_are_written() {
    let dir = std::env::temp_dir().join(format!("hostel-stop-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("root/run")).unwrap();
    let fifo = |path: &Path| rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    let trap = dir.join("trap");
    fifo(&trap);
    std::os::unix::fs::symlink(&trap, dir.join("root/run/initctl")).unwrap();
    let read = |path: &Path| rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK, rustix::fs::Mode::empty()).unwrap();
    let trap_end = read(&trap);
    let root = rustix::fs::open(&dir.join("root"), OFlags::PATH | OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    assert!(!write_fifo(root.as_fd(), "run/initctl", b"x"), "an absolute link out of the root was followed");
    assert_eq!(rustix::io::read(&trap_end, &mut [0u8; 8]).unwrap_or(0), 0);
    std::fs::write(dir.join("root/run/file"), b"").unwrap();
    assert!(!write_fifo(root.as_fd(), "run/file", b"x"), "a regular file was written");
    assert!(!write_fifo(root.as_fd(), "run/none", b"x"));
    fifo(&dir.join("root/run/real"));
    assert!(!write_fifo(root.as_fd(), "run/real", b"x"), "nobody reads");
    let end = read(&dir.join("root/run/real"));
    assert!(write_fifo(root.as_fd(), "run/real", b"hello"));
    let mut buffer = [0u8; 8];
    assert_eq!(rustix::io::read(&end, &mut buffer).unwrap(), 5);
    std::fs::remove_dir_all(&dir).unwrap();
}
