//! Subhosts: machines over `/` itself, what they cost, and how fast what they changed is found.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;
use crate::bed::Bed;
use crate::density::{self, Started};
use crate::options::Options;
use crate::report::Report;
use crate::runner::{self, Row, quantile};

/// Files that the measured diff finds.
const FILES: usize = 10_000;
/// Idle subhosts at a time.
const IDLE: usize = 100;
/// Machines started and killed without warning.
const CYCLES: usize = 1000;

pub(crate) fn run(bed: &Bed, options: &Options) -> Result<Report> {
    let (hostel, floor) = (bed.hostel.as_str(), bed.floor.as_str());
    let list = vec![
        Row::new("floor over /", &[floor, "-uomt", "/", "/bin/true"]),
        Row::new("floor over /, layer on the disk", &[floor, "-uomtk", "/", "/bin/true"]),
        Row::new("hostel run -- true", &[hostel, "run", "-q", "--", "/bin/true"]),
        Row::new("hostel try -- true", &[hostel, "try", "--discard", "--", "/bin/true"]),
        Row::of_peer("unshare and overlay by a shell", &["unshare", "-m", "sh", "-c", BY_HAND]),
    ];
    let mut report = Report::of("subhosts", format!("{} samples; over / of this host", options.rounds), runner::run(list, options)?);
    let mut figures = vec![("recorded: overlay-boot 1.6.4 to its reaper".to_owned(), 860.0, "ms")];
    // To see that it works takes less than to measure it.
    let share = if options.rounds < 10 { 10 } else { 1 };
    let cycles = CYCLES / share;
    idle(bed, IDLE / share, &mut figures)?;
    figures.push((format!("diff of {FILES} changed files"), diff(bed)?, "ms"));
    figures.push((format!("left behind by {cycles} machines killed with their supervisors"), killed(bed, cycles)? as f64, "entries"));
    report.figures = figures;
    Ok(report)
}

/// What a script needs for the least of it.
const BY_HAND: &str = "d=$(mktemp -d) && mount -t tmpfs t $d && mkdir $d/u $d/w $d/m && \
                       mount -t overlay o -o lowerdir=/,upperdir=$d/u,workdir=$d/w $d/m && chroot $d/m /bin/true; umount -R $d; rmdir $d";

type Figures = Vec<(String, f64, &'static str)>;

fn hostel(bed: &Bed, words: &[&str]) -> Result<String> {
    let output = Command::new(&bed.hostel).args(words).stdin(Stdio::null()).output().map_err(|e| format!("run hostel: {e}"))?;
    if !output.status.success() {
        return Err(format!("hostel {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn idle(bed: &Bed, count: usize, figures: &mut Figures) -> Result<()> {
    let before = density::meminfo("MemAvailable:");
    let mut started: Vec<Started> = Vec::new();
    let begin = |started: &mut Vec<Started>| -> Result<()> {
        for i in 0..count {
            let name = format!("{}-{i}", bed.machine());
            hostel(bed, &["run", "-d", "--name", &name, "--", "/bin/sleep", "1000000"])?;
            let (supervisor, leader) = density::pids(&name).ok_or_else(|| format!("start machine {name}: it has no state"))?;
            started.push((name, supervisor, leader));
        }
        Ok(())
    };
    let outcome = begin(&mut started);
    let used = before - density::meminfo("MemAvailable:");
    // Some are stopped as anybody would; the rest is only ended.
    let stopped: Vec<Started> = started.drain(..started.len().min(20)).collect();
    let mut times = Vec::new();
    for (name, ..) in &stopped {
        let at = Instant::now();
        hostel(bed, &["stop", name])?;
        times.push(at.elapsed().as_secs_f64() * 1e3);
    }
    density::empty(bed, &started);
    outcome?;
    figures.push((format!("{count} idle subhosts of /, all memory"), used / 1024.0, "MiB"));
    figures.push(("hostel stop of an idle subhost".into(), quantile(&times, 0.5), "ms (median)"));
    Ok(())
}

/// Milliseconds that the diff of a machine with many changed files takes; half of them over a file of the tree.
fn diff(bed: &Bed) -> Result<f64> {
    let name = format!("{}-diff", bed.machine());
    let dir = std::path::Path::new(&bed.tree).join("many");
    let failed = |e: std::io::Error| format!("make files in {}: {e}", dir.display());
    std::fs::create_dir_all(&dir).map_err(failed)?;
    for i in 0..FILES / 2 {
        std::fs::write(dir.join(i.to_string()), "before\n").map_err(failed)?;
    }
    // The programs of the bench's tree are few: what is changed is put where the machine would put it.
    hostel(bed, &["run", "-q", "--keep", &name, "--tree", &bed.tree, "--", "/bin/true"])?;
    let upper = std::path::Path::new("/var/lib/hostel/machines").join(&name).join("upper/many");
    std::fs::create_dir_all(&upper).map_err(failed)?;
    for i in 0..FILES {
        std::fs::write(upper.join(i.to_string()), "after!\n").map_err(failed)?;
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        let at = Instant::now();
        let found = hostel(bed, &["diff", &name]);
        times.push(at.elapsed().as_secs_f64() * 1e3);
        let lines = found?.lines().filter(|l| l.contains("/many/")).count();
        if lines < FILES {
            return Err(format!("hostel diff {name}: {lines} of {FILES} changes"));
        }
    }
    hostel(bed, &["discard", &name])?;
    std::fs::remove_dir_all(&dir).map_err(failed)?;
    Ok(quantile(&times, 0.5))
}

/// Kills machines and their supervisors at once; gives how many mounts, groups and directories of theirs stay when each name has
/// been started once more: that clears up, as `hostel clean` would for everybody.
fn killed(bed: &Bed, cycles: usize) -> Result<usize> {
    const NAMES: usize = 10;
    let before = traces()?;
    let name_of = |i: usize| format!("{}-k{}", bed.machine(), i % NAMES);
    for i in 0..cycles {
        let name = name_of(i);
        hostel(bed, &["run", "-d", "--name", &name, "--", "/bin/sleep", "1000000"])?;
        let (supervisor, leader) = density::pids(&name).ok_or_else(|| format!("start machine {name}: it has no state"))?;
        for pid in [supervisor, leader] {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let gone = || (!std::path::Path::new(&format!("/proc/{leader}/root/.")).exists()).then_some(());
        crate::bed::wait_for(5000, gone).ok_or_else(|| format!("kill machine {name}: it does not end"))?;
    }
    for i in 0..NAMES {
        hostel(bed, &["run", "-q", "--name", &name_of(i), "--", "/bin/true"])?;
    }
    let after = traces()?;
    let new: Vec<&String> = after.iter().filter(|t| !before.contains(t)).collect();
    for trace in new.iter().take(5) {
        eprintln!("hostel-bench: left behind: {trace}");
    }
    Ok(new.len())
}

/// What machines could leave: mounts, groups, directories, links.
fn traces() -> Result<Vec<String>> {
    let mut out: Vec<String> =
        std::fs::read_to_string("/proc/self/mounts").map_err(|e| format!("read mounts: {e}"))?.lines().map(str::to_owned).collect();
    for dir in ["/run/hostel/machines", "/run/hostel/locks", "/run/hostel/network", "/var/lib/hostel/machines", "/var/tmp", "/sys/class/net"] {
        out.extend(std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path().display().to_string()));
    }
    let mut todo: Vec<std::path::PathBuf> = vec!["/sys/fs/cgroup".into()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
            out.push(entry.path().display().to_string());
            todo.push(entry.path());
        }
    }
    Ok(out)
}
