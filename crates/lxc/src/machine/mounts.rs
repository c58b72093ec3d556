//! File systems: those of the kernel, /dev, and lines of fstab(5).

use std::path::{Component, Path};

use hostel_spec::unescape_octal;
use serde_json::{Value, json};

use super::{Facts, Rest, number, refuse};
use crate::{Config, Refused};

/// Never of use to a container, and telling of the host.
const MASKED: [&str; 2] = ["/proc/kcore", "/sys/firmware"];

/// Mounts, paths that are made read-only, paths that are covered.
pub(super) fn compile(config: &Config, facts: &Facts<'_>, rest: &mut Rest) -> Result<(Value, Value, Value), Refused> {
    let (mut out, mut closed) = (Vec::new(), Vec::new());
    let fresh = |kind: &str, target: &str, options: Vec<String>| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    if config.value("lxc.autodev").unwrap_or("1") == "1" {
        let size = config.value("lxc.autodev.tmpfs.size").unwrap_or("500000");
        let mut options = words("nosuid mode=755");
        if size != "0" {
            options.push(format!("size={size}"));
        }
        out.push(fresh("tmpfs", "/dev", options));
    }
    let mut covers = false;
    for auto in config.values("lxc.mount.auto") {
        let mut parts = auto.split(':');
        let (kind, how) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("mixed"));
        match (kind, how) {
            ("proc", how) => {
                out.push(fresh("proc", "/proc", words("nosuid nodev noexec")));
                if how != "rw" {
                    covers = true;
                    rest.network_sysctl = true;
                    closed.extend(["/proc/sys", "/proc/sysrq-trigger"]);
                }
            }
            ("sys", how) => {
                let mut options = words("nosuid nodev noexec");
                if how != "rw" {
                    options.push("ro".to_owned());
                }
                out.push(fresh("sysfs", "/sys", options));
            }
            ("cgroup" | "cgroup-full" | "cgroup2", how) => {
                let mut options = words("nosuid nodev noexec");
                if how == "ro" {
                    options.push("ro".to_owned());
                }
                out.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
                out.push(fresh("cgroup2", "/sys/fs/cgroup", options));
            }
            _ => return Err(refuse("lxc.mount.auto", auto, "mounts cannot be brought into the container later; use `hostel bind`")),
        }
    }
    // /sys before what is below it, however they were written.
    out.sort_by_key(|mount| mount["destination"] == "/sys/fs/cgroup");
    for line in facts.fstab.into_iter().flat_map(str::lines) {
        out.extend(entry("lxc.mount.fstab", line, facts)?);
    }
    for line in config.values("lxc.mount.entry") {
        out.extend(entry("lxc.mount.entry", line, facts)?);
    }
    if config.value("lxc.autodev").unwrap_or("1") == "1" || number(config, "lxc.pty.max") > 0 {
        let most = number(config, "lxc.pty.max");
        let mut options = words("nosuid noexec ptmxmode=0666 mode=0620 gid=5");
        options.push(format!("max={}", if most == 0 { 1024 } else { most + rest.terminals + 1 }));
        out.push(fresh("devpts", "/dev/pts", options));
    }
    let masked: &[&str] = if covers { &MASKED } else { &[] };
    Ok((out.into(), closed.into(), masked.into()))
}

/// One line; none: it is a comment, or may be left out and is.
fn entry(key: &str, line: &str, facts: &Facts<'_>) -> Result<Option<Value>, Refused> {
    let failed = |why| refuse(key, line, why);
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let fields: Vec<String> =
        line.split_ascii_whitespace().map(|field| String::from_utf8_lossy(&unescape_octal(field.as_bytes())).into_owned()).collect();
    let [source, target, kind, options @ ..] = &fields[..] else {
        return Err(failed("it takes SOURCE TARGET TYPE OPTIONS"));
    };
    let (mut kept, mut optional, mut relative, mut bind) = (Vec::new(), false, false, kind == "bind");
    for word in options.first().map_or("", String::as_str).split(',').filter(|word| !word.is_empty()) {
        match word {
            "optional" => optional = true,
            "relative" => relative = true,
            // What is missing is made, as what its source is.
            "create=dir" | "create=file" => {}
            "move" => return Err(failed("a mount of the host is not taken from it; bind it")),
            "idmap=container" => kept.push("idmap"),
            _ if word.starts_with("idmap=") => return Err(failed("only idmap=container is done")),
            word => {
                bind |= matches!(word, "bind" | "rbind");
                kept.push(word);
            }
        }
    }
    let source = match relative || !bind {
        true => source.clone(),
        false if source.starts_with('/') => source.clone(),
        false => format!("/{source}"),
    };
    if bind {
        let path = if relative { facts.root.join(&source) } else { Path::new(&source).to_owned() };
        if !(facts.exists)(&path) {
            return if optional { Ok(None) } else { Err(failed("its source does not exist")) };
        }
        // Read-only is read-only, also of what is mounted below it.
        if kept.contains(&"rbind") && kept.contains(&"ro") {
            kept.push("rro");
        }
        return Ok(Some(json!({ "destination": inside(target, facts), "type": "bind", "source": path.to_string_lossy(), "options": kept })));
    }
    Ok(Some(json!({ "destination": inside(target, facts), "type": kind, "source": source, "options": kept })))
}

/// Where a target is: relative to the root, or below the root's own path as in old configurations.
fn inside(target: &str, facts: &Facts<'_>) -> String {
    let path = Path::new(target);
    let path = path.strip_prefix(facts.root).unwrap_or(path);
    let parts: Vec<_> =
        path.components().filter_map(|part| if let Component::Normal(name) = part { Some(name.to_string_lossy()) } else { None }).collect();
    format!("/{}", parts.join("/"))
}
