//! `plot`: a bar for each unit, from the moment it began to start, as SVG.

use std::fmt::Write as _;

use hostel_spec::Arrange as _;

use super::Asked;
use super::boot::{Boot, Start, span};
use crate::output;
use crate::personality::systemctl::Outcome;

/// Height of a row, and what is around the bars, in pixels.
const ROW: u64 = 20;
const LEFT: u64 = 20;
const TOP: u64 = 90;
/// Width of the whole start, in pixels; so that one of a minute and one of 50 ms can both be looked at.
const WIDTH: u64 = 1200;

pub(super) fn plot(_: &Asked, _: &[String]) -> Outcome {
    let boot = Boot::ask("plot")?;
    let title = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Ok(output::show(&picture(&boot, &title("/proc/sys/kernel/hostname"))))
}

pub(super) fn picture(boot: &Boot, host: &str) -> String {
    let mut units: Vec<&Start> = boot.units.iter().filter(|unit| unit.activating.or(unit.activated).is_some_and(|at| at <= boot.finished)).collect();
    units.arrange_by(|a, b| (a.activating.or(a.activated), &a.name).cmp(&(b.activating.or(b.activated), &b.name)));
    let whole = boot.finished.max(1);
    let x = |at: u64| LEFT + at.min(whole) * WIDTH / whole;
    let rows = units.len() as u64;
    let (width, height) = (LEFT * 2 + WIDTH + 400, TOP + (rows + 6) * ROW);
    let mut svg = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg width=\"{width}\" height=\"{height}\" xmlns=\"http://www.w3.org/2000/svg\">\n\
         <style>text{{font:12px sans-serif}} .head{{font-size:18px}} .wait{{fill:#d05050}} .up{{fill:#c8b4b4}} .down{{fill:#909090}} .rule{{stroke:#ddd}} .all{{fill:#c3e2c3}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"30\" class=\"head\">{}</text>\n<text x=\"{LEFT}\" y=\"52\">Startup finished in {} (userspace)</text>\n",
        escaped(host),
        span(boot.finished)
    );
    let step = step_of(whole);
    let bottom = TOP + (rows + 1) * ROW;
    for n in 0..=whole / step {
        let at = x(n * step);
        let label = if n == 0 { "0".to_owned() } else { span(n * step) };
        let _ = writeln!(
            svg,
            "<line x1=\"{at}\" y1=\"{TOP}\" x2=\"{at}\" y2=\"{bottom}\" class=\"rule\"/><text x=\"{at}\" y=\"{}\">{label}</text>",
            TOP - 6
        );
    }
    let bar = |svg: &mut String, class: &str, from: u64, to: u64, y: u64| {
        let _ = writeln!(svg, "<rect class=\"{class}\" x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{}\"/>", x(from), (x(to) - x(from)).max(1), ROW - 4);
    };
    bar(&mut svg, "all", 0, whole, TOP + 2);
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">hostel init</text>", LEFT + 4, TOP + 15);
    for (i, unit) in units.iter().enumerate() {
        let y = TOP + (i as u64 + 1) * ROW + 2;
        let from = unit.activating.or(unit.activated).unwrap_or(0);
        let up = unit.activated.or(unit.deactivated).unwrap_or(whole).max(from);
        bar(&mut svg, "wait", from, up, y);
        let ended = unit.deactivating.or(unit.deactivated).filter(|at| *at >= up);
        if unit.activated.is_some() {
            bar(&mut svg, "up", up, ended.unwrap_or(whole).max(up), y);
        }
        if let (Some(from), Some(to)) = (unit.deactivating, unit.deactivated)
            && to >= from
        {
            bar(&mut svg, "down", from, to, y);
        }
        let took = if unit.took > 0 { format!(" ({})", span(unit.took)) } else { String::new() };
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{}{took}</text>", x(from) + 4, y + 12, escaped(&unit.name));
    }
    for (i, (class, what)) in [("wait", "Activating"), ("up", "Active"), ("down", "Deactivating")].into_iter().enumerate() {
        let y = bottom + (i as u64 + 1) * ROW;
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"30\" height=\"14\"/><text x=\"{}\" y=\"{}\">{what}</text>",
            LEFT + 40,
            y + 12
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// A step of 1, 2 or 5 times a power of ten, of which 8 to 20 fit.
fn step_of(whole: u64) -> u64 {
    let mut step = 1;
    while whole / step > 20 {
        step *= match step.to_string().chars().next() {
            Some('2') => 5,
            _ => 2,
        };
        if step.to_string().starts_with('4') {
            step = step / 4 * 5;
        }
    }
    step
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
