//! Runs commands in turn and keeps the time of each.
//!
//! A round runs every command once, in a new random order, so that what drifts on the machine hits all alike and nobody
//! always comes after the slow one. Wall time is from before the spawn (vfork and exec) to after wait4; CPU time is what
//! the kernel charged to the command and all it waited for.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::options::Options;

/// A command to measure, or why it is not.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) argv: Vec<String>,
    /// The row that its ratio is to; `None`: the first.
    pub(crate) against: Option<&'static str>,
    /// Why it cannot be run here.
    pub(crate) skipped: Option<String>,
}

impl Row {
    pub(crate) fn new(name: &'static str, argv: &[&str]) -> Self {
        Row { name, argv: argv.iter().map(|s| (*s).to_owned()).collect(), against: None, skipped: None }
    }

    /// Of a program that may not be installed.
    pub(crate) fn of_peer(name: &'static str, argv: &[&str]) -> Self {
        let mut row = Row::new(name, argv);
        match find(argv[0]) {
            Some(path) => row.argv[0] = path,
            None => row.skipped = Some(format!("{} is not installed", argv[0])),
        }
        row
    }

    pub(crate) fn against(mut self, base: &'static str) -> Self {
        self.against = Some(base);
        self
    }
}

/// Where a program is, so that no search is measured.
pub(crate) fn find(program: &str) -> Option<String> {
    if program.contains('/') {
        return std::path::Path::new(program).exists().then(|| program.to_owned());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).map(|dir| format!("{dir}/{program}")).find(|p| std::path::Path::new(p).exists())
}

/// Times of one command, in milliseconds, in the order they were taken.
#[derive(Debug, Clone)]
pub(crate) struct Samples {
    pub(crate) row: Row,
    pub(crate) wall: Vec<f64>,
    pub(crate) cpu: Vec<f64>,
    pub(crate) failed: usize,
    /// First line of what the first failure said.
    pub(crate) complaint: String,
}

/// How the machine was meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gate {
    pub(crate) quiet: u64,
    pub(crate) dropped: u64,
}

/// Runs the rounds.
pub(crate) fn run(rows: Vec<Row>, options: &Options) -> Result<(Vec<Samples>, Gate)> {
    let mut all: Vec<Samples> =
        rows.into_iter().map(|row| Samples { row, wall: Vec::new(), cpu: Vec::new(), failed: 0, complaint: String::new() }).collect();
    for samples in &mut all {
        warm_up(samples);
    }
    let mut random = Random::new();
    let mut gate = Gate::default();
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut order: Vec<usize> = (0..all.len()).filter(|i| all[*i].row.skipped.is_none()).collect();
    while !order.is_empty() && Instant::now() < end {
        random.shuffle(&mut order);
        for &i in &order {
            if options.pause_ms > 0 {
                std::thread::sleep(Duration::from_millis(options.pause_ms));
            }
            if options.quiet_ms > 0 && !wait_for_quiet(Duration::from_millis(options.quiet_ms)) {
                gate.dropped += 1;
                continue;
            }
            gate.quiet += 1;
            let time = measure(&all[i].row.argv)?;
            let samples = &mut all[i];
            if time.failed {
                samples.failed += 1;
            }
            samples.wall.push(time.wall);
            samples.cpu.push(time.cpu);
        }
        order.retain(|i| all[*i].wall.len() < options.rounds);
    }
    Ok((all, gate))
}

/// Twice for nothing; the first time what it says is kept, because later it goes to /dev/null.
fn warm_up(samples: &mut Samples) {
    if samples.row.skipped.is_some() {
        return;
    }
    let argv = &samples.row.argv;
    match Command::new(&argv[0]).args(&argv[1..]).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            let _ = measure(argv);
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            samples.complaint = text.lines().next().unwrap_or("").to_owned();
            samples.row.skipped = Some(format!("it failed ({}): {}", output.status, samples.complaint));
        }
        Err(e) => samples.row.skipped = Some(format!("start {}: {e}", argv[0])),
    }
}

struct Time {
    wall: f64,
    cpu: f64,
    failed: bool,
}

fn measure(argv: &[String]) -> Result<Time> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").map_err(|e| format!("open /dev/null: {e}"))?;
    let stream = || null.try_clone().map(Stdio::from).map_err(|e| format!("open /dev/null: {e}"));
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(stream()?).stdout(stream()?).stderr(stream()?);
    let before = Instant::now();
    let child = command.spawn().map_err(|e| format!("start {}: {e}", argv[0]))?;
    let (status, cpu) = wait(child.id());
    let wall = before.elapsed().as_secs_f64() * 1e3;
    Ok(Time { wall, cpu, failed: status != 0 })
}

/// Waits for a child: (status word, CPU milliseconds of it and its waited-for descendants).
#[allow(unsafe_code)] // std's wait keeps the resource usage to itself
fn wait(pid: u32) -> (i32, f64) {
    let mut status = 0;
    // SAFETY: all zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: a child that nobody else waits for, and two valid places for the answers.
        let ret = unsafe { libc::wait4(pid as i32, &mut status, 0, &mut usage) };
        if ret >= 0 || std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            break;
        }
    }
    let ms = |t: libc::timeval| t.tv_sec as f64 * 1e3 + t.tv_usec as f64 / 1e3;
    (status, ms(usage.ru_utime) + ms(usage.ru_stime))
}

/// Waits until nobody but us can run, three looks in a row; whether that came to be in time.
fn wait_for_quiet(patience: Duration) -> bool {
    let end = Instant::now() + patience;
    let mut calm = 0;
    loop {
        let running = std::fs::read_to_string("/proc/loadavg").ok().and_then(|t| t.split(' ').nth(3)?.split('/').next()?.parse::<u32>().ok());
        calm = if running.is_none_or(|n| n <= 1) { calm + 1 } else { 0 };
        if calm == 3 {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_micros(700));
    }
}

/// A generator good enough to shuffle by.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        Random(now | 1)
    }
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

/// The value below which `part` (0…1) of the values lie.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n => sorted[((n - 1) as f64 * part).round() as usize],
    }
}
