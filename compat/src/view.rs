//! The probe's JSON as flat fields, without what differs from run to run by nature (inodes, ids of mounts, process ids of the host).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::run::Outcome;

/// Members of the view that are compared as they are.
const PLAIN: &str = "pid ppid pgid sid uid gid groups uid_map gid_map setgroups no_new_privs seccomp seccomp_filters threads tracer ns_pid dumpable \
    securebits keep_caps timer_slack subreaper parent_death_signal cwd exe root argv comm umask oom_score_adj affinity personality \
    nice loginuid hostname domainname machine cgroup machine_id resolv_conf localtime user_namespaces_max pids os_release";

/// Adds the fields of one view.
pub(crate) fn flatten(view: &Value, out: &mut Outcome) {
    if let Some(rows) = view["rows"].as_object() {
        out.extend(rows.iter().map(|(name, row)| (format!("attempt:{name}"), format!("{} {}", word(&row["verdict"]), word(&row["errno"])))));
        return;
    }
    let mut put = |field: String, value: String| drop(out.insert(field, value));
    for name in PLAIN.split_whitespace() {
        put(name.into(), word(&view[name]));
    }
    for group in ["caps", "signals", "rlimits"] {
        for (key, value) in object(&view[group]) {
            put(format!("{group}.{key}"), word(value));
        }
    }
    put("boot_id".into(), same_as_host(&view["boot_id"], "/proc/sys/kernel/random/boot_id"));
    put("session_keyring".into(), if view["session_keyring"].is_number() { "has one".into() } else { word(&view["session_keyring"]) });
    for (kind, inode) in object(&view["namespaces"]) {
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).map(|l| l.to_string_lossy().into_owned()).unwrap_or_default();
        let shared = inode.as_u64().is_some_and(|i| host.ends_with(&format!("[{i}]")));
        put(format!("namespaces.{kind}"), if shared { "the host's" } else { "own" }.into());
    }
    streams(view, &mut put);
    paths(view, &mut put);
    links(view, &mut put);
}

/// Environment, descriptors, terminals.
fn streams(view: &Value, put: &mut impl FnMut(String, String)) {
    // without a terminal of the machine's own, one on the streams is the caller's, of any number
    let own_terminal = array(&view["dev"]).iter().any(|e| e["path"] == "/dev/pts/0");
    let put_as_is = put;
    let mut put = |field: String, value: String| {
        let streams = field.starts_with("fd.") || field.starts_with("tty.std");
        put_as_is(field, if own_terminal || !streams { value } else { without_numbers_of_terminals(&value) });
    };
    environment(&view["env"], "env", &mut put);
    if view["pid"] != 1 {
        environment(&view["pid1"]["env"], "pid1.env", &mut put);
        for key in ["argv", "exe", "comm"] {
            put(format!("pid1.{key}"), word(&view["pid1"][key]));
        }
    }
    for fd in array(&view["fds"]) {
        let target = fd["target"].as_str().unwrap_or("");
        let target = target.split_once(":[").map_or(target, |(kind, _)| kind);
        put(
            format!("fd.{}", fd["fd"]),
            format!("{target} mode {} flags {} device {} cloexec {}", word(&fd["mode"]), flags(&fd["flags"]), word(&fd["device"]), fd["cloexec"]),
        );
    }
    terminal(&view["tty"], &mut put);
}

/// Mounts, and what lies at paths.
fn paths(view: &Value, put: &mut impl FnMut(String, String)) {
    mounts(&view["mounts"], put);
    for (group, prefix) in [("dev", ""), ("run_host", "")] {
        for entry in array(&view[group]) {
            put(format!("path:{prefix}{}", word(&entry["path"])), path(entry));
        }
    }
    for (name, entry) in object(&view["top"]) {
        put(format!("top:{name}"), format!("{} {}:{} {}", word(&entry["mode"]), entry["uid"], entry["gid"], word(&entry["link"])));
    }
    for (name, entry) in object(&view["readable"]) {
        let empty = if entry["empty"] == true { " empty" } else { "" };
        put(format!("read:{name}"), format!("{}{empty} {}", word(&entry["read"]), path(entry)));
    }
    for (name, verdict) in object(&view["writable"]) {
        put(format!("write:{name}"), word(verdict));
    }
}

/// Network interfaces.
fn links(view: &Value, put: &mut impl FnMut(String, String)) {
    // the host's own links come and go with other machines
    let host = std::fs::read_link("/proc/self/ns/net").map(|l| l.to_string_lossy().into_owned()).unwrap_or_default();
    let shared = view["namespaces"]["net"].as_u64().is_some_and(|i| host.ends_with(&format!("[{i}]")));
    for link in array(&view["net"]).iter().filter(|l| !shared || l["name"] == "lo") {
        put(format!("net.{}", word(&link["name"])), format!("{} {} flags {}", word(&link["mac"]), word(&link["addresses"]), link["flags"]));
    }
}

