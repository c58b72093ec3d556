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
    let own = Evidence { facts: Facts { name: b"init".to_vec(), ..Facts::default() }, ..evidence("hostel", &["hostel"], 0, 0) };
    assert_eq!((own.kind(), own.label().as_str(), evidence("hostel", &[], 0, 0).label().as_str()), (InitKind::Generic, "hostel", "-"));
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
    let root = rustix::fs::open(dir.join("root"), OFlags::PATH | OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
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

#[test]
fn real_time_signals_by_what_is_waited_for() {
    let shift = |blocked, musl| Evidence { musl, ..evidence("systemd", &["/sbin/init"], blocked, 0) }.rt_shift();
    assert_eq!(shift(0x7fe3_c0fe_2801_4a03, true), 0, "glibc's systemd beside an installed musl");
    assert_eq!(shift((0x7fe3_c0fe_2801_4a03u64 & !0xffff_ffff) << 1, false), 1);
    assert_eq!((shift(0, true), shift(0, false)), (1, 0));
    assert_eq!(evidence("systemd-shutdown", &["/usr/lib/systemd/systemd-shutdown"], 0, 0).kind(), InitKind::Ending);
    assert!(methods(InitKind::Ending, Goal::PowerOff, &Evidence::default()).is_empty());
}

mod real {
    //! With mini inits made by unshare(1).

    use super::super::foreign::{Order, Stopped, stop};
    use super::*;
    use crate::enter::tests::{Guest, READY};
    use hostel_sys::clone::WaitStatus;

    const USER: [&str; 2] = ["--user", "--map-root-user"];

    fn again(guest: &Guest) -> Leader {
        Leader::from_pid(guest.leader.pid()).unwrap()
    }

    fn order(milliseconds: u64) -> Order {
        Order { timeout: Duration::from_millis(milliseconds), signal: None, kill: true }
    }

    fn timed(guest: &Guest, order: &Order) -> (Stopped, Duration) {
        let begun = Instant::now();
        let stopped = stop(again(guest), None, None, order).unwrap();
        (stopped, begun.elapsed())
    }

    #[test]
    fn a_plain_program_ends_at_once() {
        let Some(guest) = Guest::start(&USER, &format!("{READY} exec cat")) else { return };
        let held = again(&guest);
        let (stopped, took) = timed(&guest, &order(20_000));
        assert!(matches!(stopped, Stopped::Cleanly(_)) && took < Duration::from_secs(3), "{stopped:?} {took:?}");
        assert_eq!(stop(held, None, None, &order(1000)).unwrap(), Stopped::Before);
        assert_eq!((Stopped::Before.exit_code(false), Stopped::Before.exit_code(true), stopped.exit_code(true)), (0, 3, 0));
    }

    #[test]
    fn never_killed_when_not_wanted() {
        let Some(guest) = Guest::start(&USER, &format!("{READY} exec cat")) else { return };
        let (stopped, took) = timed(&guest, &Order { kill: false, ..order(1200) });
        assert_eq!(stopped, Stopped::StillRuns);
        assert!(took >= Duration::from_millis(1200) && took < Duration::from_secs(4), "{took:?}");
        assert!(guest.leader.is_alive() && stopped.exit_code(false) == 5);
    }

    #[test]
    fn a_shell_that_catches_term() {
        let Some(guest) = Guest::start(&USER, &format!("trap 'exit 7' TERM; {READY} while :; do sleep 0.1; done")) else { return };
        let (stopped, took) = timed(&guest, &order(20_000));
        assert!(took < Duration::from_secs(3), "{took:?}");
        // The parent is unshare(1), which may have reaped it; Linux before 6.15 then cannot tell.
        assert!(matches!(stopped, Stopped::Cleanly(None | Some(WaitStatus::Exited(7)))), "{stopped:?}");
    }

    /// Asked once, not again and again; its children get SIGTERM before the end; killed on time.
    #[test]
    fn a_program_that_does_not_end() {
        let dir = std::env::temp_dir().join(format!("hostel-stop-stubborn-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.display();
        let script = format!(
            "trap 'echo T >>{path}/leader' TERM; sh -c 'trap \"echo T >>{path}/child; exit\" TERM; while :; do sleep 0.1; done' & {READY} while :; do sleep 0.1; done"
        );
        if let Some(guest) = Guest::start(&USER, &script) {
            std::thread::sleep(Duration::from_millis(200));
            let (stopped, took) = timed(&guest, &order(6000));
            assert_eq!((stopped, stopped.exit_code(false)), (Stopped::Killed, 4));
            assert!(took >= Duration::from_millis(5900) && took < Duration::from_secs(8), "{took:?}");
            assert_eq!(std::fs::read_to_string(dir.join("leader")).unwrap(), "T\n");
            assert_eq!(std::fs::read_to_string(dir.join("child")).unwrap(), "T\n");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_signal_the_user_chose() {
        let Some(guest) = Guest::start(&USER, &format!("trap 'exit 3' USR1; trap 'exit 4' TERM; {READY} while :; do sleep 0.1; done")) else {
            return;
        };
        let (stopped, _) = timed(&guest, &Order { signal: Some(hostel_spec::Signal::USR1), ..order(20_000) });
        assert!(matches!(stopped, Stopped::Cleanly(None | Some(WaitStatus::Exited(3)))), "{stopped:?}");
    }

    /// A program called init that reads System V requests, its FIFO where a real one has it.
    fn sysvinit(fifo: &str, dir: &Path) -> Option<Guest> {
        // busybox decides by its first argument what to be; its file's name is what we look at.
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|p| p.exists());
        let Some(busybox) = busybox else {
            eprintln!("skipped: no busybox");
            return None;
        };
        std::fs::create_dir_all(dir).unwrap();
        std::fs::copy(busybox, dir.join("init")).unwrap();
        let read = "while :; do dd if=/run/initctl of=/run/request bs=384 count=1 2>/dev/null; set -- $(od -An -tx1 -N9 /run/request); \
                    [ \"$*\" = \"69 19 09 03 01 00 00 00 30\" ] && exit 9; done";
        let script = format!("mount -t tmpfs none /run; {fifo}; {READY} exec bash -c 'exec -a sh {}/init -c '\\''{read}'\\'''", dir.display());
        Guest::start(&USER, &script)
    }

    fn wait_until_init(guest: &Guest) {
        for _ in 0..500 {
            if guest.leader.program().is_ok_and(|p| p.ends_with(b"/init")) {
                return;
            }
            std::thread::sleep(Duration::from_millis(4));
        }
        panic!("not an init: {:?}", guest.leader.program());
    }

    #[test]
    fn system_v_by_fifo_that_appears_late() {
        let dir = std::env::temp_dir().join(format!("hostel-stop-sysv-{}", std::process::id()));
        if let Some(guest) = sysvinit("mkfifo /run/initctl", &dir) {
            wait_until_init(&guest);
            assert_eq!(Evidence::of(&guest.leader).kind(), InitKind::Sysvinit);
            let (stopped, took) = timed(&guest, &order(30_000));
            assert!(matches!(stopped, Stopped::Cleanly(None | Some(WaitStatus::Exited(9)))) && took < Duration::from_secs(8), "{stopped:?} {took:?}");
        }
        let _ = std::fs::remove_dir_all(&dir);
    }

    /// The guest leads its FIFO's name out to one of the host: nothing arrives there.
    #[test]
    fn a_planted_fifo_link_leads_nowhere() {
        let dir = std::env::temp_dir().join(format!("hostel-stop-trap-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("root/run")).unwrap();
        let trap = dir.join("trap");
        rustix::fs::mknodat(rustix::fs::CWD, &trap, FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
        let end = rustix::fs::open(&trap, OFlags::RDONLY | OFlags::NONBLOCK, rustix::fs::Mode::empty()).unwrap();
        for target in [trap.clone(), "../../trap".into(), Path::new("/proc/1/root").join(trap.strip_prefix("/").unwrap())] {
            for path in ["run/initctl", "run"] {
                let root = dir.join("root");
                let _ = std::fs::remove_dir_all(&root);
                std::fs::create_dir_all(root.join("run")).unwrap();
                if path == "run" {
                    std::fs::remove_dir(root.join("run")).unwrap();
                    rustix::fs::rename(&trap, dir.join("initctl")).unwrap();
                    std::os::unix::fs::symlink(if target.is_absolute() { dir.clone() } else { "..".into() }, root.join("run")).unwrap();
                } else {
                    std::os::unix::fs::symlink(&target, root.join(path)).unwrap();
                }
                let opened = rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
                let written = write_fifo(opened.as_fd(), "run/initctl", b"trapped");
                if path == "run" {
                    rustix::fs::rename(dir.join("initctl"), &trap).unwrap();
                }
                assert!(!written, "{path} -> {target:?}");
                assert_eq!(rustix::io::read(&end, &mut [0u8; 8]).unwrap_or(0), 0, "{path} -> {target:?}");
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// PID 1 is all that is left and may not power off: its end is ours to bring about, and is a clean one.
    #[test]
    fn an_init_that_cannot_power_off() {
        let dir = std::env::temp_dir().join(format!("hostel-stop-halted-{}", std::process::id()));
        let Some(guest) = sysvinit("mkfifo /run/initctl; exec setpriv --bounding-set=-sys_boot --inh-caps=-all sh -c \"echo ready; exec >/dev/null; exec bash -c 'exec -a sh DIR/init -c \\\"while :; do read x </run/initctl; done\\\"'\"".replace("DIR", &dir.display().to_string()).as_str(), &dir)
        else {
            return;
        };
        wait_until_init(&guest);
        let (stopped, took) = timed(&guest, &order(30_000));
        assert!(matches!(stopped, Stopped::Cleanly(_)), "{stopped:?}");
        assert!(took > Duration::from_secs(1) && took < Duration::from_secs(9), "{took:?}");
        let _ = std::fs::remove_dir_all(&dir);
    }
}
