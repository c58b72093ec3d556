//! Cgroups: devices that may be used, and files that are written.

use hostel_spec::GroupFile;
use serde_json::{Value, json};

use super::{Facts, refuse};
use crate::{Config, Refused};

const V1: &str = "lxc.cgroup.";
const V2: &str = "lxc.cgroup2.";

/// The rules in the order they are written. Without any, every device may be used, as with LXC.
pub(super) fn devices(config: &Config) -> Result<Value, Refused> {
    let of = |prefix: &'static str| {
        config.below(prefix).filter(|(file, _)| file.starts_with("devices.")).map(move |rule| (prefix, rule)).collect::<Vec<_>>()
    };
    // Whoever writes for both versions says the same thing twice.
    let second = of(V2);
    let rules = if second.is_empty() { of(V1) } else { second };
    let mut out = vec![json!({ "allow": true, "access": "rwm" })];
    for (prefix, (file, text)) in rules {
        let failed = |why| refuse(&format!("{prefix}{file}"), text, why);
        let allow = match file {
            "devices.allow" => true,
            "devices.deny" => false,
            _ => return Err(failed("it is neither devices.allow nor devices.deny")),
        };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let number = |word: &str| match word {
            "*" => Ok(Value::Null),
            word => word.parse::<u32>().map(Value::from).map_err(|_| failed("it takes a MAJOR:MINOR of numbers or *")),
        };
        match words[..] {
            ["a"] | ["a", "*:*", "rwm"] => {
                if !allow {
                    out.clear();
                }
                out.push(json!({ "allow": allow, "access": "rwm" }));
            }
            [kind @ ("a" | "b" | "c"), numbers, access] => {
                let (major, minor) = numbers.split_once(':').ok_or_else(|| failed("it takes a MAJOR:MINOR of numbers or *"))?;
                let mut rule = json!({ "allow": allow, "type": kind, "access": access });
                for (name, word) in [("major", major), ("minor", minor)] {
                    match number(word)? {
                        Value::Null => {}
                        number => rule[name] = number,
                    }
                }
                out.push(rule);
            }
            _ => return Err(failed("it takes a or: KIND MAJOR:MINOR ACCESS")),
        }
    }
    Ok(out.into())
}

/// Controllers as version 2 calls them.
const CONTROLLERS: [&str; 8] = ["memory", "pids", "cpu", "cpuset", "io", "hugetlb", "rdma", "misc"];

/// Limits as files of the version that the host has a controller in. What is written for the other version alone is translated where
/// both say the same; a controller that is written for both versions has its own words for each.
pub(super) fn limits(config: &Config, facts: &Facts<'_>) -> Result<Vec<GroupFile>, Refused> {
    let all = |prefix: &'static str| config.below(prefix).filter(move |(file, _)| !(file.starts_with("devices.") || prefix == V1 && is_place(file)));
    let mut out: Vec<GroupFile> = Vec::new();
    for (prefix, other, second) in [(V1, V2, false), (V2, V1, true)] {
        for (file, value) in all(prefix) {
            let controller = controller(file).ok_or_else(|| {
                refuse(&format!("{prefix}{file}"), value, "its controller is none of memory, pids, cpu, cpuset, io, hugetlb, rdma, misc")
            })?;
            let fits = (facts.on_v1)(controller) != second;
            if !fits && all(other).any(|(file, _)| self::controller(file) == Some(controller)) {
                continue;
            }
            let entry = vec![(file.to_owned(), value.to_owned())];
            let translated = translated(file, value, second).into_iter().collect();
            let (v1, v2) = if second { (translated, entry) } else { (entry, translated) };
            out.push(GroupFile { key: if second { "lxc.cgroup2" } else { "lxc.cgroup" }, controller, v1, v2 });
        }
    }
    Ok(out)
}

/// The controller of a file, as version 2 calls it.
fn controller(file: &str) -> Option<&'static str> {
    let plain = file.len() < 64 && file.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) && !file.contains("..");
    let name = match file.split('.').next()? {
        "cpuacct" => "cpu",
        "blkio" => "io",
        other => other,
    };
    CONTROLLERS.iter().find(|known| plain && **known == name).copied()
}

/// Keys of their own that begin as files of version 1 do.
fn is_place(file: &str) -> bool {
    file == "relative" || file == "dir" || file.starts_with("dir.")
}

/// Files that the other version has under another name, with the same value.
const SAME: [(&str, &str); 5] = [
    ("memory.limit_in_bytes", "memory.max"),
    ("memory.soft_limit_in_bytes", "memory.high"),
    ("pids.max", "pids.max"),
    ("cpuset.cpus", "cpuset.cpus"),
    ("cpuset.mems", "cpuset.mems"),
];

fn translated(file: &str, value: &str, second: bool) -> Option<(String, String)> {
    let (_, to) = SAME.iter().map(|(v1, v2)| if second { (*v2, *v1) } else { (*v1, *v2) }).find(|(from, _)| *from == file)?;
    let value = match (value, second) {
        ("max", true) if file.starts_with("memory.") => "-1",
        ("-1", false) => "max",
        (value, _) => value,
    };
    Some((to.to_owned(), value.to_owned()))
}
