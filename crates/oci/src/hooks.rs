//! Hooks: programs that the bundle wants run on the way.

use std::path::PathBuf;

use hostel_spec::{Hook, Hooks};

use crate::config;
use crate::error::{Result, value};
use crate::quoted;

/// Most hooks of one kind: a bound for what a hostile file makes us start.
const MOST: usize = 1024;

pub(crate) fn compile(given: Option<&config::Hooks>) -> Result<Hooks> {
    let Some(hooks) = given else { return Ok(Hooks::default()) };
    Ok(Hooks {
        prestart: list("prestart", hooks.prestart.as_deref())?,
        create_runtime: list("createRuntime", hooks.create_runtime.as_deref())?,
        create_container: list("createContainer", hooks.create_container.as_deref())?,
        start_container: list("startContainer", hooks.start_container.as_deref())?,
        poststart: list("poststart", hooks.poststart.as_deref())?,
        poststop: list("poststop", hooks.poststop.as_deref())?,
        ..Hooks::default()
    })
}

fn list(kind: &str, given: Option<&[config::Hook]>) -> Result<Vec<Hook>> {
    let given = given.unwrap_or_default();
    if given.len() > MOST {
        return Err(value(format!("hooks.{kind}"), "there are more than 1024"));
    }
    given.iter().enumerate().map(|(at, hook)| one(&format!("hooks.{kind}[{at}]"), hook)).collect()
}

fn one(key: &str, hook: &config::Hook) -> Result<Hook> {
    if !hook.path.starts_with('/') {
        return Err(value(format!("{key}.path"), format!("{} is not absolute", quoted(&hook.path))));
    }
    let timeout = match hook.timeout {
        None => None,
        Some(seconds) => match u32::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Some(seconds),
            _ => return Err(value(format!("{key}.timeout"), format!("{seconds} is no number of seconds above 0"))),
        },
    };
    Ok(Hook { path: PathBuf::from(&hook.path), args: hook.args.clone().unwrap_or_default(), env: hook.env.clone().unwrap_or_default(), timeout })
}