/// `/dev/pts/7` and `136:7` without the 7.
fn without_numbers_of_terminals(text: &str) -> String {
    let cut = |word: &str| {
        let known = ["/dev/pts/", "136:"].into_iter().find(|p| word.starts_with(p));
        known.map_or_else(|| word.to_owned(), |p| format!("{p}N"))
    };
    text.split(' ').map(cut).collect::<Vec<_>>().join(" ")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Texts as they are, lists in a line.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => uuid_free(text),
        Value::Array(list) => list.iter().map(word).collect::<Vec<_>>().join(" "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A random id differs every time; one that a scenario gives consists of one digit.
fn uuid_free(text: &str) -> String {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let is_id = digits.len() == 32 && (text.len() == 32 || text.len() == 36 && text.matches('-').count() == 4);
    if is_id && digits.iter().any(|d| *d != digits[0]) { format!("(an id of {} characters)", text.len()) } else { text.to_owned() }
}

fn same_as_host(value: &Value, path: &str) -> String {
    let host = std::fs::read_to_string(path).unwrap_or_default();
    if value.as_str() == Some(host.trim()) { "the host's".into() } else { word(value) }
}

fn environment(list: &Value, prefix: &str, put: &mut impl FnMut(String, String)) {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for variable in array(list).iter().filter_map(Value::as_str) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, "(no value)"));
        let times = count.entry(name.to_owned()).or_default();
        *times += 1;
        let again = if *times > 1 { format!("#{times}") } else { String::new() };
        put(format!("{prefix}.{name}{again}"), uuid_free(value));
    }
}

fn terminal(tty: &Value, put: &mut impl FnMut(String, String)) {
    for key in ["controlling", "dev_tty", "console_is_char"] {
        put(format!("tty.{key}"), word(&tty[key]));
    }
    for stream in ["stdin", "stdout", "stderr"] {
        let s = &tty[stream];
        if s["tty"] == true {
            put(
                format!("tty.{stream}"),
                format!(
                    "{} size {} foreground {} echo {} canonical {} crlf {}",
                    word(&s["name"]),
                    word(&s["size"]),
                    s["foreground"],
                    s["echo"],
                    s["canonical"],
                    s["crlf"]
                ),
            );
        } else {
            put(format!("tty.{stream}"), "none".into());
        }
    }
}

/// The topmost mount at each place, and where it comes from when it is no fresh file system. The list is in the order in which
/// mounts were made (since Linux 6.8), not attached; what lies on another at the same place has that one for its parent.
fn mounts(list: &Value, put: &mut impl FnMut(String, String)) {
    let covered = |mount: &Value| array(list).iter().any(|m| m["parent"] == mount["id"] && m["target"] == mount["target"] && m["id"] != mount["id"]);
    for mount in array(list).iter().filter(|m| !covered(m)) {
        let target = word(&mount["target"]);
        let sorted = |v: &Value| {
            let mut words: Vec<String> = array(v).iter().map(word).collect();
            words.sort();
            words.join(",")
        };
        let spread = match (mount["shared"].is_null(), mount["master"].is_null()) {
            (true, true) => "private",
            (false, true) => "shared",
            (true, false) => "slave",
            (false, false) => "shared slave",
        };
        let kind = word(&mount["type"]);
        put(format!("mount:{target}"), format!("{kind} {} {spread}", sorted(&mount["options"])));
        let of_a_disk = ["ext4", "xfs", "btrfs"].contains(&kind.as_str());
        put(format!("mount-from:{target}"), if of_a_disk { word(&mount["root"]) } else { sorted(&mount["super"]) });
    }
}

/// Open flags in octal, without O_LARGEFILE and what a pty's other end keeps of O_CLOEXEC: neither means anything here.
fn flags(value: &Value) -> String {
    let bits = value.as_str().and_then(|v| u32::from_str_radix(v, 8).ok()).unwrap_or(0);
    format!("{:o}", bits & !0o2_100_000)
}

fn path(entry: &Value) -> String {
    let mut text = format!("{} {} {}:{}", word(&entry["type"]), word(&entry["mode"]), entry["uid"], entry["gid"]);
    for key in ["device", "link", "text"] {
        if let Some(value) = entry[key].as_str() {
            text += &format!(" {:?}", uuid_free(value.trim_end_matches('\n')));
        }
    }
    text
}
