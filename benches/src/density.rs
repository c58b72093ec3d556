//! Many idle machines at a time: how long the next one takes to start, and what each supervisor holds.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::Result;
use crate::bed::{Bed, wait_for};
use crate::options::Options;
use crate::report::Report;
use crate::runner::quantile;

const MACHINES: &str = "/run/hostel/machines";

/// (supervisor, leader) of a running machine, once it says that it runs.
pub(crate) fn pids(name: &str) -> Option<(i32, i32)> {
    let text = std::fs::read(format!("{MACHINES}/{name}/state.json")).ok()?;
    let state: Value = serde_json::from_slice(&text).ok()?;
    let pid = |key: &str| state.get(key)?.get("pid")?.as_i64().map(|n| n as i32);
    Some((pid("supervisor")?, pid("leader")?))
}

/// Name, supervisor and leader of a machine.
pub(crate) type Started = (String, i32, i32);

/// Kilobytes of a process by the rows of its smaps_rollup that `wanted` names.
fn memory(pid: i32, wanted: &[&str]) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let value = |line: &str| line.split_ascii_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
    text.lines().filter(|line| wanted.iter().any(|w| line.starts_with(w))).map(value).sum()
}

/// Kilobytes of a row of /proc/meminfo.
pub(crate) fn meminfo(key: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(key)?.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// Starts the machines one after the other, looks, and ends them all.
pub(crate) fn run(bed: &Bed, options: &Options) -> Result<Report> {
    let mut started: Vec<Started> = Vec::new();
    let result = fill(bed, options, &mut started);
    empty(bed, &started);
    result
}

fn fill(bed: &Bed, options: &Options, started: &mut Vec<Started>) -> Result<Report> {
    let mut times = Vec::new();
    let (available, slab) = (meminfo("MemAvailable:"), meminfo("Slab:"));
    let mut memory_at = Vec::new();
    for i in 0..options.machines {
        let name = format!("{}-{i}", bed.machine());
        let before = Instant::now();
        let output = Command::new(&bed.hostel)
            .args(["run", "-d", "--name", &name, "--tree", &bed.tree, "--", "/bin/sleep"])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("start hostel: {e}"))?;
        times.push(before.elapsed().as_secs_f64() * 1e3);
        if !output.status.success() {
            return Err(format!("start machine {name}: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
        }
        let (supervisor, leader) = pids(&name).ok_or_else(|| format!("start machine {name}: it has no state"))?;
        started.push((name, supervisor, leader));
        if matches!(i + 1, 1 | 10 | 100) || i + 1 == options.machines {
            memory_at.push((i + 1, started.iter().map(|(_, pid, _)| memory(*pid, &["Private_"])).collect::<Vec<_>>()));
        }
    }
    let n = options.machines as f64;
    let tenth = (times.len() / 10).max(1);
    let (first, last) = (quantile(&times[..tenth], 0.5), quantile(&times[times.len() - tenth..], 0.5));
    let mut figures = Vec::new();
    for part in times.chunks(tenth).take(10).enumerate() {
        figures.push((format!("start, machines {} to {}", part.0 * tenth + 1, part.0 * tenth + part.1.len()), quantile(part.1, 0.5), "ms (median)"));
    }
    figures.push(("start, last tenth / first tenth".into(), last / first, "x"));
    for (count, private) in &memory_at {
        figures.push((format!("supervisor, private, {count} machine(s)"), quantile(private, 0.5), "kB (median)"));
    }
    let all = |wanted: &[&str]| started.iter().map(|(_, pid, _)| memory(*pid, wanted)).collect::<Vec<_>>();
    figures.push(("supervisor, private, most".into(), quantile(&all(&["Private_"]), 1.0), "kB"));
    figures.push(("supervisor, private and written to".into(), quantile(&all(&["Private_Dirty"]), 0.5), "kB (median)"));
    figures.push(("supervisor, proportional (PSS)".into(), quantile(&all(&["Pss:"]), 0.5), "kB (median)"));
    figures.push(("machine, all memory (MemAvailable)".into(), (available - meminfo("MemAvailable:")) / n, "kB"));
    figures.push(("machine, kernel objects (Slab)".into(), (meminfo("Slab:") - slab) / n, "kB"));
    let conditions = format!("{} idle machines by `hostel run -d`: user namespace, overlay, system call filter", options.machines);
    Ok(Report { scenario: "density", conditions, samples: Vec::new(), gate: None, figures })
}

/// All leaders first, then wait for all supervisors: each end costs the kernel milliseconds that can overlap.
pub(crate) fn empty(bed: &Bed, started: &[Started]) {
    for (_, _, leader) in started {
        if let Some(pid) = rustix::process::Pid::from_raw(*leader) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    let left = || started.iter().filter(|(name, ..)| std::path::Path::new(MACHINES).join(name).exists()).count();
    if wait_for(60_000, || (left() == 0).then_some(())).is_none() {
        eprintln!("hostel-bench: {} machines do not end", left());
        let _ = Command::new(&bed.hostel).arg("clean").stdout(Stdio::null()).status();
    }
}
