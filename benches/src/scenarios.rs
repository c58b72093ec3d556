//! What is measured against what.

use std::process::{Child, Command, Stdio};

use crate::bed::{Bed, wait_for};
use crate::options::{Options, Scenario};
use crate::report::Report;
use crate::runner::{self, Row};
use crate::{Result, density, peers, subhosts};

pub(crate) fn run(scenario: Scenario, bed: &Bed, options: &Options) -> Result<Report> {
    match scenario {
        Scenario::Start => rows(scenario, start(bed, options), options),
        Scenario::Variants => rows(scenario, variants(bed), options),
        Scenario::Network => network(bed, options),
        Scenario::Parse => rows(scenario, parse(bed), options),
        Scenario::Exec => exec(bed, options),
        Scenario::Subhosts => subhosts::run(bed, options),
        Scenario::Density => density::run(bed, options),
        Scenario::Size => size(bed),
    }
}

fn rows(scenario: Scenario, mut rows: Vec<Row>, options: &Options) -> Result<Report> {
    if !options.only.is_empty() {
        let first = rows.first().map(|r| r.name);
        let bases: Vec<&str> = rows.iter().filter(|r| options.only.iter().any(|o| o == r.name)).filter_map(|r| r.against.or(first)).collect();
        rows.retain(|r| options.only.iter().any(|o| o == r.name) || bases.contains(&r.name));
    }
    let conditions = format!(
        "{} samples{}{}",
        options.rounds,
        if options.pause_ms > 0 { format!(", {} ms of sleep before each", options.pause_ms) } else { ", back to back".into() },
        match (options.realtime, options.quiet_ms) {
            (true, _) => ", SCHED_FIFO",
            (false, 0) => ", whatever else ran",
            (false, _) => ", idle machine only",
        },
    );
    Ok(Report::of(scenario.name(), conditions, runner::run(rows, options)?))
}

/// One machine that runs `true`, its network the host's: the default of systemd-nspawn.
fn start(bed: &Bed, options: &Options) -> Vec<Row> {
    let (hostel, floor, tree) = (bed.hostel.as_str(), bed.floor.as_str(), bed.tree.as_str());
    let own = format!("{tree}/usr/bin/true");
    let mut rows = vec![
        Row::new("floor", &[floor, tree, "/bin/true"]),
        Row::new("hostel nspawn", &[hostel, "nspawn", "-q", "-D", tree, "/bin/true"]),
        Row::new("no machine at all", &[&own]),
    ];
    if let Some(other) = &options.other {
        rows.push(Row::new("other hostel nspawn", &[other, "nspawn", "-q", "-D", tree, "/bin/true"]));
    }
    rows.extend(peers::starts(bed));
    rows
}

