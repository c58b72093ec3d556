//! The process: ids, capability sets, limits, all by number.

use std::path::PathBuf;

use hostel_spec::{Bundle, CapName, CapSet, ExactProcess, OsText, ProcessSpec, Rlimit, RlimitName, Scheduler};

use crate::config::{self, Process, says};
use crate::error::{Result, value};
use crate::{inside, quoted};

/// What the process is, and the machine's bounding set.
pub(crate) struct Compiled {
    pub(crate) spec: ProcessSpec,
    pub(crate) bounding: CapSet,
}

/// Most supplementary groups the kernel takes.
const GROUPS_MAX: usize = 65536;

pub(crate) fn compile(given: Option<&Process>, bundle: &mut Bundle, notices: &mut Vec<String>) -> Result<Compiled> {
    let process = given.ok_or_else(|| value("process", "it is missing: there is nothing to run"))?;
    let args = process.args.as_deref().unwrap_or_default();
    if args.is_empty() {
        return Err(value("process.args", "it is empty"));
    }
    if process.command_line.as_deref().is_some_and(|l| !l.is_empty()) {
        return Err(value("process.commandLine", "it is for Windows"));
    }
    if let Some(entry) = process.env.iter().flatten().find(|entry| entry.find('=').is_none_or(|at| at == 0)) {
        return Err(value("process.env", format!("{} is not NAME=value", quoted(entry))));
    }
    if says(&process.exec_cpu_affinity).is_some() {
        // "not applicable to the container's init process"
        notices.push("config.json: process.execCPUAffinity is for processes that enter later; the first one has the CPUs of its cgroup".to_owned());
    }
    bundle.apparmor = process.apparmor_profile.clone().filter(|p| !p.is_empty());
    bundle.selinux = process.selinux_label.clone().filter(|l| !l.is_empty());
    bundle.console_size = process.console_size.as_ref().filter(|_| process.terminal == Some(true)).map(|s| (s.height, s.width));
    let sets = process.capabilities.clone().unwrap_or_default();
    let set = |name: &str, list: &Option<Vec<String>>| capabilities(name, list.as_deref());
    let (bounding, effective) = (set("bounding", &sets.bounding)?, set("effective", &sets.effective)?);
    let (permitted, inheritable) = (set("permitted", &sets.permitted)?, set("inheritable", &sets.inheritable)?);
    let ambient = set("ambient", &sets.ambient)?;
    within("effective", effective, "permitted", permitted)?;
    // What is not inheritable, too, is never ambient (capabilities(7)); `runc spec` writes such a set.
    let ambient = ambient.and(permitted).and(inheritable);
    let user = process.user.clone().unwrap_or_default();
    let groups = user.additional_gids.clone().unwrap_or_default();
    if [user.uid, user.gid].iter().chain(&groups).any(|id| *id == u32::MAX) {
        return Err(value("process.user", "4294967295 is no id"));
    }
    if groups.len() > GROUPS_MAX {
        return Err(value("process.user.additionalGids", "there are more than 65536"));
    }
    if user.umask.is_some_and(|mask| mask > 0o777) {
        return Err(value("process.user.umask", "it is more than 0777"));
    }
    let exact = ExactProcess {
        uid: user.uid,
        gid: user.gid,
        groups,
        umask: user.umask,
        effective,
        permitted,
        inheritable,
        io_priority: process.io_priority.as_ref().map(io_priority).transpose()?,
        scheduler: process.scheduler.as_ref().map(scheduler).transpose()?,
        log_calls: false,
    };
    Ok(Compiled {
        bounding,
        spec: ProcessSpec {
            argv: args.iter().map(|a| OsText::from(a.as_str())).collect(),
            env: process.env.iter().flatten().map(|e| OsText::from(e.as_str())).collect(),
            cwd: Some(cwd(&process.cwd)?),
            rlimits: rlimits(process.rlimits.as_deref().unwrap_or_default())?,
            ambient,
            no_new_privileges: process.no_new_privileges.unwrap_or(false),
            oom_score_adjust: oom_score(process.oom_score_adj)?,
            exact: Some(Box::new(exact)),
            ..ProcessSpec::default()
        },
    })
}

