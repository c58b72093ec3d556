//! Figures as a table for people and as JSON for tools.

use std::fmt;

use serde_json::{Value, json};

use crate::runner::{Gate, Samples, quantile};

/// What a scenario found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) conditions: String,
    pub(crate) samples: Vec<Samples>,
    pub(crate) gate: Option<Gate>,
    /// Other figures: (name, value, unit).
    pub(crate) figures: Vec<(String, f64, &'static str)>,
}

impl Report {
    pub(crate) fn of(scenario: &'static str, conditions: String, (samples, gate): (Vec<Samples>, Gate)) -> Self {
        Report { scenario, conditions, samples, gate: Some(gate), figures: Vec::new() }
    }

    fn base(&self, samples: &Samples) -> Option<&Samples> {
        let found = match samples.row.against {
            Some(name) => self.samples.iter().find(|s| s.row.name == name),
            None => self.samples.first(),
        };
        found.filter(|s| !s.wall.is_empty())
    }

    /// Ratio to its base of a quantile: of the wall time, or of the CPU time.
    fn ratio(&self, samples: &Samples, part: f64, cpu: bool) -> Option<f64> {
        let of = |s: &Samples| quantile(if cpu { &s.cpu } else { &s.wall }, part);
        let base = self.base(samples)?;
        (!samples.wall.is_empty()).then(|| of(samples) / of(base))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}: {}", self.scenario, self.conditions)?;
        if !self.samples.is_empty() {
            let head = ["command", "p10 ms", "median", "p90", "cpu p10", "cpu med", "x p10", "x median", "x cpu", "n"];
            write!(f, "{:<26}", head[0])?;
            for word in &head[1..] {
                write!(f, " {word:>9}")?;
            }
            writeln!(f, "  ratio to")?;
        }
        for s in &self.samples {
            if let Some(why) = &s.row.skipped {
                writeln!(f, "{:<26} skipped: {why}", s.row.name)?;
                continue;
            }
            if s.wall.is_empty() {
                writeln!(f, "{:<26} no sample on an idle machine", s.row.name)?;
                continue;
            }
            write!(f, "{:<26}", s.row.name)?;
            for value in [quantile(&s.wall, 0.1), quantile(&s.wall, 0.5), quantile(&s.wall, 0.9), quantile(&s.cpu, 0.1), quantile(&s.cpu, 0.5)] {
                write!(f, " {value:>9.3}")?;
            }
            for value in [self.ratio(s, 0.1, false), self.ratio(s, 0.5, false), self.ratio(s, 0.5, true)] {
                match value {
                    Some(value) => write!(f, " {value:>9.2}")?,
                    None => write!(f, " {:>9}", "-")?,
                }
            }
            write!(f, " {:>9}  {}", s.wall.len(), self.base(s).map_or("", |b| b.row.name))?;
            if s.failed > 0 {
                write!(f, "  {} FAILED", s.failed)?;
            }
            writeln!(f)?;
        }
        for (name, value, unit) in &self.figures {
            writeln!(f, "{name:<44} {value:>10.2} {unit}")?;
        }
        if let Some(gate) = self.gate.filter(|g| g.dropped > 0) {
            writeln!(f, "{} samples on an idle machine, {} tries dropped because it was not", gate.quiet, gate.dropped)?;
        }
        Ok(())
    }
}

fn json_of(report: &Report) -> Value {
    let rows: Vec<Value> = report
        .samples
        .iter()
        .map(|s| match &s.row.skipped {
            Some(why) => json!({"name": s.row.name, "skipped": why}),
            None => json!({
                "name": s.row.name,
                "command": s.row.argv.join(" "),
                "samples": s.wall.len(),
                "failed": s.failed,
                "wall_ms": {"p10": quantile(&s.wall, 0.1), "median": quantile(&s.wall, 0.5), "p90": quantile(&s.wall, 0.9)},
                "cpu_ms": {"p10": quantile(&s.cpu, 0.1), "median": quantile(&s.cpu, 0.5)},
                "ratio_to": report.base(s).map(|b| b.row.name),
                "ratio": {"p10": report.ratio(s, 0.1, false), "median": report.ratio(s, 0.5, false), "cpu": report.ratio(s, 0.5, true)},
            }),
        })
        .collect();
    let figures: serde_json::Map<String, Value> =
        report.figures.iter().map(|(name, value, unit)| (name.clone(), json!({"value": value, "unit": unit}))).collect();
    json!({"scenario": report.scenario, "conditions": report.conditions, "rows": rows, "figures": figures})
}

/// All reports and what they were measured on.
pub(crate) fn json(reports: &[Report]) -> String {
    let uname = rustix::system::uname();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let machine = json!({"kernel": uname.release().to_string_lossy(), "architecture": uname.machine().to_string_lossy(), "cpus": cpus});
    let all = json!({"machine": machine, "reports": reports.iter().map(json_of).collect::<Vec<_>>()});
    serde_json::to_string_pretty(&all).unwrap_or_default()
}
