//! `linux.seccomp`: what happens to each system call.

use hostel_spec::{ArgumentOperator, ArgumentTest, FilterAction, ProfileRule, SyscallProfile};

use crate::config;
use crate::error::{Result, not_yet, value};
use crate::quoted;

/// Most rules and names: far more than there are calls.
const MOST: usize = 8192;
const EPERM: u32 = 1;
/// The kernel takes no larger errno from a filter.
const ERRNO_MAX: u32 = 4095;

/// Says that what the filter does is logged.
const LOG: &str = "SECCOMP_FILTER_FLAG_LOG";

/// Whether the kernel is to log what the filter does.
pub(crate) fn logs(given: &config::Seccomp) -> bool {
    given.flags.iter().flatten().any(|flag| flag == LOG)
}

pub(crate) fn compile(given: &config::Seccomp) -> Result<SyscallProfile> {
    const KEY: &str = "linux.seccomp";
    if given.listener_path.as_deref().is_some_and(|p| !p.is_empty()) || given.listener_metadata.as_deref().is_some_and(|p| !p.is_empty()) {
        return Err(not_yet(format!("{KEY}.listenerPath"), "nobody is asked about a system call"));
    }
    for flag in given.flags.iter().flatten() {
        match flag.as_str() {
            // There is one thread; and no filter of ours changes how the CPU speculates.
            "SECCOMP_FILTER_FLAG_TSYNC" | "SECCOMP_FILTER_FLAG_SPEC_ALLOW" | LOG => {}
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
                return Err(not_yet(format!("{KEY}.flags: {}", quoted(flag)), "it is for SCMP_ACT_NOTIFY"));
            }
            other => return Err(value(format!("{KEY}.flags"), format!("{} is no flag", quoted(other)))),
        }
    }
    let architectures = given.architectures.clone().unwrap_or_default();
    if let Some(bad) = architectures.iter().find(|a| !is_architecture(a)) {
        return Err(value(format!("{KEY}.architectures"), format!("{} is no architecture", quoted(bad))));
    }
    let syscalls = given.syscalls.as_deref().unwrap_or_default();
    if syscalls.len() > MOST || syscalls.iter().map(|s| s.names.len()).sum::<usize>() > MOST {
        return Err(value(format!("{KEY}.syscalls"), "there are more than 8192"));
    }
    Ok(SyscallProfile {
        default: action(&format!("{KEY}.defaultAction"), &given.default_action, given.default_errno_ret)?,
        architectures,
        rules: syscalls.iter().enumerate().map(|(at, s)| rule(&format!("{KEY}.syscalls[{at}]"), s)).collect::<Result<_>>()?,
    })
}

fn is_architecture(name: &str) -> bool {
    name.strip_prefix("SCMP_ARCH_").is_some_and(|n| !n.is_empty() && n.len() < 32 && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

fn rule(key: &str, given: &config::Syscall) -> Result<ProfileRule> {
    if given.names.is_empty() {
        return Err(value(format!("{key}.names"), "it is empty"));
    }
    let tests = given.args.as_deref().unwrap_or_default();
    if tests.len() > 32 {
        return Err(value(format!("{key}.args"), "there are more than 32"));
    }
    Ok(ProfileRule {
        names: given.names.clone(),
        action: action(&format!("{key}.action"), &given.action, given.errno_ret)?,
        tests: tests.iter().map(|t| test(&format!("{key}.args"), t)).collect::<Result<_>>()?,
    })
}

fn action(key: &str, name: &str, number: Option<u32>) -> Result<FilterAction> {
    let taken = |default: u32| match number.unwrap_or(default) {
        n if n <= ERRNO_MAX => Ok(n as u16),
        n => Err(value(key, format!("errnoRet {n} is more than 4095"))),
    };
    Ok(match name {
        "SCMP_ACT_ERRNO" => FilterAction::Errno(taken(EPERM)?),
        "SCMP_ACT_TRACE" => FilterAction::Trace(taken(EPERM)?),
        "SCMP_ACT_NOTIFY" => return Err(not_yet(format!("{key}: SCMP_ACT_NOTIFY"), "nobody is asked about a system call")),
        _ if number.is_some() => return Err(value(key, "errnoRet is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE")),
        "SCMP_ACT_ALLOW" => FilterAction::Allow,
        "SCMP_ACT_LOG" => FilterAction::Log,
        "SCMP_ACT_TRAP" => FilterAction::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => FilterAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => FilterAction::KillProcess,
        other => return Err(value(key, format!("{} is no action", quoted(other)))),
    })
}

fn test(key: &str, given: &config::Argument) -> Result<ArgumentTest> {
    let index = u8::try_from(given.index).ok().filter(|i| *i < 6).ok_or_else(|| value(format!("{key}.index"), "it is none of 0 to 5"))?;
    let operator = match given.op.as_str() {
        "SCMP_CMP_NE" => ArgumentOperator::NotEqual,
        "SCMP_CMP_LT" => ArgumentOperator::Less,
        "SCMP_CMP_LE" => ArgumentOperator::LessOrEqual,
        "SCMP_CMP_EQ" => ArgumentOperator::Equal,
        "SCMP_CMP_GE" => ArgumentOperator::GreaterOrEqual,
        "SCMP_CMP_GT" => ArgumentOperator::Greater,
        "SCMP_CMP_MASKED_EQ" => ArgumentOperator::MaskedEqual,
        other => return Err(value(format!("{key}.op"), format!("{} is no comparison", quoted(other)))),
    };
    // libseccomp: the mask comes first, what is compared second.
    let (value, mask) = match operator {
        ArgumentOperator::MaskedEqual => (given.value_two.unwrap_or(0), given.value),
        _ => (given.value, u64::MAX),
    };
    Ok(ArgumentTest { index, operator, value, mask })
}