/// What each kind of isolation costs, ours and the floor's.
fn variants(bed: &Bed) -> Vec<Row> {
    let (hostel, floor, tree) = (bed.hostel.as_str(), bed.floor.as_str(), bed.tree.as_str());
    let ours = |name, base, options: &[&str]| {
        let words: Vec<&str> = [hostel, "nspawn", "-q"].into_iter().chain(options.iter().copied()).chain(["-D", tree, "/bin/true"]).collect();
        Row::new(name, &words).against(base)
    };
    let native = |name, base, options: &[&str]| {
        let words: Vec<&str> = [hostel, "run", "-q", "--tree", tree].into_iter().chain(options.iter().copied()).chain(["--", "/bin/true"]).collect();
        Row::new(name, &words).against(base)
    };
    let least = |name, letters| Row::new(name, &[floor, letters, tree, "/bin/true"]);
    vec![
        Row::new("floor", &[floor, tree, "/bin/true"]),
        ours("hostel nspawn", "floor", &[]),
        least("floor +userns", "-u"),
        ours("hostel nspawn -U", "floor +userns", &["-U"]),
        least("floor +overlay", "-o"),
        ours("hostel --volatile=overlay", "floor +overlay", &["--volatile=overlay"]),
        least("floor +net", "-n"),
        ours("hostel --private-network", "floor +net", &["--private-network"]),
        least("floor +all", "-uon"),
        ours("hostel -U overlay net", "floor +all", &["-U", "--volatile=overlay", "--private-network"]),
        least("floor machine mode", "-uomt"),
        native("hostel run --tree", "floor machine mode", &[]),
        Row::of_peer("systemd-nspawn -U", &["systemd-nspawn", "-q", "--register=no", "--keep-unit", "-U", "-D", tree, "/bin/true"])
            .against("floor +userns"),
        Row::of_peer(
            "systemd-nspawn overlay",
            &["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--volatile=overlay", "-D", tree, "/bin/true"],
        )
        .against("floor +overlay"),
        Row::of_peer(
            "bwrap --unshare-all",
            &["bwrap", "--unshare-all", "--bind", tree, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run", "/bin/true"],
        )
        .against("floor +net"),
    ]
}

/// What a network costs: links, then address, translation and names, then a zone in which another machine is already.
fn network(bed: &Bed, options: &Options) -> Result<Report> {
    let other =
        Machine::start(bed, "bench-zone", &["nspawn", "-q", "-M", "bench-zone", "--network-zone=bench", "-D", &bed.other_tree, "/bin/sleep"])?;
    let ours = |name, words: &[&str]| {
        let all: Vec<&str> = [bed.hostel.as_str(), "nspawn", "-q", "-D", &bed.tree].iter().chain(words).chain(&["/bin/true"]).copied().collect();
        Row::new(name, &all)
    };
    let list = vec![
        ours("hostel, the host's network", &[]),
        ours("hostel --private-network", &["--private-network"]),
        ours("hostel -n, no addresses", &["-n", "--network-config=none"]),
        ours("hostel -n", &["-n"]),
        ours("hostel --network-zone", &["--network-zone=bench"]),
        ours("hostel --network-zone -p", &["--network-zone=bench", "-p", "18080:80"]),
        peers::bridged(bed),
        Row::of_peer("systemd-nspawn -n", &["systemd-nspawn", "-q", "--register=no", "--keep-unit", "-n", "-D", &bed.tree, "/bin/true"]),
    ];
    let report = rows(Scenario::Network, list, options);
    drop(other);
    report
}

/// What a command line costs before anything is done.
fn parse(bed: &Bed) -> Vec<Row> {
    vec![
        Row::new("Rust true", &[&bed.rust_true]),
        Row::new("hostel --version", &[&bed.hostel, "--version"]),
        Row::new("hostel nspawn --version", &[&bed.hostel, "nspawn", "--version"]),
        Row::new("hostel plan nspawn", &[&bed.hostel, "plan", "nspawn", "-q", "-D", &bed.tree, "/bin/true"]),
        Row::of_peer("systemd-nspawn --version", &["systemd-nspawn", "--version"]),
        Row::of_peer("crun --version", &["crun", "--version"]),
        Row::of_peer("bwrap --version", &["bwrap", "--version"]),
    ]
}

/// Two machines of ours and one of each peer, and `true` in each.
fn exec(bed: &Bed, options: &Options) -> Result<Report> {
    let plain = Machine::start(bed, bed.machine(), &["nspawn", "-q", "-D", &bed.tree, "/bin/sleep"])?;
    let name = format!("{}-user", bed.machine());
    let user = Machine::start(bed, &name, &["run", "-q", "--name", &name, "--net", "private", "--tree", &bed.other_tree, "--", "/bin/sleep"])?;
    let (pid, user_pid) = (plain.leader.to_string(), user.leader.to_string());
    let (hostel, floor) = (bed.hostel.as_str(), bed.floor.as_str());
    let mut list = vec![
        Row::new("raw attach", &[floor, "-a", &pid, "/bin/true"]),
        Row::new("hostel exec", &[hostel, "exec", bed.machine(), "--", "/bin/true"]),
        Row::of_peer("nsenter", &["nsenter", "-t", &pid, "-m", "-p", "-u", "-i", "-C", "/bin/true"]),
        Row::new("raw attach, userns", &[floor, "-aun", &user_pid, "/bin/true"]),
        Row::new("hostel exec, userns", &[hostel, "exec", &name, "--", "/bin/true"]).against("raw attach, userns"),
        Row::of_peer("nsenter, userns", &["nsenter", "-t", &user_pid, "-a", "/bin/true"]).against("raw attach, userns"),
    ];
    if let Some(other) = &options.other {
        list.push(Row::new("other hostel exec", &[other, "exec", bed.machine(), "--", "/bin/true"]));
        list.push(Row::new("other hostel exec, userns", &[other, "exec", &name, "--", "/bin/true"]).against("raw attach, userns"));
    }
    list.extend(peers::attaches(bed));
    let report = rows(Scenario::Exec, list, options);
    peers::clean(bed);
    drop((plain, user));
    report
}

/// A machine of ours in the background of this program.
struct Machine {
    supervisor: Child,
    leader: i32,
}

impl Machine {
    fn start(bed: &Bed, name: &str, words: &[&str]) -> Result<Machine> {
        let mut command = Command::new(&bed.hostel);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        let mut supervisor = command.spawn().map_err(|e| format!("start hostel: {e}"))?;
        match wait_for(5000, || density::pids(name)) {
            Some((_, leader)) => Ok(Machine { supervisor, leader }),
            None => {
                let _ = supervisor.kill();
                let _ = supervisor.wait();
                Err(format!("start machine {name}: it did not come up"))
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.leader) {
            // The supervisor then takes everything away and ends.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.supervisor.wait();
    }
}

/// The binary.
fn size(bed: &Bed) -> Result<Report> {
    let bytes = std::fs::metadata(&bed.hostel).map_err(|e| format!("look at {}: {e}", bed.hostel))?.len();
    let head = std::fs::read(&bed.hostel).map_err(|e| format!("read {}: {e}", bed.hostel))?;
    let figures = vec![
        ("binary".to_owned(), bytes as f64 / f64::from(1 << 20), "MiB"),
        ("statically linked (1: yes)".to_owned(), f64::from(u8::from(!asks_for_interpreter(&head))), ""),
    ];
    Ok(Report { scenario: Scenario::Size.name(), conditions: bed.hostel.clone(), samples: Vec::new(), gate: None, figures })
}

/// Whether an ELF file has a PT_INTERP segment (elf(5)).
fn asks_for_interpreter(elf: &[u8]) -> bool {
    let number =
        |at: usize, length: usize| elf.get(at..at + length).map_or(0, |b| b.iter().rev().fold(0usize, |n, byte| n << 8 | usize::from(*byte)));
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|i| number(table + i * size, 4) == 3)
}
