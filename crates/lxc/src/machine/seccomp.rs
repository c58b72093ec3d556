//! `lxc.seccomp.profile`: a list of calls that are allowed or denied, versions 1 and 2.

use serde_json::{Value, json};

use super::refuse;
use crate::Refused;

const KEY: &str = "lxc.seccomp.profile";

/// The profile as `linux.seccomp`. What asks somebody else is refused. Version 1 has numbers of this architecture, and no other is let in.
pub(super) fn compile(text: &str, call: &dyn Fn(u32) -> Option<&'static str>) -> Result<Value, Refused> {
    let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty());
    let version = lines.next().unwrap_or_default();
    let kind = lines.next().unwrap_or_default();
    let failed = |line: &str, why| refuse(KEY, line, why);
    if !matches!(version, "1" | "2") {
        return Err(failed(version, "its first line is neither 1 nor 2"));
    }
    let mut words = kind.split_ascii_whitespace();
    let allows = match words.next() {
        Some("allowlist" | "whitelist") => true,
        Some("denylist" | "blacklist") if version == "2" => false,
        _ => return Err(failed(kind, "its second line is neither allowlist nor denylist")),
    };
    let rest: Vec<&str> = words.collect();
    let (otherwise, otherwise_errno) = match (rest.is_empty(), allows) {
        (true, true) => ("SCMP_ACT_KILL", None),
        (true, false) => ("SCMP_ACT_ALLOW", None),
        (false, _) => action(&rest.join(" ")).ok_or_else(|| failed(kind, "it has no such action"))?,
    };
    let usual = if allows { "SCMP_ACT_ALLOW" } else { "SCMP_ACT_KILL" };
    let mut out: Vec<Value> = Vec::new();
    let mut here = true;
    for line in lines {
        if version == "1" {
            let name = match line.parse() {
                Ok(number) => call(number).ok_or_else(|| failed(line, "there is no system call of this number"))?,
                Err(_) => line,
            };
            out.push(json!({ "names": [name], "action": usual }));
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            // Rules are by name, and are for all architectures that the filter lets in.
            here = matches!(name.to_ascii_lowercase().as_str(), "all" | "x86_64" | "amd64" | "x86" | "i386" | "x32" | "aarch64" | "arm64" | "arm");
            continue;
        }
        if !here {
            continue;
        }
        if line == "reject_force_umount" {
            out.push(json!({ "names": ["umount2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
                "args": [{ "index": 1, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ" }] }));
            continue;
        }
        let (name, what) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (what, tests) = match what.find('[') {
            Some(at) => {
                (what[..at].trim(), arguments(&what[at..]).ok_or_else(|| failed(line, "it takes [index,value,op] or [index,value,op,mask]"))?)
            }
            None => (what.trim(), Vec::new()),
        };
        let (action, errno) = match what {
            "" => (usual, None),
            "notify" => return Err(failed(line, "nobody is asked about a system call")),
            other => action(other).ok_or_else(|| failed(line, "it has no such action"))?,
        };
        let mut rule = json!({ "names": [name], "action": action, "args": tests });
        if let Some(errno) = errno {
            rule["errnoRet"] = errno.into();
        }
        out.push(rule);
    }
    let mut profile = json!({ "defaultAction": otherwise, "syscalls": out });
    if version == "2" {
        profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]);
    }
    if let Some(errno) = otherwise_errno {
        profile["defaultErrnoRet"] = errno.into();
    }
    Ok(profile)
}

/// `errno 1`, `kill`, `allow`, `trap`, `log`.
fn action(text: &str) -> Option<(&'static str, Option<u32>)> {
    let mut words = text.split_ascii_whitespace();
    Some(match (words.next()?, words.next()) {
        ("errno", Some(number)) => ("SCMP_ACT_ERRNO", Some(number.parse().ok()?)),
        ("errno", None) => ("SCMP_ACT_ERRNO", Some(1)),
        ("kill", None) => ("SCMP_ACT_KILL", None),
        ("allow", None) => ("SCMP_ACT_ALLOW", None),
        ("trap", None) => ("SCMP_ACT_TRAP", None),
        ("log", None) => ("SCMP_ACT_LOG", None),
        _ => return None,
    })
}

/// `[0,1,SCMP_CMP_EQ]`, several after each other.
fn arguments(text: &str) -> Option<Vec<Value>> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    text.split('[')
        .map(|part| part.trim().trim_end_matches(',').trim_end_matches(']'))
        .filter(|part| !part.is_empty())
        .map(|part| {
            let fields: Vec<&str> = part.split(',').map(str::trim).collect();
            let (index, value) = (number(fields.first()?)?, number(fields.get(1)?)?);
            Some(match (*fields.get(2)?, fields.get(3)) {
                // OCI's value is the mask.
                ("SCMP_CMP_MASKED_EQ", Some(mask)) => {
                    json!({ "index": index, "value": number(mask)?, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" })
                }
                (op, None) => json!({ "index": index, "value": value, "op": op }),
                _ => return None,
            })
        })
        .collect()
}
