use super::undo::Journal;
use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

struct Temp(PathBuf);

impl Temp {
    fn new(tag: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("hostel-registry-{tag}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }
    fn root(&self) -> PathBuf {
        self.0.join("run")
    }
    fn registry(&self) -> Registry {
        Registry::open(&self.root()).unwrap()
    }
}
impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn name(s: &str) -> MachineName {
    MachineName::new(s).unwrap()
}

fn state(n: &str) -> MachineState {
    let mut state = MachineState::new(name(n), ProcessId::current().unwrap());
    state.stamp().unwrap();
    state
}

/// A process that sleeps; killed when the test ends in whatever way.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
impl std::ops::Deref for Sleeper {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}
impl std::ops::DerefMut for Sleeper {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

fn sleeper() -> Sleeper {
    Sleeper(Command::new("/bin/sleep").arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn ended(child: &mut Child) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn one_life() {
    let temp = Temp::new("life");
    let registry = temp.registry();
    let a = name("a");
    assert!(registry.list().unwrap().is_empty());
    let mut claim = registry.claim(&a).unwrap();
    assert!(claim.recovered().is_none());
    let starting = registry.load(&a).unwrap();
    assert_eq!((starting.liveness, starting.is_damaged(), starting.owner), (Liveness::Unknown, false, Some(std::process::id() as i32)));
    claim.journal(&Undo::File { path: temp.root().join("uids/1").into_os_string().into() }).unwrap();
    let mut now = state("a");
    now.phase = Phase::Running;
    now.tree = Some("/var/lib/machines/a".into());
    claim.write_state(&now).unwrap();
    let machine = registry.load(&a).unwrap();
    assert_eq!(machine.known(), Some(&now));
    assert!(machine.is_alive());
    match registry.claim(&a) {
        Err(RegistryError::Busy { name, pid }) => assert_eq!((name, pid), (a.clone(), Some(std::process::id() as i32))),
        other => panic!("{other:?}"),
    }
    assert!(registry.clean().unwrap().is_empty());
    assert_eq!(registry.list().unwrap().len(), 1);
    claim.release().unwrap();
    assert!(registry.list().unwrap().is_empty());
    assert!(matches!(registry.load(&a), Err(RegistryError::NotRunning { .. })));
    // Modes: the state is for everybody, the rest is not.
    let claim = registry.claim(&a).unwrap();
    claim.write_state(&state("a")).unwrap();
    claim.write_filter(&[hostel_sys::seccomp::Insn { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }]).unwrap();
    let mode = |f: &str| std::fs::metadata(claim.path().join(f)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state.json"), mode("lock"), mode("filter"), mode("")), (0o644, 0o600, 0o600, 0o755));
    assert_eq!(registry.load(&a).unwrap().filter().unwrap()[0].k, 0x7fff_0000);
    claim.release().unwrap();
}

#[test]
fn of_64_one_wins() {
    let temp = Temp::new("race");
    temp.registry();
    for round in 0..20 {
        let barrier = Barrier::new(64);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let start = |_| {
                scope.spawn(|| {
                    let registry = temp.registry();
                    barrier.wait();
                    registry.claim(&name("m"))
                })
            };
            let all: Vec<_> = (0..64).map(start).collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let won = outcomes.iter().filter(|o| o.is_ok()).count();
        let busy = outcomes.iter().filter(|o| matches!(o, Err(RegistryError::Busy { .. }))).count();
        assert_eq!((won, busy), (1, 63), "round {round}");
        for claim in outcomes.into_iter().flatten() {
            assert!(claim.recovered().is_none());
            // Every other round ends untidily.
            if round % 2 == 0 { claim.release().unwrap() } else { drop(claim) }
        }
    }
}

/// Starts that follow ends as closely as they can: nobody ever holds a name together with another, nothing is left.
#[test]
fn claim_and_release_in_a_loop() {
    let temp = Temp::new("churn");
    let held = std::sync::atomic::AtomicU32::new(0);
    let wins = std::sync::atomic::AtomicU32::new(0);
    use std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let registry = temp.registry();
                for _ in 0..300 {
                    match registry.claim(&name("m")) {
                        Ok(claim) => {
                            assert_eq!(held.fetch_add(1, SeqCst), 0);
                            claim.write_state(&state("m")).unwrap();
                            wins.fetch_add(1, SeqCst);
                            held.fetch_sub(1, SeqCst);
                            claim.release().unwrap();
                        }
                        Err(RegistryError::Busy { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    assert!(wins.load(SeqCst) > 50);
    temp.registry().claim(&name("m")).unwrap().release().unwrap();
    assert!(temp.registry().list().unwrap().is_empty());
}

/// Not a test of its own: the process that `killed_supervisor` kills.
#[test]
#[ignore = "run by killed_supervisor"]
fn holder() {
    let Some(root) = std::env::var_os("HOSTEL_TEST_ROOT") else { return };
    let leader: i32 = std::env::var("HOSTEL_TEST_LEADER").unwrap().parse().unwrap();
    let extra = std::env::var_os("HOSTEL_TEST_TEMPORARY").unwrap();
    let registry = Registry::open(Path::new(&root)).unwrap();
    let mut claim = registry.claim(&name("m")).unwrap();
    let process = ProcessId::of(leader).unwrap().unwrap();
    claim.journal_all(&[Undo::Directory { path: extra.into() }, Undo::Leader { process }]).unwrap();
    let mut now = state("m");
    now.leader = Some(process);
    now.phase = Phase::Running;
    claim.write_state(&now).unwrap();
    std::fs::write(Path::new(&root).join("ready"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

fn start_holder(temp: &Temp, leader: &Child) -> Sleeper {
    let _ = std::fs::remove_file(temp.root().join("ready"));
    let child = Sleeper(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "registry::tests::holder", "--ignored", "--quiet"])
            .env("HOSTEL_TEST_ROOT", temp.root())
            .env("HOSTEL_TEST_LEADER", leader.id().to_string())
            .env("HOSTEL_TEST_TEMPORARY", temp.0.join(".#hostel-copy"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while !temp.root().join("ready").exists() {
        assert!(Instant::now() < deadline, "the holder did not start");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[test]
fn killed_supervisor() {
    for by_clean in [false, true] {
        let temp = Temp::new(if by_clean { "killed-clean" } else { "killed-start" });
        let registry = temp.registry();
        std::fs::create_dir_all(temp.0.join(".#hostel-copy/etc")).unwrap();
        std::fs::write(temp.0.join(".#hostel-copy/etc/f"), "x").unwrap();
        let mut leader = sleeper();
        let mut holder = start_holder(&temp, &leader);
        // While it lives, nothing is touched.
        assert!(matches!(registry.claim(&name("m")), Err(RegistryError::Busy { pid: Some(pid), .. }) if pid == holder.id() as i32));
        assert!(registry.clean().unwrap().is_empty());
        assert!(registry.load(&name("m")).unwrap().is_alive());
        assert!(leader.try_wait().unwrap().is_none());
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert_eq!(registry.load(&name("m")).unwrap().liveness, Liveness::Dead);
        if by_clean {
            let cleaned = registry.clean().unwrap();
            assert_eq!(cleaned.len(), 1);
            assert_eq!((cleaned[0].report.undone, &cleaned[0].report.failures[..]), (2, &[][..]));
            assert!(registry.list().unwrap().is_empty());
        } else {
            let claim = registry.claim(&name("m")).unwrap();
            assert_eq!(claim.recovered().unwrap().undone, 2);
            assert_eq!(std::fs::read_dir(claim.path()).unwrap().count(), 1, "only the lock is left");
            claim.release().unwrap();
        }
        assert!(ended(&mut leader), "the orphaned leader lives on");
        assert!(!temp.0.join(".#hostel-copy").exists());
    }
}

/// A state that names a process which is now another one: nobody is killed.
#[test]
fn reused_pid_is_spared() {
    let temp = Temp::new("reuse");
    let registry = temp.registry();
    let mut other = sleeper();
    let id = ProcessId::of(other.id() as i32).unwrap().unwrap();
    let wrong = ProcessId { start: id.start - 1, ..id };
    let mut claim = registry.claim(&name("m")).unwrap();
    claim.journal(&Undo::Leader { process: wrong }).unwrap();
    let mut now = state("m");
    now.leader = Some(wrong);
    claim.write_state(&now).unwrap();
    drop(claim);
    // Right identity, wrong boot.
    let mut claim = registry.claim(&name("n")).unwrap();
    claim.journal(&Undo::Leader { process: id }).unwrap();
    let mut now = state("n");
    now.leader = Some(id);
    now.boot_id = "another".into();
    claim.write_state(&now).unwrap();
    let undo = claim.path().join("undo");
    let text = std::fs::read_to_string(&undo).unwrap().replace(&boot_id().unwrap(), "another");
    std::fs::write(&undo, text).unwrap();
    drop(claim);
    let cleaned = registry.clean().unwrap();
    assert!(cleaned.len() == 2 && cleaned.iter().all(|c| c.report.failures.is_empty()), "{cleaned:?}");
    assert!(other.try_wait().unwrap().is_none());
}

/// (what was done to it, bytes); every one must be told from a good file or parsed to a sane one, never panic.
fn mutations() -> Vec<(String, Vec<u8>)> {
    let good = state("m").to_text();
    let text = String::from_utf8(good.clone()).unwrap();
    let mut out: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), vec![]),
        ("blank".into(), b" \n".to_vec()),
        ("NULs".into(), vec![0; 4096]),
        ("not UTF-8".into(), vec![0xff; 100]),
        ("other JSON".into(), b"[]".to_vec()),
        ("null".into(), b"null".to_vec()),
        ("number".into(), b"1e999".to_vec()),
        ("deep".into(), b"[".repeat(100_000)),
        ("deep object".into(), b"{\"a\":".repeat(10_000)),
        ("twice".into(), [good.clone(), good.clone()].concat()),
        ("newer".into(), text.replace("\"version\":1", "\"version\":2").into_bytes()),
        ("version 0".into(), text.replace("\"version\":1", "\"version\":0").into_bytes()),
        ("other name".into(), text.replace("\"m\"", "\"n\"").into_bytes()),
        ("name with slash".into(), text.replace("\"m\"", "\"../m\"").into_bytes()),
        ("pid 0".into(), text.replace("\"pid\":", "\"pid\":0,\"x\":").into_bytes()),
        ("pid -1".into(), text.replace("\"pid\":", "\"pid\":-1,\"x\":").into_bytes()),
        ("pid huge".into(), text.replace("\"pid\":", "\"pid\":99999999999,\"x\":").into_bytes()),
        ("pid text".into(), text.replace("\"pid\":", "\"pid\":\"1\",\"x\":").into_bytes()),
        ("no supervisor".into(), text.replace("\"supervisor\"", "\"supervisors\"").into_bytes()),
        ("bad phase".into(), text.replace("starting", "dancing").into_bytes()),
        ("2 MiB".into(), vec![b' '; 2 << 20]),
    ];
    for at in [1, 2, 10, 30, 60, 100, good.len() / 2, good.len() - 3, good.len() - 2] {
        out.push((format!("cut at {at}"), good[..at].to_vec()));
    }
    for at in (0..good.len() - 1).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x80;
        out.push((format!("bit flipped at {at}"), bad));
    }
    out
}

#[test]
fn damaged_states_hide_nobody() {
    let temp = Temp::new("damaged");
    let registry = temp.registry();
    let (before, after) = (registry.claim(&name("a")).unwrap(), registry.claim(&name("z")).unwrap());
    before.write_state(&state("a")).unwrap();
    after.write_state(&state("z")).unwrap();
    let all = mutations();
    assert!(all.len() >= 40);
    for (what, bytes) in all {
        assert!(MachineState::parse(&bytes, &name("m")).is_err(), "{what}");
        let mut leader = sleeper();
        let mut claim = registry.claim(&name("m")).unwrap();
        claim.journal(&Undo::Leader { process: ProcessId::of(leader.id() as i32).unwrap().unwrap() }).unwrap();
        std::fs::write(claim.path().join("state.json"), &bytes).unwrap();
        let list = registry.list().unwrap();
        let seen: Vec<_> = list.iter().map(|m| (m.name.as_str(), m.liveness, m.is_damaged())).collect();
        let want = [("a", Liveness::Alive, false), ("m", Liveness::Unknown, true), ("z", Liveness::Alive, false)];
        assert_eq!(seen, want, "{what}");
        // Damaged while it is held: not cleaned, not started twice.
        assert!(matches!(registry.claim(&name("m")), Err(RegistryError::Busy { .. })), "{what}");
        drop(claim);
        registry.claim(&name("m")).unwrap_or_else(|e| panic!("{what}: {e}")).release().unwrap();
        assert!(ended(&mut leader), "{what}: payload lives on");
    }
    assert_eq!(registry.list().unwrap().len(), 2);
}

#[test]
fn a_journal_in_pieces_is_recovered_by_the_state() {
    let temp = Temp::new("pieces");
    let registry = temp.registry();
    for bytes in [&b""[..], b"\xff\xff\n{}\n", b"{\"undo\":\"leader\",\"process\":{\"pid\":"] {
        let mut leader = sleeper();
        let claim = registry.claim(&name("m")).unwrap();
        let mut now = state("m");
        now.leader = ProcessId::of(leader.id() as i32).unwrap();
        claim.write_state(&now).unwrap();
        std::fs::write(claim.path().join("undo"), bytes).unwrap();
        drop(claim);
        registry.clean().unwrap();
        assert!(ended(&mut leader));
        assert!(registry.list().unwrap().is_empty());
    }
}

#[test]
fn a_journal_keeps_what_is_still_there() {
    let temp = Temp::new("compact");
    let mut claim = temp.registry().claim(&name("m")).unwrap();
    claim.compact().unwrap();
    let mut dead = Command::new("true").spawn().unwrap();
    let dead_process = ProcessId::of(dead.id() as i32).unwrap();
    dead.wait().unwrap();
    let living = sleeper();
    let leader = Undo::Leader { process: ProcessId::of(living.id() as i32).unwrap().unwrap() };
    let (here, gone) = (temp.0.join(".#hostel-here"), temp.0.join(".#hostel-gone"));
    std::fs::create_dir(&here).unwrap();
    let directory = |path: &Path| Undo::Directory { path: path.as_os_str().into() };
    let link = Undo::Link { name: "ve-m".into(), alias: "hostel:m".into() };
    let cgroup = Undo::Cgroup { path: "/sys/fs/cgroup/hostel/no-such-machine".into() };
    let journal = || std::fs::read(temp.root().join("machines/m/undo")).unwrap();
    let mut longest = 0;
    for _ in 0..20 {
        claim.journal_all(&[directory(&here), cgroup.clone(), link.clone(), directory(&gone)]).unwrap();
        claim.journal_all(&dead_process.map(|process| Undo::Leader { process }).into_iter().collect::<Vec<_>>()).unwrap();
        claim.journal(&leader).unwrap();
        longest = longest.max(journal().len());
        claim.compact().unwrap();
        let now = Journal::parse(&journal());
        assert_eq!(now.records, [directory(&here), link.clone(), leader.clone()]);
        assert_eq!((now.boot, now.damaged), (Some(super::boot_id().unwrap()), 0));
    }
    assert!(longest < 4096, "{longest}");
    // What is written afterwards is in the file that is read; what cannot be read is left as it is.
    std::fs::write(temp.root().join("machines/m/.#hostel-undo"), "half of an").unwrap();
    claim.journal(&directory(&gone)).unwrap();
    assert_eq!(Journal::parse(&journal()).records.len(), 4);
    let damaged = [&journal()[..], b"{}\n"].concat();
    std::fs::write(temp.root().join("machines/m/undo"), &damaged).unwrap();
    claim.compact().unwrap();
    assert_eq!(journal(), damaged);
    claim.forget();
    claim.release().unwrap();
    assert!(!temp.root().join("machines/m").exists());
}

#[test]
fn records_that_are_not_ours_touch_nothing() {
    let temp = Temp::new("hostile");
    let registry = temp.registry();
    let precious = temp.0.join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("f"), "x").unwrap();
    // The door a writer has to pass, and the same records in a file that somebody else wrote.
    let bad = [
        Undo::Directory { path: precious.clone().into_os_string().into() },
        Undo::File { path: precious.join("f").into_os_string().into() },
        Undo::Mount { path: "/".into() },
        Undo::Leader { process: ProcessId { pid: 1, start: 1 } },
        Undo::Cgroup { path: "/sys/fs/cgroup".into() },
    ];
    for record in &bad {
        let mut claim = registry.claim(&name("m")).unwrap();
        assert!(claim.journal(record).is_err(), "{record:?}");
        std::fs::write(claim.path().join("undo"), record.to_line()).unwrap();
        drop(claim);
        match registry.claim(&name("m")) {
            Err(RegistryError::Remains { failures, .. }) => assert_eq!(failures.len(), 1, "{record:?}"),
            other => panic!("{record:?}: {other:?}"),
        }
        std::fs::remove_file(registry.path_of(&name("m")).join("undo")).unwrap();
    }
    assert!(precious.join("f").exists());
    // A temporary name that is a link to somewhere else, or a file: not what was made there, and nothing that stops a start.
    let link = temp.0.join(".#hostel-x");
    symlink(&precious, &link).unwrap();
    let file = temp.0.join(".#hostel-file");
    std::fs::write(&file, "x").unwrap();
    for path in [link, file, temp.0.join(".#hostel-none")] {
        let text = || path.clone().into_os_string().into();
        assert_eq!(recover::execute(&Undo::Directory { path: text() }, &temp.root()), Ok(()), "{}", path.display());
        assert_eq!(recover::execute(&Undo::Work { path: text() }, &temp.root()), Ok(()), "{}", path.display());
    }
    assert!(temp.0.join(".#hostel-file").exists());
    // Below the state directory, but through a link out of it.
    symlink(&precious, temp.root().join("out")).unwrap();
    assert!(recover::execute(&Undo::File { path: temp.root().join("out/f").into_os_string().into() }, &temp.root()).is_err());
    assert!(precious.join("f").exists());
    // Not a cgroup file system.
    std::fs::create_dir_all(temp.0.join("hostel/m")).unwrap();
    assert!(recover::execute(&Undo::Cgroup { path: temp.0.join("hostel/m").into_os_string().into() }, &temp.root()).is_err());
    assert!(temp.0.join("hostel/m").exists());
}

#[test]
fn links_and_other_owners_are_refused() {
    let temp = Temp::new("links");
    let refused = |root: &Path| matches!(Registry::open(root), Err(RegistryError::Unsafe { .. }));
    let trap = temp.0.join("trap");
    std::fs::create_dir(&trap).unwrap();
    let link = temp.0.join("link");
    symlink(&trap, &link).unwrap();
    assert!(refused(&link));
    let open = temp.0.join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused(&open));
    let file = temp.0.join("file");
    std::fs::write(&file, "").unwrap();
    assert!(refused(&file));
    let inner = temp.0.join("inner");
    std::fs::create_dir(&inner).unwrap();
    symlink(&trap, inner.join("machines")).unwrap();
    assert!(refused(&inner));
    if rustix::process::geteuid().is_root() {
        let other = temp.0.join("other");
        std::fs::create_dir(&other).unwrap();
        std::os::unix::fs::chown(&other, Some(65534), None).unwrap();
        assert!(refused(&other));
    }
    // At the machine's own places.
    let registry = temp.registry();
    symlink(&trap, registry.path_of(&name("a"))).unwrap();
    assert!(matches!(registry.claim(&name("a")), Err(RegistryError::Unsafe { .. })));
    std::fs::create_dir(registry.path_of(&name("b"))).unwrap();
    symlink(trap.join("made"), registry.path_of(&name("b")).join("lock")).unwrap();
    assert!(matches!(registry.claim(&name("b")), Err(RegistryError::Unsafe { .. })));
    let claim = registry.claim(&name("c")).unwrap();
    std::fs::write(trap.join("keep"), "x").unwrap();
    symlink(trap.join("keep"), claim.path().join(".#hostel-state")).unwrap();
    assert!(claim.write_state(&state("c")).is_err());
    assert_eq!(std::fs::read(trap.join("keep")).unwrap(), b"x");
    assert_eq!(std::fs::read_dir(&trap).unwrap().count(), 1);
    // A bad neighbour is listed and hides nobody.
    assert_eq!(registry.list().unwrap().len(), 3);
}

#[test]
fn cgroups_of_the_dead_are_removed() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let bases = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/pids"];
    let bases: Vec<_> = bases.into_iter().filter(|b| Path::new(b).join("cgroup.procs").exists()).collect();
    if bases.is_empty() {
        eprintln!("skipped: no cgroups here");
        return;
    }
    let temp = Temp::new("cgroup");
    let registry = temp.registry();
    let id = format!("hostel-test-{}", std::process::id());
    for base in bases {
        let top = Path::new(base).join("hostel").join(&id);
        std::fs::create_dir_all(top.join("payload/deep")).unwrap();
        let mut inside = sleeper();
        std::fs::write(top.join("payload/deep/cgroup.procs"), inside.id().to_string()).unwrap();
        let mut claim = registry.claim(&name("m")).unwrap();
        claim.journal(&Undo::Cgroup { path: top.clone().into_os_string().into() }).unwrap();
        drop(claim);
        // A v1 group counts a process until its parent has taken notice.
        let reaper = std::thread::spawn(move || inside.wait());
        let cleaned = registry.clean().unwrap();
        assert_eq!(cleaned[0].report.failures, Vec::<String>::new(), "{base}");
        assert!(reaper.join().unwrap().is_ok_and(|status| !status.success()), "{base}");
        assert!(!top.exists(), "{base}");
        let _ = std::fs::remove_dir(Path::new(base).join("hostel"));
    }
}

#[test]
fn errors_say_verb_object_cause() {
    let busy: crate::error::Error = RegistryError::Busy { name: name("web"), pid: Some(7) }.into();
    assert_eq!(busy.to_string(), "start machine web: it is already running (supervisor is process 7)");
    assert!(busy.busy && busy.hint.is_some());
    let io: crate::error::Error = failed("open", Path::new("/x/lock"), io::Error::from_raw_os_error(13)).into();
    assert_eq!(io.to_string(), "open /x/lock: Permission denied");
}
