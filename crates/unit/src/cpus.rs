//! CPU lists: `0-3,5 7`.

use crate::{Arrange as _, SyntaxError};

/// Highest CPU number accepted plus one: the largest `NR_CPUS` a kernel is built with.
pub const CPU_MAX: u32 = 8192;

/// Parses CPU numbers and ranges separated by commas or white space; sorted, each once. Empty text = no CPU.
pub fn cpu_list(text: &str) -> Result<Vec<u32>, SyntaxError> {
    let refuse = |why| SyntaxError::new("CPU list", text, why);
    let number = |s: &str| -> Result<u32, SyntaxError> {
        if s.is_empty() || !s.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse("it takes CPU numbers and ranges such as 0-3,5"));
        }
        s.parse::<u32>().ok().filter(|n| *n < CPU_MAX).ok_or_else(|| refuse("a CPU number is larger than 8191"))
    };
    let mut cpus = Vec::new();
    for part in text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|p| !p.is_empty()) {
        match part.split_once('-') {
            None => cpus.push(number(part)?),
            Some((from, to)) => {
                let (from, to) = (number(from)?, number(to)?);
                if from > to {
                    return Err(refuse("a range ends before it begins"));
                }
                cpus.extend(from..=to);
            }
        }
        if cpus.len() > 4 * CPU_MAX as usize {
            return Err(refuse("it is too long"));
        }
    }
    cpus.arrange();
    cpus.dedup();
    Ok(cpus)
}

/// `0-3,5`, the kernel's own list format, for a sorted list.
pub fn show_cpus(cpus: &[u32]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let mut i = 0;
    while i < cpus.len() {
        let start = i;
        while i + 1 < cpus.len() && cpus[i + 1] == cpus[i] + 1 {
            i += 1;
        }
        let comma = if out.is_empty() { "" } else { "," };
        // writing to a String cannot fail
        let _ = match i - start {
            0 => write!(out, "{comma}{}", cpus[start]),
            _ => write!(out, "{comma}{}-{}", cpus[start], cpus[i]),
        };
        i += 1;
    }
    out
}
