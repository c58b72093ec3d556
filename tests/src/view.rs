//! What the probe saw, with words for the questions tests ask.

use std::collections::BTreeSet;

use serde_json::Value;

/// The object `hostel-probe json` printed.
#[derive(Debug, Clone)]
pub struct View(Value);

impl std::ops::Index<&str> for View {
    type Output = Value;
    fn index(&self, key: &str) -> &Value {
        &self.0[key]
    }
}

impl View {
    pub(crate) fn new(value: Value) -> View {
        View(value)
    }
    /// A number by JSON pointer (`/uid/0`).
    #[track_caller]
    pub fn number(&self, pointer: &str) -> i64 {
        self.0.pointer(pointer).and_then(Value::as_i64).unwrap_or_else(|| panic!("no number at {pointer}: {:?}", self.0.pointer(pointer)))
    }
    /// A string by JSON pointer; empty when there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }
    /// A capability set: `inh`, `prm`, `eff`, `bnd`, `amb`; names as `sys_admin`.
    pub fn caps(&self, set: &str) -> BTreeSet<String> {
        self.strings(&format!("/caps/{set}")).into_iter().collect()
    }
    /// An array of strings by JSON pointer.
    pub fn strings(&self, pointer: &str) -> Vec<String> {
        let array = self.0.pointer(pointer).and_then(Value::as_array);
        array.into_iter().flatten().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_string)).collect()
    }
    /// A variable of the environment.
    pub fn env(&self, name: &str) -> Option<String> {
        self.strings("/env").into_iter().find_map(|e| e.strip_prefix(name)?.strip_prefix('=').map(str::to_string))
    }
    /// The topmost mount at exactly this path: the one that is not what another one at this path lies on. (Since Linux 6.8 the
    /// list is in the order in which mounts were made, not attached.)
    pub fn mount(&self, target: &str) -> Option<&Value> {
        let here: Vec<&Value> = self.0["mounts"].as_array()?.iter().filter(|m| m["target"] == target).collect();
        here.iter().rev().find(|m| !here.iter().any(|other| other["parent"] == m["id"] && other["id"] != m["id"])).copied()
    }
    /// Whether the topmost mount at this path has an option (`ro`, `nosuid`), of the mount or of its file system.
    pub fn mount_has(&self, target: &str, option: &str) -> bool {
        let has = |list: &Value| list.as_array().is_some_and(|l| l.iter().any(|o| o == option));
        self.mount(target).is_some_and(|m| has(&m["options"]) || has(&m["super"]))
    }
    /// File system type of the topmost mount at this path.
    pub fn mount_type(&self, target: &str) -> &str {
        self.mount(target).and_then(|m| m["type"].as_str()).unwrap_or("")
    }
    /// An entry of /dev or /run/host by path.
    pub fn entry(&self, path: &str) -> Option<&Value> {
        let list = if path.starts_with("/dev") { &self.0["dev"] } else { &self.0["run_host"] };
        list.as_array()?.iter().find(|e| e["path"] == path)
    }
    /// What reading this path gives: `ok` or an error's name.
    pub fn reading(&self, path: &str) -> &str {
        self.0["readable"][path]["read"].as_str().unwrap_or("not asked")
    }
    /// What opening this path for writing gives.
    pub fn writing(&self, path: &str) -> &str {
        self.0["writable"][path].as_str().unwrap_or("not asked")
    }
    /// Names of the network interfaces.
    pub fn links(&self) -> Vec<String> {
        self.0["net"].as_array().into_iter().flatten().filter_map(|l| l["name"].as_str().map(str::to_string)).collect()
    }
    /// Descriptors beyond 0, 1 and 2.
    pub fn extra_fds(&self) -> Vec<String> {
        let all = self.0["fds"].as_array().into_iter().flatten();
        all.filter(|f| f["fd"].as_i64().unwrap_or(0) > 2).map(ToString::to_string).collect()
    }
}

/// The object `hostel-probe attempts` printed.
pub struct Attempts(Value);

impl Attempts {
    /// From a command's output.
    #[track_caller]
    pub fn of(outcome: &crate::Outcome) -> Attempts {
        let value = outcome.json();
        assert!(value["rows"].is_object(), "no attempts: {}", outcome.describe());
        Attempts(value)
    }
    /// `allowed`, `passed`, `denied`, `absent`, `killed`.
    #[track_caller]
    pub fn verdict(&self, name: &str) -> &str {
        self.0["rows"][name]["verdict"].as_str().unwrap_or_else(|| panic!("the probe has no attempt {name}"))
    }
    /// The error's name, or nothing.
    pub fn errno(&self, name: &str) -> &str {
        self.0["rows"][name]["errno"].as_str().unwrap_or("")
    }
    /// Names that were let through: allowed, or past the permission check.
    pub fn let_through(&self) -> Vec<String> {
        let rows = self.0["rows"].as_object();
        let through = |v: &Value| ["allowed", "passed"].contains(&v["verdict"].as_str().unwrap_or(""));
        rows.into_iter().flatten().filter(|(_, v)| through(v)).map(|(k, _)| k.clone()).collect()
    }
}