fn cwd(path: &str) -> Result<PathBuf> {
    inside("process.cwd", path)
}

fn oom_score(score: Option<i32>) -> Result<Option<i32>> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => Err(value("process.oomScoreAdj", "it is none of -1000 to 1000")),
        score => Ok(score),
    }
}

fn capabilities(name: &str, list: Option<&[String]>) -> Result<CapSet> {
    let mut out = Vec::new();
    for word in list.unwrap_or_default() {
        let key = || format!("process.capabilities.{name}");
        if !word.starts_with("CAP_") {
            return Err(value(key(), format!("{} is no capability", quoted(word))));
        }
        out.push(CapName::parse(word).map_err(|e| value(key(), format!("{}: {}", quoted(word), e.why)))?);
    }
    Ok(CapSet::of(&out))
}

/// The kernel would refuse the sets, or quietly keep less.
fn within(inner: &str, set: CapSet, outer: &str, of: CapSet) -> Result<()> {
    match set.without(of).iter().next() {
        Some(cap) => Err(value(format!("process.capabilities.{inner}"), format!("{} is not {outer}", cap.name()))),
        None => Ok(()),
    }
}

fn rlimits(given: &[config::Rlimit]) -> Result<Vec<Rlimit>> {
    let mut out: Vec<Rlimit> = Vec::new();
    for limit in given {
        let key = "process.rlimits";
        let name = limit.kind.strip_prefix("RLIMIT_").and_then(|name| RlimitName::parse(name).ok());
        let name = name.ok_or_else(|| value(key, format!("{} is no limit", quoted(&limit.kind))))?;
        if out.iter().any(|l| l.name == name) {
            return Err(value(key, format!("{} is there twice", quoted(&limit.kind))));
        }
        if limit.soft > limit.hard {
            return Err(value(key, format!("the soft value of {} is above the hard one", quoted(&limit.kind))));
        }
        let number = |v: u64| (v != u64::MAX).then_some(v);
        out.push(Rlimit { name, soft: number(limit.soft), hard: number(limit.hard) });
    }
    Ok(out)
}

/// ioprio_set(2): three bits of class above thirteen of level.
fn io_priority(given: &config::IoPriority) -> Result<u16> {
    let class: u16 = match given.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => return Err(value("process.ioPriority.class", format!("{} is none of IOPRIO_CLASS_RT, _BE, _IDLE", quoted(other)))),
    };
    match given.priority.unwrap_or(0) {
        level @ 0..=7 => Ok(class << 13 | level as u16),
        _ => Err(value("process.ioPriority.priority", "it is none of 0 to 7")),
    }
}

fn scheduler(given: &config::Scheduler) -> Result<Scheduler> {
    let key = "process.scheduler";
    // sched(7); ISO was never merged.
    let policy = match given.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => return Err(value(format!("{key}.policy"), format!("{} is no policy of this kernel", quoted(other)))),
    };
    let mut flags = 0;
    for flag in given.flags.iter().flatten() {
        flags |= match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            other => return Err(value(format!("{key}.flags"), format!("{} is no flag", quoted(other)))),
        };
    }
    let nice = given.nice.unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(value(format!("{key}.nice"), "it is none of -20 to 19"));
    }
    let realtime = matches!(policy, 1 | 2);
    let priority = given.priority.unwrap_or(0);
    let priority = match u32::try_from(priority) {
        Ok(p) if (realtime && (1..=99).contains(&p)) || (!realtime && p == 0) => p,
        _ => return Err(value(format!("{key}.priority"), "it is 1 to 99 for SCHED_FIFO and SCHED_RR, else 0")),
    };
    let deadline = [given.runtime, given.deadline, given.period].iter().any(|v| v.unwrap_or(0) != 0);
    if deadline && policy != 6 {
        return Err(value(key, "runtime, deadline and period are for SCHED_DEADLINE"));
    }
    Ok(Scheduler {
        policy,
        flags,
        nice,
        priority,
        runtime: given.runtime.unwrap_or(0),
        deadline: given.deadline.unwrap_or(0),
        period: given.period.unwrap_or(0),
    })
}
