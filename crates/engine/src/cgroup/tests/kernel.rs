//! With the kernel: machines come, are limited, frozen, killed, and leave nothing.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hostel_spec::{CpuQuota, DeviceAccess, DevicePolicy, DeviceRule, DeviceSelector, Limit, MachineName, Resources};
use rustix::fs::{Gid, Uid};
use rustix::process::Pid;

use super::super::*;
use super::not_root;

fn name() -> MachineName {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let text = format!("hostel-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    MachineName::new(text).unwrap()
}

/// A path to what a descriptor is open on, a detached mount included, as long as it is open.
fn path_of(fd: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn join(dir: BorrowedFd<'_>, child: &Child) {
    // Through the descriptor: a detached mount has no path.
    super::super::files::write(dir, "cgroup.procs", &child.id().to_string()).unwrap();
}

/// A shell that waits for `go` before it does anything.
fn shell(script: &str) -> Child {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("read go; {script}")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn go(mut child: Child) -> (String, ExitStatus) {
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (text, child.wait().unwrap())
}

/// Runs a script inside a machine, in its v1 groups too.
fn inside(machine: &MachineCgroup, script: &str) -> String {
    let child = shell(script);
    machine.v1_dirs().chain([machine.payload_dir()]).for_each(|dir| join(dir, &child));
    go(child).0
}

fn gone(paths: &[PathBuf]) {
    assert!(matches!(MachineCgroup::open_recorded(paths), Err(CgroupError::Missing(_))), "left behind: {paths:?}");
    for path in paths {
        assert!(!path.exists(), "left behind: {}", path.display());
    }
}

fn create(resources: &Resources) -> (MachineCgroup, Vec<PathBuf>) {
    let layout = Layout::detect().unwrap();
    let name = name();
    let planned = planned_paths(&layout, &name, resources);
    let machine = MachineCgroup::create(&layout, &name, resources, Options::default()).unwrap();
    assert!(machine.paths().iter().all(|path| planned.contains(path)), "{:?} planned {planned:?}", machine.paths());
    (machine, planned)
}

#[test]
fn a_machine_comes_and_goes() {
    if not_root("a_machine_comes_and_goes") {
        return;
    }
    let (machine, planned) = create(&Resources::default());
    assert!(!machine.has_v1());
    assert!(machine.devices_restricted());
    assert!(std::fs::read_link(path_of(machine.payload_dir())).unwrap().ends_with("payload"));
    assert_eq!(machine.procs().unwrap(), []);
    machine.remove().unwrap();
    gone(&planned);
}

#[test]
fn the_kept_program_can_be_forgotten() {
    if not_root("the_kept_program_can_be_forgotten") {
        return;
    }
    let layout = Layout::detect().unwrap();
    let (machine, planned) = create(&Resources::default());
    forget(&layout).unwrap();
    forget(&layout).unwrap();
    // The machine has its own hold on it.
    assert_eq!(inside(&machine, "(: </dev/kmsg) 2>/dev/null && echo kmsg; (: </dev/null) && echo null"), "null\n");
    machine.remove().unwrap();
    gone(&planned);
}

#[test]
fn whatever_lives_in_it_is_killed_and_removed() {
    if not_root("whatever_lives_in_it_is_killed_and_removed") {
        return;
    }
    let (machine, planned) = create(&Resources::default());
    let payload = path_of(machine.payload_dir());
    // Groups a guest made: deep, wide, with processes at the bottom.
    let mut deep = payload.clone();
    for i in 0..60 {
        deep.push(format!("d{i}"));
        std::fs::create_dir(&deep).unwrap();
        std::fs::create_dir(deep.join("leaf")).unwrap();
    }
    let mut children: Vec<Child> = (0..3).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
    std::fs::write(deep.join("cgroup.procs"), children[0].id().to_string()).unwrap();
    join(machine.payload_dir(), &children[1]);
    let exec = machine.exec_dir().unwrap();
    assert!(machine.exec_dir().is_ok(), "the second time it exists");
    join(exec.as_fd(), &children[2]);

    let mut seen = machine.procs().unwrap();
    let mut want: Vec<Pid> = children.iter().map(pid).collect();
    seen.sort_by_key(|pid| pid.as_raw_nonzero());
    want.sort_by_key(|pid| pid.as_raw_nonzero());
    assert_eq!(seen, want);

    machine.remove().unwrap();
    gone(&planned);
    for child in &mut children {
        assert!(!child.wait().unwrap().success());
    }
}

#[test]
fn a_signal_reaches_all_but_the_spared() {
    if not_root("a_signal_reaches_all_but_the_spared") {
        return;
    }
    let (machine, planned) = create(&Resources::default());
    let mut children: Vec<Child> = (0..20).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
    children.iter().for_each(|child| join(machine.payload_dir(), child));
    let mut spared = children.pop().unwrap();
    machine.signal(15, Some(pid(&spared).as_raw_nonzero().get())).unwrap();
    for child in &mut children {
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(15));
    }
    assert_eq!(spared.try_wait().unwrap(), None);
    machine.remove().unwrap();
    gone(&planned);
    spared.wait().unwrap();
}

#[test]
fn killing_works_without_cgroup_kill_too() {
    if not_root("killing_works_without_cgroup_kill_too") {
        return;
    }
    let (machine, planned) = create(&Resources::default());
    let mut child = Command::new("/bin/sh").args(["-c", "while :; do /bin/true; done"]).spawn().unwrap();
    join(machine.payload_dir(), &child);
    let waiter = std::thread::spawn(move || child.wait().unwrap());
    super::super::tree::kill_one_by_one(machine.dir()).unwrap();
    assert!(!waiter.join().unwrap().success());
    assert_eq!(machine.procs().unwrap(), []);
    machine.remove().unwrap();
    gone(&planned);
}

#[test]
fn recovery_after_a_killed_supervisor() {
    if not_root("recovery_after_a_killed_supervisor") {
        return;
    }
    let resources = Resources { tasks_max: Some(Limit::Value(50)), ..Resources::default() };
    let (machine, planned) = create(&resources);
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    machine.v1_dirs().chain([machine.payload_dir()]).for_each(|dir| join(dir, &child));
    drop(machine);
    remove_paths(&planned).unwrap();
    gone(&planned);
    assert!(!child.wait().unwrap().success());
    remove_paths(&planned).unwrap();
}

#[test]
fn a_name_in_use_is_refused_and_left_alone() {
    if not_root("a_name_in_use_is_refused_and_left_alone") {
        return;
    }
    let layout = Layout::detect().unwrap();
    let name = name();
    let make = || MachineCgroup::create(&layout, &name, &Resources::default(), Options::default());
    let first = make().unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    join(first.payload_dir(), &child);
    assert!(matches!(make(), Err(CgroupError::Busy(_))));
    assert_eq!(first.procs().unwrap(), [pid(&child)]);
    child.kill().unwrap();
    child.wait().unwrap();
    // Empty leftovers are taken over.
    drop(first);
    let until = Instant::now() + Duration::from_secs(5);
    let second = loop {
        match make() {
            Ok(machine) => break machine,
            Err(CgroupError::Busy(_)) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Err(err) => panic!("{err}"),
        }
    };
    second.remove().unwrap();
    assert!(matches!(MachineCgroup::open(&layout, &name), Err(CgroupError::Missing(_))));
}

#[test]
fn limits_hold() {
    if not_root("limits_hold") {
        return;
    }
    let resources = Resources {
        tasks_max: Some(Limit::Value(5)),
        memory_max: Some(Limit::Value(64 << 20)),
        cpu_quota: Some(CpuQuota(1_500_000)),
        cpu_weight: Some(50),
        allowed_cpus: Some(vec![0]),
        ..Resources::default()
    };
    let (machine, planned) = create(&resources);
    assert_eq!(inside(&machine, "grep Cpus_allowed_list /proc/self/status"), "Cpus_allowed_list:\t0\n");
    // 200 MB in a shell variable.
    let big = inside(&machine, "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}");
    assert!(!big.contains("200000000"), "{big}");
    let stats = machine.stats();
    assert!(stats.oom_kills.is_some_and(|n| n > 0), "{stats:?}");
    assert!(stats.memory_peak.is_some_and(|n| n > 32 << 20 && n <= 64 << 20), "{stats:?}");
    assert!(stats.cpu_usec.is_some_and(|n| n > 0), "{stats:?}");
    // The last one: the orphans of a shell that could not fork count until somebody reaps them.
    let forks = inside(&machine, "for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done 2>&1; echo done; wait");
    assert!(!forks.contains("done"), "eight children with five tasks: {forks}");
    assert!(machine.stats().pids_refused.is_some_and(|n| n > 0), "{:?}", machine.stats());
    // Another command finds the same.
    let opened =
        MachineCgroup::open(&Layout::detect().unwrap(), &MachineName::new(planned[0].file_name().unwrap().to_str().unwrap()).unwrap()).unwrap();
    assert_eq!(opened.has_v1(), machine.has_v1());
    assert_eq!(opened.stats().oom_kills, stats.oom_kills);
    let recorded = MachineCgroup::open_recorded(&planned).unwrap();
    assert_eq!((recorded.stats().oom_kills, recorded.paths().len()), (stats.oom_kills, machine.paths().len()));
    machine.remove().unwrap();
    gone(&planned);
}

#[test]
fn limits_of_v2_alone() {
    if not_root("limits_of_v2_alone") {
        return;
    }
    let layout = Layout::detect().unwrap();
    let resources = Resources {
        memory_min: Some(Limit::Value(1 << 20)),
        memory_low: Some(Limit::Value(2 << 20)),
        memory_high: Some(Limit::Permyriad(5_000)),
        memory_max: Some(Limit::Permyriad(6_000)),
        memory_swap_max: Some(Limit::Value(0)),
        io_weight: Some(50),
        ..Resources::default()
    };
    let name = name();
    match MachineCgroup::create(&layout, &name, &resources, Options::default()) {
        Ok(machine) => {
            assert_eq!(layout.kind(), Kind::V2);
            let read = |file| super::super::files::read(machine.dir(), file).unwrap();
            assert_eq!((read("memory.min").trim(), read("memory.low").trim()), ("1048576", "2097152"));
            assert_eq!(read("memory.swap.max").trim(), "0");
            let (high, max): (u64, u64) = (read("memory.high").trim().parse().unwrap(), read("memory.max").trim().parse().unwrap());
            assert!(high < max && high.abs_diff(max / 6 * 5) < 1 << 16, "{high} {max}");
            machine.remove().unwrap();
        }
        Err(err) => {
            assert_ne!(layout.kind(), Kind::V2, "{err}");
            assert!(err.to_string().starts_with("set MemoryHigh=: this host has the memory controller on cgroup v1"), "{err}");
        }
    }
    gone(&planned_paths(&layout, &name, &resources));
}

#[test]
fn io_weight_is_set_or_refused() {
    if not_root("io_weight_is_set_or_refused") {
        return;
    }
    let layout = Layout::detect().unwrap();
    let resources = Resources { io_weight: Some(50), ..Resources::default() };
    let name = name();
    match MachineCgroup::create(&layout, &name, &resources, Options::default()) {
        Ok(machine) => {
            let texts = machine
                .v1_dirs()
                .chain([machine.dir()])
                .flat_map(|dir| ["io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"].map(|file| super::super::files::read(dir, file)));
            let texts: Vec<String> = texts.flatten().collect();
            assert!(texts.iter().any(|text| text.contains("50")), "{texts:?}");
            machine.remove().unwrap();
        }
        Err(err) => assert!(err.to_string().starts_with("set IOWeight=: "), "{err}"),
    }
    gone(&planned_paths(&layout, &name, &resources));
}

#[test]
fn what_cannot_be_had_leaves_nothing() {
    if not_root("what_cannot_be_had_leaves_nothing") {
        return;
    }
    let layout = Layout::detect().unwrap();
    let bad = [
        Resources { allowed_cpus: Some(vec![4000]), tasks_max: Some(Limit::Value(5)), ..Resources::default() },
        Resources { device_policy: DevicePolicy::Closed, devices: vec![device("/etc", "r")], ..Resources::default() },
        Resources { cpu_weight: Some(0), ..Resources::default() },
    ];
    for resources in bad {
        let name = name();
        let err = MachineCgroup::create(&layout, &name, &resources, Options::default()).unwrap_err();
        eprintln!("{err}");
        gone(&planned_paths(&layout, &name, &resources));
    }
    // A controller that is nowhere: as if v1 were not there, on a host where v2 has it not.
    if layout.kind() != Kind::V2 {
        let v2_only = Layout { v1: Vec::new(), ..layout };
        let name = name();
        let resources = Resources { tasks_max: Some(Limit::Value(5)), ..Resources::default() };
        let err = MachineCgroup::create(&v2_only, &name, &resources, Options::default()).unwrap_err();
        assert!(err.to_string().starts_with("set TasksMax=: the pids controller is neither on cgroup v1 nor offered by"), "{err}");
        assert!(err.hint().is_some());
        gone(&planned_paths(&v2_only, &name, &resources));
    }
}

fn device(path: &str, letters: &str) -> DeviceRule {
    let has = |c| letters.contains(c);
    let access = DeviceAccess { read: has('r'), write: has('w'), mknod: has('m') };
    DeviceRule { devices: DeviceSelector::Path(path.into()), access }
}

/// Opens and makes devices inside, tells what worked.
const DEVICES: &str = "\
    d=$(mktemp -d); exec 2>/dev/null
    mknod $d/null c 1 3 && echo mknod-null; mknod $d/loop b 7 0 && echo mknod-loop
    (: <>/dev/null) && echo null; (: </dev/urandom) && echo urandom; (: </dev/ptmx) && echo ptmx
    (: </dev/loop-control) && echo control; (: </dev/kmsg) && echo kmsg; rm -r $d";

#[test]
fn devices_are_restricted() {
    if not_root("devices_are_restricted") {
        return;
    }
    let table = [
        (DevicePolicy::Closed, vec![], "mknod-null null urandom ptmx"),
        (DevicePolicy::Closed, vec![device("/dev/loop-control", "r")], "mknod-null null urandom ptmx control"),
        (DevicePolicy::Strict, vec![device("/dev/null", "rw")], "null"),
        (DevicePolicy::Auto, vec![], "mknod-null mknod-loop null urandom ptmx control kmsg"),
    ];
    let free = go(shell(DEVICES)).0;
    for (device_policy, devices, want) in table {
        let (machine, planned) = create(&Resources { device_policy, devices, ..Resources::default() });
        let got = inside(&machine, DEVICES);
        // What the host does not let us do at all does not count.
        let want: Vec<&str> = want.split(' ').filter(|word| free.contains(word)).collect();
        assert_eq!(got.lines().collect::<Vec<_>>(), want, "{device_policy:?}");
        machine.remove().unwrap();
        gone(&planned);
    }
}

/// Refuses bpf(2) to this thread for good, as a container's seccomp filter does.
fn forbid_bpf() {
    use hostel_sys::seccomp::{Insn, load};
    let nr = if cfg!(target_arch = "x86_64") { 321 } else { 280 };
    let program = [
        Insn { code: 0x20, jt: 0, jf: 0, k: 0 },
        Insn { code: 0x15, jt: 0, jf: 1, k: nr },
        Insn { code: 0x06, jt: 0, jf: 0, k: 0x0005_0001 },
        Insn { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 },
    ];
    load(&program).unwrap();
}

#[test]
fn without_bpf_the_v1_controller_or_nothing() {
    if not_root("without_bpf_the_v1_controller_or_nothing") {
        return;
    }
    // The filter stays with the thread.
    std::thread::spawn(|| {
        forbid_bpf();
        let layout = Layout::detect_for(&Resources::default()).unwrap();
        let name = name();
        let make = |policy, devices| {
            let resources = Resources { device_policy: policy, ..Resources::default() };
            MachineCgroup::create(&layout, &name, &resources, Options { devices, ..Options::default() })
        };
        // Without a policy nothing needs BPF.
        make(DevicePolicy::Auto, Enforcement::Required).unwrap().remove().unwrap();
        if Layout::detect().unwrap().v1_of(Controller::Devices).is_some() {
            let free = go(shell(DEVICES)).0;
            let machine = make(DevicePolicy::Closed, Enforcement::Required).unwrap();
            assert!(machine.has_v1() && machine.devices_restricted());
            let paths = machine.paths();
            let want: Vec<&str> = "mknod-null null urandom ptmx".split(' ').filter(|word| free.contains(word)).collect();
            assert_eq!(inside(&machine, DEVICES).lines().collect::<Vec<_>>(), want);
            machine.remove().unwrap();
            gone(&paths);
        } else {
            let err = make(DevicePolicy::Closed, Enforcement::Required).unwrap_err();
            assert!(err.to_string().starts_with("set DevicePolicy=: load a device program: "), "{err}");
            assert!(matches!(MachineCgroup::open(&layout, &name), Err(CgroupError::Missing(_))));
            let machine = make(DevicePolicy::Closed, Enforcement::IfPossible).unwrap();
            assert!(!machine.devices_restricted());
            machine.remove().unwrap();
        }
    })
    .join()
    .unwrap();
}

#[test]
fn freezing_stops_and_thawing_goes_on() {
    if not_root("freezing_stops_and_thawing_goes_on") {
        return;
    }
    let (machine, planned) = create(&Resources::default());
    let mut child = Command::new("/bin/sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    join(machine.payload_dir(), &child);
    let used = || machine.stats().cpu_usec.unwrap();
    machine.freeze(Duration::from_secs(5)).unwrap();
    assert!(machine.frozen().unwrap());
    let before = used();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(used(), before);
    machine.thaw(Duration::from_secs(5)).unwrap();
    assert!(!machine.frozen().unwrap());
    std::thread::sleep(Duration::from_millis(50));
    assert!(used() > before);
    // The frozen die too.
    machine.freeze(Duration::from_secs(5)).unwrap();
    machine.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    machine.remove().unwrap();
    gone(&planned);
}

#[test]
fn delegation_gives_just_what_is_needed() {
    if not_root("delegation_gives_just_what_is_needed") {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let (machine, planned) = create(&Resources::default());
    machine.delegate(Uid::from_raw(70_000), Gid::from_raw(70_001)).unwrap();
    let payload = path_of(machine.payload_dir());
    let owner = |path: &Path| std::fs::metadata(path).map(|m| (m.uid(), m.gid())).unwrap();
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        assert_eq!(owner(&payload.join(file)), (70_000, 70_001), "{file}");
    }
    assert_eq!(owner(&payload.join("cgroup.freeze")), (0, 0));
    assert_eq!(owner(&path_of(machine.dir())), (0, 0));
    machine.remove().unwrap();
    gone(&planned);
}

#[test]
fn a_host_without_mounted_v2_gets_a_private_one() {
    if not_root("a_host_without_mounted_v2_gets_a_private_one") {
        return;
    }
    let layout = Layout { v2: V2::Private, v1: Vec::new() };
    let name = name();
    let planned = planned_paths(&layout, &name, &Resources::default());
    assert_eq!(planned, [Path::new("hostel").join(name.as_str())]);
    let machine = MachineCgroup::create(&layout, &name, &Resources::default(), Options::default()).unwrap();
    assert_eq!(machine.paths(), planned);
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    join(machine.payload_dir(), &child);
    let opened = MachineCgroup::open(&layout, &name).unwrap();
    assert_eq!(opened.procs().unwrap(), [pid(&child)]);
    assert_eq!(MachineCgroup::open_recorded(&planned).unwrap().procs().unwrap(), [pid(&child)]);
    let _: OwnedFd = opened.exec_dir().unwrap();
    drop(machine);
    remove_paths(&planned).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(matches!(MachineCgroup::open(&layout, &name), Err(CgroupError::Missing(_))));
}

#[test]
fn groups_of_a_guest_can_be_limited() {
    if not_root("groups_of_a_guest_can_be_limited") {
        return;
    }
    let layout = Layout::detect().unwrap();
    let options = Options { max_groups: Some(3), ..Options::default() };
    let machine = MachineCgroup::create(&layout, &name(), &Resources::default(), options).unwrap();
    let payload = path_of(machine.payload_dir());
    // The payload counts.
    let made = (0..5).filter(|i| std::fs::create_dir(payload.join(i.to_string())).is_ok()).count();
    assert_eq!(made, 2);
    machine.remove().unwrap();
}

#[test]
fn a_guest_can_have_controllers_where_there_are_some() {
    if not_root("a_guest_can_have_controllers_where_there_are_some") {
        return;
    }
    let layout = Layout::detect().unwrap();
    let options = Options { delegate_controllers: true, ..Options::default() };
    let machine = MachineCgroup::create(&layout, &name(), &Resources::default(), options).unwrap();
    let have = super::super::files::read(machine.payload_dir(), "cgroup.controllers").unwrap();
    if layout.kind() == Kind::V2 {
        assert!(have.contains("memory") && have.contains("pids"), "{have}");
    }
    machine.remove().unwrap();
}
