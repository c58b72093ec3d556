//! Programs run on the way, with the arguments and variables of LXC.

use hostel_spec::Hook;
use serde_json::{Value, json};

use super::Facts;
use crate::Config;

/// Where programs are looked for.
pub(super) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Places: as LXC and as OCI call them, in the order in which they are run.
const PLACES: [(&str, &str); 5] = [
    ("pre-mount", "createContainer"),
    ("mount", "createContainer"),
    ("autodev", "createContainer"),
    ("start", "startContainer"),
    ("post-stop", "poststop"),
];

/// A command of the host's shell, as a hook of a place.
pub struct Command {
    /// For `/bin/sh -c`.
    pub line: String,
    /// Its whole environment.
    pub env: Vec<String>,
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

const SHELL: &str = "/bin/sh";

fn shell(line: &str) -> [&str; 4] {
    ["sh", "-c", line, "sh"]
}

/// The commands of a place, such as `pre-start`.
pub fn commands(config: &Config, facts: &Facts<'_>, place: &str) -> Vec<Command> {
    let version = config.value("lxc.hook.version").unwrap_or("0");
    let root = facts.root.to_string_lossy();
    let mut env = vec![
        PATH.to_owned(),
        format!("LXC_NAME={}", facts.name),
        format!("LXC_CONFIG_FILE={}/{}/config", facts.lxcpath, facts.name),
        format!("LXC_ROOTFS_PATH={}", config.value("lxc.rootfs.path").unwrap_or_default()),
        format!("LXC_ROOTFS_MOUNT={root}"),
        "LXC_CGNS_AWARE=1".to_owned(),
        format!("LXC_HOOK_VERSION={version}"),
    ];
    let more = [("LXC_CONSOLE", "lxc.console.path"), ("LXC_CONSOLE_LOGPATH", "lxc.console.logfile")];
    env.extend(more.iter().filter_map(|(name, key)| Some(format!("{name}={}", config.value(key)?))));
    if version == "1" {
        env.extend([format!("LXC_HOOK_TYPE={place}"), "LXC_HOOK_SECTION=lxc".to_owned()]);
    }
    if place == "post-stop" {
        env.push("LXC_TARGET=stop".to_owned());
    }
    env.extend(config.values("lxc.environment").chain(config.values("lxc.environment.hooks")).filter(|e| e.contains('=')).map(str::to_owned));
    let line = |command: &str| match version {
        "1" => command.to_owned(),
        // Words that are only known when it runs.
        _ => format!("{command} {} lxc {place} \"$@\"", quoted(facts.name)),
    };
    config.values(&format!("lxc.hook.{place}")).map(|command| Command { line: line(command), env: env.clone() }).collect()
}

/// Those of a place that OCI has not.
pub(super) fn further(config: &Config, facts: &Facts<'_>, place: &str) -> Vec<Hook> {
    let hook = |command: Command| Hook { path: SHELL.into(), args: shell(&command.line).map(str::to_owned).into(), env: command.env, timeout: None };
    commands(config, facts, place).into_iter().map(hook).collect()
}

/// All others but `pre-start`, which comes before there is a machine, and those of cloning and destroying.
pub(super) fn compile(config: &Config, facts: &Facts<'_>) -> Value {
    let mut out = json!({});
    let mut add = |place: &str, command: Command| {
        let hook = json!({ "path": SHELL, "args": shell(&command.line), "env": command.env });
        match out[place].as_array_mut() {
            Some(list) => list.push(hook),
            None => out[place] = json!([hook]),
        }
    };
    for (place, oci) in PLACES {
        for command in commands(config, facts, place) {
            add(oci, command);
        }
    }
    for n in config.interfaces() {
        let of = |name: &str| config.value(&format!("lxc.net.{n}.{name}")).map(str::to_owned);
        let kind = of("type").unwrap_or_default();
        for (key, action, oci) in [("script.up", "up", "createRuntime"), ("script.down", "down", "poststop")] {
            if let Some(script) = of(key) {
                let host = of("veth.pair").or_else(|| of("link")).unwrap_or_default();
                let env = vec![PATH.to_owned(), format!("LXC_NAME={}", facts.name), format!("LXC_NET_TYPE={kind}")];
                add(oci, Command { line: format!("{script} {} net {action} {kind} {}", quoted(facts.name), quoted(&host)), env });
            }
        }
    }
    out
}
